"""Preflight: facts in, findings out. Each says what was looked at, what was found, what is needed, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from fsgr_tui.core.dataset import SplitFacts
from fsgr_tui.core.errors import EXIT_BAD_REQUEST, EXIT_FOUND_FAULTS, EXIT_MACHINE_CANNOT, EXIT_OK, Problem
from fsgr_tui.core.lab import CachedWeights, LoginSession, TorchBuild
from fsgr_tui.core.language import sentences, tr
from fsgr_tui.core.machine import CpuBudget, Disk, GpuReport, MemoryBudget
from fsgr_tui.core.units import Estimate, Unknown, few, format_bytes, format_gib

PREFLIGHT_SCHEMA = "fsgr-tui/preflight/1"

Verdict = Literal["ok", "warn", "stop"]
Blame = Literal["data", "machine", "request"]
"""What has to change: the data (exit 1), the machine (3) or the command (2)."""

_EXIT: dict[Blame, int] = {"data": EXIT_FOUND_FAULTS, "machine": EXIT_MACHINE_CANNOT, "request": EXIT_BAD_REQUEST}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at; its texts are in the user's language.

    Attributes:
        verdict: ok; warn: it goes, but look; stop: it would stop or spoil the run.
        remedy: what to do; empty where there is nothing to do.
        blame: what a stop is the fault of.
        listed: everything that `found` shows the beginning of (ids, places).
        subject: the file, folder or flag that it is about, as it was named; empty where it is about none. For programs.
    """

    what: str
    found: str
    needed: str = ""
    verdict: Verdict = "ok"
    remedy: str = ""
    blame: Blame = "data"
    listed: tuple[str, ...] = ()
    subject: str = ""


class PreflightReport(msgspec.Struct, frozen=True):
    """All findings about one planned command."""

    command: str
    findings: tuple[Finding, ...]
    schema: str = PREFLIGHT_SCHEMA

    @classmethod
    def of(cls, command: str, findings: Iterable[Finding]) -> PreflightReport:
        """A report that tells the same fault once, however many questions met it."""
        by_fault = {(row.found, row.verdict) if row.verdict == "stop" else row: row for row in reversed([*findings])}
        return cls(command, tuple(reversed(by_fault.values())))

    @property
    def stops(self) -> tuple[Finding, ...]:
        """What would stop or spoil the run."""
        return tuple(finding for finding in self.findings if finding.verdict == "stop")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What a person should look at."""
        return tuple(finding for finding in self.findings if finding.verdict == "warn")

    @property
    def exit_code(self) -> int:
        """0 also with warnings; else 2 when the command is wrong, 3 when the machine cannot, 1 when data are bad."""
        blamed = {finding.blame for finding in self.stops}
        order: tuple[Blame, ...] = ("request", "machine", "data")
        return next((_EXIT[blame] for blame in order if blame in blamed), EXIT_OK)


def from_problem(what: str, problem: Problem, subject: str = "") -> Finding:
    """A refusal as a finding."""
    blames: tuple[Blame, ...] = ("data", "machine", "request")
    blame = next((each for each in blames if _EXIT[each] == problem.exit_code), blames[0])
    return Finding(what, problem.what, verdict="stop", remedy=problem.fix, blame=blame, subject=subject)


def gpu_findings(
    report: GpuReport,
    torch: TorchBuild | Unknown,
    *,
    device: str,
    needs_gpu: bool,
    need: Estimate | None = None,
    advice: str = "",
) -> list[Finding]:
    """Whether the run computes where it is meant to.

    Args:
        torch: of the interpreter that will run.
        device: auto, cpu, cuda, cuda:N, all, or several with commas.
        needs_gpu: whether the code has no way without one.
        need: GPU memory in bytes, where there is an estimate.
        advice: what to do when it is short.
    """
    if device == "cpu":
        return [Finding("GPU", tr("not used (--device cpu)"))]
    wanted = needs_gpu or device != "auto"
    if report.status != "ok":
        none_here = report.status in ("none", "no_driver")
        found = report.message or report.status
        if not wanted and none_here:
            return [Finding("GPU", tr("{found}; it will run on the CPU", found=found))]
        return [
            Finding(
                "GPU", found, tr("a GPU") if wanted else "", "stop" if wanted else "warn",
                tr("Run it on a node with a GPU.") if none_here else tr("Mend that first; with --device auto it would run on the CPU."),
                "machine",
            )
        ]  # fmt: skip
    count = len(report.gpus)
    numbers = [int(part.partition(":")[2]) for part in device.split(",") if part.partition(":")[2].isdigit()]
    beyond = [number for number in numbers if number >= count]
    if beyond:
        return [
            Finding(
                "GPU",
                tr("{n} visible", n=count),
                tr("--device {device}", device=device),
                "stop",
                tr("Count from 0: the last is cuda:{n}.", n=count - 1),
                "machine",
            )
        ]
    names = ", ".join(f"{gpu.index}: {gpu.name}" for gpu in report.gpus)
    rows = [
        Finding(
            "GPU",
            f"{names} ({report.message})" if report.message else names,
            verdict="warn" if report.message else "ok",
        )
    ]
    rows += _torch_finding(torch, count, stop=wanted)
    chosen = [report.gpus[number] for number in numbers] or list(report.gpus if device == "all" else report.gpus[:1])
    for gpu in chosen:
        free = gpu.memory_free_bytes
        if need is None or isinstance(free, Unknown):
            continue
        short = need.low > free
        tight = need.likely > free
        rows.append(
            Finding(
                tr("GPU memory, GPU {index}", index=gpu.index), tr("{free} free", free=format_gib(free)),
                tr("about {likely} ({low} - {high}, {basis})", likely=format_gib(need.likely), low=format_gib(need.low), high=format_gib(need.high), basis=tr(need.basis)),
                "stop" if short else "warn" if tight else "ok", advice if tight else "", "machine",
            )
        )  # fmt: skip
    return rows


def _torch_finding(torch: TorchBuild | Unknown, gpus: int, *, stop: bool) -> list[Finding]:
    if isinstance(torch, Unknown):
        return []
    built = f"CUDA {torch.cuda}" if torch.cuda else tr("built without CUDA")
    found = tr("{version}, {built}, sees {gpus} GPUs", version=torch.version, built=built, gpus=torch.gpus)
    if torch.cuda and torch.gpus:
        return [Finding(tr("PyTorch and the GPU"), found)]
    remedy = (
        tr(
            "Its CUDA is newer than the driver, or the driver is broken: compare with `nvidia-smi`, and install a "
            "build for an older CUDA."
        )
        if torch.cuda
        else tr("Install a CUDA build of the same version: pytorch.org tells how.")
    )
    return [
        Finding(
            tr("PyTorch and the GPU"),
            found,
            tr("{gpus} GPUs to be seen", gpus=gpus),
            "stop" if stop else "warn",
            remedy,
            "machine",
        )
    ]


def disk_findings(disk: Disk, need_bytes: int, inodes: int, purpose: str) -> list[Finding]:
    """Space with what could not be checked, inodes, and the right to write."""
    where = f"{disk.mount} ({disk.filesystem})"
    if disk.silence:
        return [
            Finding(
                tr("space for {purpose}", purpose=purpose), f"{disk.path}: {disk.free_bytes}", tr("a disk that answers"), "stop",
                tr("Look at the mount {where} by hand (`ls`, `mount`), or choose another disk.", where=where), "machine",
            )
        ]  # fmt: skip
    if not disk.writable:
        return [
            Finding(
                tr("space for {purpose}", purpose=purpose),
                tr("{path} is not writable", path=disk.path),
                tr("a folder to write in"),
                "stop",
                tr("Choose another folder."),
                "machine",
            )
        ]
    free = disk.free_bytes
    quota = disk.quota_bytes
    within = tr(", quota leaves {size}", size=format_bytes(quota)) if isinstance(quota, int) else tr("; ") + quota.why
    fits = isinstance(free, Unknown) or free >= need_bytes
    told = str(free) if isinstance(free, Unknown) else tr("{free} free", free=format_bytes(free))
    rows = [
        Finding(
            tr("space for {purpose}", purpose=purpose),
            tr("{free} on {where}{within}", free=told, where=where, within=within),
            format_bytes(need_bytes), "warn" if isinstance(free, Unknown) else "ok" if fits else "stop",
            "" if fits else tr("Free space, or choose another disk; `fsgr-tui plan` shows smaller choices."), "machine",
        )
    ]  # fmt: skip
    if isinstance(disk.inodes_free, int) and disk.inodes_free < inodes:
        rows.append(
            Finding(
                tr("inodes for {purpose}", purpose=purpose), tr("{inodes_free:,} free on {where}", inodes_free=disk.inodes_free, where=where), f"{inodes:,}", "stop",
                tr("Delete or pack small files there, or choose another disk. One HDF5 file takes few inodes, however many "
"images."), "machine",
            )
        )  # fmt: skip
    return rows


def worker_findings(workers: int, cpus: CpuBudget) -> list[Finding]:
    """Whether the loaders have cores to run on."""
    over = workers > cpus.count
    return [
        Finding(
            tr("loader workers"), tr("{n} CPUs usable of {host_count} ({source})", n=cpus.count, host_count=cpus.host_count, source=tr(cpus.source)), str(workers), "warn" if over else "ok",
            tr("Use --workers {n}, or ask for more CPUs; more loaders than cores slow each other.", n=max(0, cpus.count - 1) or cpus.count) if over else "",
        )
    ]  # fmt: skip


def memory_finding(memory: MemoryBudget | Unknown) -> Finding:
    """What the host, or the container around this process, leaves; a job that takes more is killed."""
    if isinstance(memory, Unknown):
        return Finding(tr("memory"), str(memory))
    return Finding(
        tr("memory"),
        tr(
            "{available_bytes} of {limit_bytes} free ({source})",
            available_bytes=format_gib(memory.available_bytes),
            limit_bytes=format_gib(memory.limit_bytes),
            source=tr(memory.source),
        ),
    )


def login_findings(session: LoginSession) -> list[Finding]:
    """Whether a job would outlive the log-out. Silent where it would, or where nobody logs in (batch jobs)."""
    if session.kills is False or not session.in_session:
        return []
    found = (
        tr("processes are ended at log-out") if session.kills is True else tr("not known: {kills}", kills=session.kills)
    )
    return [
        Finding(
            tr("log-out"),
            tr("{found} ({source})", found=found, source=session.source),
            verdict="warn",
            remedy=linger_remedy(session),
        )
    ]


def linger_remedy(session: LoginSession) -> str:
    """How a job is kept alive where KillUserProcesses is on."""
    start = tr("Start long jobs as: systemd-run --user --scope fsgr-tui ..., or inside a batch job.")
    return start if session.lingers is True else sentences(tr("Run once: loginctl enable-linger."), start)


def image_findings(splits: Iterable[SplitFacts], empty: Sequence[str]) -> list[Finding]:
    """Whether the images are all there, and whole as far as their size tells."""
    rows = []
    for split in splits:
        expected = split.expected
        short = expected is not None and 0 < split.found < expected
        rows.append(
            Finding(
                tr("images of {name}", name=split.name), tr("{found:,}, {ignored:,} other files ignored", found=split.found, ignored=split.ignored) if split.ignored else f"{split.found:,}",
                tr("{expected:,} as published", expected=expected) if expected is not None else "", "warn" if short else "ok",
                tr("Unpack the zip again if the whole split is meant; else this is a subset.") if short else "",
            )
        )  # fmt: skip
    if empty:
        rows.append(
            Finding(
                tr("empty image files"), tr("{n:,} of 0 bytes: {empty}", n=len(empty), empty=few(empty)), "0", "warn",
                tr("They will be refused, and have no features; copy them again."), listed=tuple(empty),
            )
        )  # fmt: skip
    return rows


def coverage_finding(what: str, missing: Sequence[int], needed: int, remedy: str) -> Finding:
    """Whether every annotated image has what training reads of it."""
    return Finding(
        what, tr("{n:,} of {needed:,} are missing: {missing}", n=len(missing), needed=needed, missing=few(missing)) if missing else tr("all {needed:,} there", needed=needed),
        tr("{needed:,} annotated images", needed=needed), "stop" if missing else "ok", remedy if missing else "", listed=tuple(map(str, missing)),
    )  # fmt: skip


def cached_weights_finding(cached: CachedWeights | Unknown, *, offline: bool) -> Finding:
    """Whether the weights of a tag are here already.

    Args:
        offline: whether fetching is switched off (HF_HUB_OFFLINE).
    """
    if isinstance(cached, Unknown):
        return Finding(
            tr("CLIP weights"), tr("whether they are here is not known: {reason}", reason=cached.why), verdict="warn"
        )
    what = tr("CLIP weights {name}", name=f"{cached.model} {cached.tag}")
    if not cached.known:
        return Finding(
            what,
            tr("open_clip knows no such tag for this model"),
            tr("a tag, a file or random:SEED"),
            "stop",
            tr("See open_clip.list_pretrained()."),
            "request",
        )
    if cached.path:
        return Finding(what, cached.path)
    absent = tr("not in the cache ({cache})", cache=cached.cache)
    if offline:
        absent = tr("{absent}, and HF_HUB_OFFLINE is set", absent=absent)
    fetch = f"python -c \"import open_clip; open_clip.create_model('{cached.model}', '{cached.tag}')\""
    return Finding(
        what, absent, tr("a file, or a way to fetch it"), "stop" if offline else "warn",
        tr("Compute nodes often have no internet: on a login node run {fetch}, or name a file with --weights.", fetch=fetch), "machine",
    )  # fmt: skip
