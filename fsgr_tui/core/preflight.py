"""Preflight: facts in, findings out. Each says what was looked at, what was found, what is needed, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from fsgr_tui.core.dataset import SplitFacts
from fsgr_tui.core.errors import EXIT_BAD_REQUEST, EXIT_FOUND_FAULTS, EXIT_MACHINE_CANNOT, EXIT_OK, Problem
from fsgr_tui.core.lab import CachedWeights, LoginSession, TorchBuild
from fsgr_tui.core.machine import CpuBudget, Disk, GpuReport, MemoryBudget
from fsgr_tui.core.units import Estimate, Unknown, few, format_bytes, format_gib

PREFLIGHT_SCHEMA = "fsgr-tui/preflight/1"

Verdict = Literal["ok", "warn", "stop"]
Blame = Literal["data", "machine", "request"]
"""What has to change: the data (exit 1), the machine (3) or the command (2)."""

_EXIT: dict[Blame, int] = {"data": EXIT_FOUND_FAULTS, "machine": EXIT_MACHINE_CANNOT, "request": EXIT_BAD_REQUEST}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        verdict: ok; warn: it goes, but look; stop: it would stop or spoil the run.
        remedy: what to do; empty where there is nothing to do.
        blame: what a stop is the fault of.
        listed: everything that `found` shows the beginning of (ids, places).
    """

    what: str
    found: str
    needed: str = ""
    verdict: Verdict = "ok"
    remedy: str = ""
    blame: Blame = "data"
    listed: tuple[str, ...] = ()


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


def from_problem(what: str, problem: Problem) -> Finding:
    """A refusal as a finding."""
    blames: tuple[Blame, ...] = ("data", "machine", "request")
    blame = next((each for each in blames if _EXIT[each] == problem.exit_code), blames[0])
    return Finding(what, problem.what, verdict="stop", remedy=problem.fix, blame=blame)


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
        return [Finding("GPU", "not used (--device cpu)")]
    wanted = needs_gpu or device != "auto"
    if report.status != "ok":
        none_here = report.status in ("none", "no_driver")
        found = report.message or report.status
        if not wanted and none_here:
            return [Finding("GPU", f"{found}; it will run on the CPU")]
        return [
            Finding(
                "GPU", found, "a GPU" if wanted else "", "stop" if wanted else "warn",
                "Run it on a node with a GPU." if none_here else "Mend that first; with --device auto it would run on the CPU.",
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
                f"{count} visible",
                f"--device {device}",
                "stop",
                f"Count from 0: the last is cuda:{count - 1}.",
                "machine",
            )
        ]
    names = ", ".join(f"{gpu.index}: {gpu.name}" for gpu in report.gpus)
    rows = [
        Finding(
            "GPU",
            names + (f" ({report.message})" if report.message else ""),
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
                f"GPU memory, GPU {gpu.index}", f"{format_gib(free)} free",
                f"about {format_gib(need.likely)} ({format_gib(need.low)} - {format_gib(need.high)}, {need.basis})",
                "stop" if short else "warn" if tight else "ok", advice if tight else "", "machine",
            )
        )  # fmt: skip
    return rows


def _torch_finding(torch: TorchBuild | Unknown, gpus: int, *, stop: bool) -> list[Finding]:
    if isinstance(torch, Unknown):
        return []
    found = f"{torch.version}, {f'CUDA {torch.cuda}' if torch.cuda else 'built without CUDA'}, sees {torch.gpus} GPUs"
    if torch.cuda and torch.gpus:
        return [Finding("PyTorch and the GPU", found)]
    remedy = (
        "Its CUDA is newer than the driver, or the driver is broken: compare with `nvidia-smi`, and install a build for an older CUDA."
        if torch.cuda
        else "Install a CUDA build of the same version: pytorch.org tells how."
    )
    return [
        Finding("PyTorch and the GPU", found, f"{gpus} GPUs to be seen", "stop" if stop else "warn", remedy, "machine")
    ]


def disk_findings(disk: Disk, need_bytes: int, inodes: int, purpose: str) -> list[Finding]:
    """Space with what could not be checked, inodes, and the right to write."""
    where = f"{disk.mount} ({disk.filesystem})"
    if disk.silence:
        return [
            Finding(
                f"space for {purpose}", f"{disk.path}: {disk.free_bytes}", "a disk that answers", "stop",
                f"Look at the mount {where} by hand (`ls`, `mount`), or choose another disk.", "machine",
            )
        ]  # fmt: skip
    if not disk.writable:
        return [
            Finding(
                f"space for {purpose}",
                f"{disk.path} is not writable",
                "a folder to write in",
                "stop",
                "Choose another folder.",
                "machine",
            )
        ]
    free = disk.free_bytes
    quota = disk.quota_bytes
    within = f", quota leaves {format_bytes(quota)}" if isinstance(quota, int) else f"; {quota.reason}"
    fits = isinstance(free, Unknown) or free >= need_bytes
    rows = [
        Finding(
            f"space for {purpose}",
            f"{free if isinstance(free, Unknown) else format_bytes(free) + ' free'} on {where}{within}",
            format_bytes(need_bytes), "warn" if isinstance(free, Unknown) else "ok" if fits else "stop",
            "" if fits else "Free space, or choose another disk; `fsgr-tui plan` shows smaller choices.", "machine",
        )
    ]  # fmt: skip
    if isinstance(disk.inodes_free, int) and disk.inodes_free < inodes:
        rows.append(
            Finding(
                f"inodes for {purpose}", f"{disk.inodes_free:,} free on {where}", f"{inodes:,}", "stop",
                "Delete or pack small files there, or choose another disk. One HDF5 file takes few inodes, however many images.", "machine",
            )
        )  # fmt: skip
    return rows


def worker_findings(workers: int, cpus: CpuBudget) -> list[Finding]:
    """Whether the loaders have cores to run on."""
    over = workers > cpus.count
    return [
        Finding(
            "loader workers", f"{cpus.count} CPUs usable of {cpus.host_count} ({cpus.source})", str(workers), "warn" if over else "ok",
            f"Use --workers {max(0, cpus.count - 1) or cpus.count}, or ask for more CPUs; more loaders than cores slow each other." if over else "",
        )
    ]  # fmt: skip


def memory_finding(memory: MemoryBudget | Unknown) -> Finding:
    """What the host, or the container around this process, leaves; a job that takes more is killed."""
    if isinstance(memory, Unknown):
        return Finding("memory", str(memory))
    return Finding(
        "memory", f"{format_gib(memory.available_bytes)} of {format_gib(memory.limit_bytes)} free ({memory.source})"
    )


def login_findings(session: LoginSession) -> list[Finding]:
    """Whether a job would outlive the log-out. Silent where it would, or where nobody logs in (batch jobs)."""
    if session.kills is False or not session.in_session:
        return []
    found = "processes are ended at log-out" if session.kills is True else f"not known: {session.kills}"
    return [Finding("log-out", f"{found} ({session.source})", verdict="warn", remedy=linger_remedy(session))]


def linger_remedy(session: LoginSession) -> str:
    """How a job is kept alive where KillUserProcesses is on."""
    first = "" if session.lingers is True else "Run once: loginctl enable-linger. "
    return f"{first}Start long jobs as: systemd-run --user --scope fsgr-tui ..., or inside a batch job."


def image_findings(splits: Iterable[SplitFacts], empty: Sequence[str]) -> list[Finding]:
    """Whether the images are all there, and whole as far as their size tells."""
    rows = []
    for split in splits:
        expected = split.expected
        short = expected is not None and 0 < split.found < expected
        rows.append(
            Finding(
                f"images of {split.name}", f"{split.found:,}" + (f", {split.ignored:,} other files ignored" if split.ignored else ""),
                f"{expected:,} as published" if expected is not None else "", "warn" if short else "ok",
                "Unpack the zip again if the whole split is meant; else this is a subset." if short else "",
            )
        )  # fmt: skip
    if empty:
        rows.append(
            Finding(
                "empty image files", f"{len(empty):,} of 0 bytes: {few(empty)}", "0", "warn",
                "They will be refused, and have no features; copy them again.", listed=tuple(empty),
            )
        )  # fmt: skip
    return rows


def coverage_finding(what: str, missing: Sequence[int], needed: int, remedy: str) -> Finding:
    """Whether every annotated image has what training reads of it."""
    return Finding(
        what, f"{len(missing):,} of {needed:,} are missing: {few(missing)}" if missing else f"all {needed:,} there",
        f"{needed:,} annotated images", "stop" if missing else "ok", remedy if missing else "", listed=tuple(map(str, missing)),
    )  # fmt: skip


def cached_weights_finding(cached: CachedWeights | Unknown, *, offline: bool) -> Finding:
    """Whether the weights of a tag are here already.

    Args:
        offline: whether fetching is switched off (HF_HUB_OFFLINE).
    """
    if isinstance(cached, Unknown):
        return Finding("CLIP weights", f"whether they are here is not known: {cached.reason}", verdict="warn")
    what = f"CLIP weights {cached.model} {cached.tag}"
    if not cached.known:
        return Finding(
            what,
            "open_clip knows no such tag for this model",
            "a tag, a file or random:SEED",
            "stop",
            "See open_clip.list_pretrained().",
            "request",
        )
    if cached.path:
        return Finding(what, cached.path)
    fetch = f"python -c \"import open_clip; open_clip.create_model('{cached.model}', '{cached.tag}')\""
    return Finding(
        what, f"not in the cache ({cached.cache})" + (", and HF_HUB_OFFLINE is set" if offline else ""), "a file, or a way to fetch it", "stop" if offline else "warn",
        f"Compute nodes often have no internet: on a login node run {fetch}, or name a file with --weights.", "machine",
    )  # fmt: skip
