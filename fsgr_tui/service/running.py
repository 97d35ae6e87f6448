"""Running commands as jobs: what can be refused is refused here, before anything is started."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.job import GpuWish
from fsgr_tui.core.lab import LoginSession
from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import GpuReport
from fsgr_tui.core.planfile import PlanStep, read
from fsgr_tui.core.units import printable
from fsgr_tui.jobs import control, gpus, turns
from fsgr_tui.jobs.folder import (
    LOCKS,
    STEP_KINDS,
    RunFolder,
    find_run,
    new_run,
    require_name,
    runs_dir,
)
from fsgr_tui.service.gpus import ASK

PROGRAM = "fsgr-tui"
_ON_A_GPU = frozenset({"extract", "train", "text-embed", "demo", "bench"})


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for.

    Attributes:
        argv: the command; one that begins with `fsgr-tui` is run by this interpreter.
        gpu: auto, auto:N, all, none, indices or uuids with commas; empty for auto where there is a GPU and the command
            may use one.
        after: jobs that have to end well first.
        queue: whether it runs in turn with the other jobs of the queue.
        first: whether it begins before all others that wait for the same.
        wait: whether it waits for a GPU, or is refused when none is free.
        shown: the command line as typed.
    """

    argv: tuple[str, ...]
    name: str = ""
    cwd: str = ""
    env: dict[str, str] = {}
    gpu: str = ""
    after: tuple[str, ...] = ()
    queue: bool = False
    first: bool = False
    wait: bool = True
    shown: tuple[str, ...] = ()


class PreparedRun(msgspec.Struct, frozen=True):
    """A request that nothing speaks against.

    Attributes:
        argv: the command as it will be started.
        kind: extract, train, ... for this program's own commands, else command.
        needs: full names of the jobs that come first.
        notices: what the user should know before it starts.
    """

    request: RunRequest
    argv: tuple[str, ...]
    kind: str
    cwd: Path
    gpu: GpuWish | None
    needs: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def ask_gpus() -> GpuReport:
    """The GPUs that a job started now would see."""
    from fsgr_tui.probes.gpu import probe_gpus

    return probe_gpus()


def prepare(request: RunRequest, ask: Callable[[], GpuReport] = ask_gpus) -> PreparedRun:
    """Look at everything that could stop the command.

    Raises:
        BadRequest: no command, no such program, folder or job, or a name that cannot be.
        MachineCannot: the GPUs that are asked for are not here, or not free and `wait` is off.
    """
    if not request.argv:
        raise BadRequest(
            tr("There is no command to run."), tr("Write it behind two dashes: fsgr-tui run -- python train.py")
        )
    if request.name:
        require_name(request.name)
        if (runs_dir() / request.name).exists():
            # Said by `new_run` too; but a dry run and a plan have to know before anything is started.
            raise BadRequest(
                tr("There is a job {name} already.", name=repr(request.name)),
                tr("Choose another --name, or delete it: fsgr-tui rm {name}", name=request.name),
            )
    cwd = Path(request.cwd or ".").absolute()
    if not cwd.is_dir():
        raise BadRequest(
            tr("--cwd {cwd} is no folder.", cwd=request.cwd), tr("Name the folder in which the command runs.")
        )
    needs = tuple(_need(name) for name in request.after)
    argv, kind = _command(request, cwd)
    wish, notices = _wish(request, kind, ask)
    return PreparedRun(request, argv, kind, cwd, wish, needs, notices)


def start(prepared: PreparedRun) -> RunFolder:
    """Start a prepared command as a job.

    Raises:
        MachineCannot: the run folder cannot be made.
    """
    run = new_run(prepared.kind, prepared.request.name)
    if prepared.request.first:
        _place(run, turns.front())
    _start(run, prepared, prepared.needs)
    return run


def prepare_plan(
    steps: Sequence[PlanStep], request: RunRequest, ask: Callable[[], GpuReport] = ask_gpus
) -> tuple[tuple[PlanStep, PreparedRun], ...]:
    """Look at all steps of a plan.

    Args:
        steps: each behind those that it needs.
        request: what holds for every step; its name begins the names of their jobs.

    Raises:
        BadRequest: as `prepare`, with the step's name.
        MachineCannot: as `prepare`.
    """
    prepared = []
    for step in steps:
        require_name(step.name)
        name = f"{request.name}-{step.name}" if request.name else ""
        argv = tuple(step.argv)
        one = msgspec.structs.replace(request, argv=argv, name=name, shown=argv)
        try:
            prepared.append((step, prepare(one, ask)))
        except BadRequest as problem:
            raise BadRequest(tr("Step {name}: {what}", name=repr(step.name), what=problem.what), problem.fix) from None
    return tuple(prepared)


def start_plan(prepared: Sequence[tuple[PlanStep, PreparedRun]]) -> tuple[RunFolder, ...]:
    """Start all steps as jobs, each of which waits for those that it needs.

    Raises:
        MachineCannot: a run folder cannot be made; the steps started until then wait for nothing that is missing.
    """
    names: dict[str, str] = {}
    runs: list[RunFolder] = []
    front = turns.front() - len(prepared) if any(one.request.first for _, one in prepared) else 0.0
    for step, one in prepared:
        run = new_run(step.name, one.request.name)
        names[step.name] = run.name
        if one.request.first:
            # Ahead of all others, the steps among themselves in their own order.
            _place(run, front + len(runs))
        _start(run, one, (*one.needs, *(names[need] for need in step.needs)))
        runs.append(run)
    return tuple(runs)


def read_plan(path: Path) -> Sequence[PlanStep]:
    """The steps of a plan file.

    Raises:
        BadRequest: it cannot be read, or is no plan.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(
            tr("{path} cannot be read: {reason}.", path=path, reason=getattr(error, "strerror", None) or error),
            tr("Look at the file."),
        ) from None
    return read(text).steps


def gpu_for(kind: str, argv: Sequence[str], count: int = 1, ask: Callable[[], GpuReport] = ask_gpus) -> GpuWish | None:
    """What a command of this program that is started by itself asks of the GPUs, so that two do not land on one card.

    Args:
        argv: the command as typed; one that names its device gets that, and keeps nobody away.
        count: how many GPUs it uses.

    Returns:
        None where there are not so many GPUs, the driver does not tell, or the command uses none.
    """
    if not _may_use_a_gpu(RunRequest(argv=tuple(argv)), kind):
        return None
    report, wish = ask(), GpuWish(ASK, count)
    return wish if report.status == "ok" and not gpus.impossible(report, wish) else None


def gpu_words(wish: GpuWish | None) -> str:
    """What a job asks of the GPUs, for people."""
    if wish is None:
        return tr("none is asked for")
    if wish.named:
        return tr("{gpus}, when no other job holds it and nobody's programs fill it", gpus=", ".join(wish.named))
    return tr("{number} that no other job holds and nobody's programs fill", number=wish.count)


def at_log_out() -> str:
    """What a user should know about logging out, here and now."""
    from fsgr_tui.probes.login import probe_login

    return told_at_log_out(probe_login())


def told_at_log_out(session: LoginSession) -> str:
    """What a user should know about logging out; empty when jobs outlive it."""
    if session.kills is not True or not session.in_session:
        return ""
    if session.lingers is True:
        return tr(
            "Logging out ends this job: systemd's KillUserProcesses is on for you ({source}). To keep it: "
            "`systemd-run --user --scope fsgr-tui run ...`.",
            source=session.source,
        )
    return tr(
        "Logging out ends this job: systemd's KillUserProcesses is on for you ({source}). To keep it: `loginctl "
        "enable-linger` once, and then `systemd-run --user --scope fsgr-tui run ...`.",
        source=session.source,
    )


def _place(run: RunFolder, number: float) -> None:
    try:
        turns.place(run, number)
    except OSError as error:
        raise MachineCannot(
            tr(
                "The run folder {folder} cannot be written: {reason}.",
                folder=run.folder,
                reason=error.strerror or error,
            ),
            tr("Make room there, or set FSGR_TUI_RUNS to another folder."),
        ) from None


def _start(run: RunFolder, prepared: PreparedRun, needs: Sequence[str]) -> None:
    request = prepared.request
    control.start(
        run,
        prepared.kind,
        prepared.argv,
        request.shown or request.argv,
        request.env,
        cwd=prepared.cwd,
        needs=needs,
        queue=request.queue,
        gpu=prepared.gpu,
        step=prepared.kind in STEP_KINDS,
    )


def _need(name: str) -> str:
    run = find_run(name)
    status = run.read_status()
    if status.ended_for_good and (status.state != "done" or status.exit_code):
        raise BadRequest(
            tr(
                "--after {name}: {job} has ended already, and not well ({state}).",
                name=name,
                job=run.name,
                state=tr(status.state),
            ),
            tr("Go on with it first: fsgr-tui resume {name}", name=run.name),
        )
    return run.name


def _command(request: RunRequest, cwd: Path) -> tuple[tuple[str, ...], str]:
    program, *rest = request.argv
    if Path(program).name == PROGRAM:
        kind = next((word for word in rest if not word.startswith("-")), "plan")
        return (sys.executable, "-m", "fsgr_tui", *rest), kind if kind.replace("-", "").isalpha() else "command"
    search = request.env.get("PATH", os.environ.get("PATH", os.defpath))
    place = str(cwd / program) if "/" in program else program
    # What an earlier job builds is not there yet.
    if not request.after and shutil.which(place, path=search) is None:
        there = (
            tr("it is no program that may be run") if "/" in program and Path(place).exists() else tr("it is not there")
        )
        raise BadRequest(
            tr("{program} cannot be started: {there}.", program=printable(program), there=there),
            tr("Look at its path (in {cwd}), or at PATH.", cwd=printable(str(cwd)))
            if "/" in program
            else tr("Look at PATH; a script of yours is started as `python script.py` or `bash script.sh`."),
        )
    return request.argv, "command"


def _wish(request: RunRequest, kind: str, ask: Callable[[], GpuReport]) -> tuple[GpuWish | None, tuple[str, ...]]:
    """What to ask of the GPUs, and what the user should know about them."""
    asked = request.gpu.strip()
    if asked == "none" or (not asked and not _may_use_a_gpu(request, kind)):
        return None, ()
    if asked and "CUDA_VISIBLE_DEVICES" in request.env:
        raise BadRequest(
            tr("--gpu and --env CUDA_VISIBLE_DEVICES contradict each other."), tr("Leave one of them out.")
        )
    report = ask()
    wish = _parsed(asked or "auto", report, wait=request.wait)
    if why := gpus.impossible(report, wish):
        if asked:
            raise MachineCannot(why, tr("`--gpu none` runs it without asking for a GPU."))
        # Without a GPU there is nothing to keep two jobs apart on.
        return None, ()
    seats = gpus.take(report, wish, runs_dir() / LOCKS, request.name or kind)
    for lock in seats.locks:
        os.close(lock)
    if seats.uuids:
        return wish, ()
    if not request.wait:
        raise MachineCannot(
            tr("No GPU is free. {why}.", why=seats.why_not), tr("Without --no-wait the job waits for one.")
        )
    return wish, (tr("No GPU is free now: {why}. The job waits for one.", why=seats.why_not),)


def _may_use_a_gpu(request: RunRequest, kind: str) -> bool:
    if "CUDA_VISIBLE_DEVICES" in request.env:
        return False
    if kind == "command":
        return True
    device = _value_of("--device", request.argv)
    # With a number or a list the user has chosen; the choice is by position, so it must not be narrowed down here.
    return (kind in _ON_A_GPU or "--recompute" in request.argv) and device in ("", "auto", "cuda")


def _value_of(flag: str, argv: Sequence[str]) -> str:
    for number, word in enumerate(argv):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
        if word == flag and number + 1 < len(argv):
            return argv[number + 1]
    return ""


def _parsed(text: str, report: GpuReport, *, wait: bool) -> GpuWish:
    if text == "all":
        return GpuWish(ASK, max(1, len(report.gpus)), (), wait)
    if text.partition(":")[0] == "auto":
        count = text.partition(":")[2] or "1"
        if not count.isdecimal() or int(count) < 1:
            raise BadRequest(
                tr("--gpu {text}: {number} is no number of GPUs.", text=text, number=repr(count)),
                tr("Write it like auto or auto:2."),
            )
        return GpuWish(ASK, int(count), (), wait)
    named = tuple(part.strip() for part in text.split(","))
    if not all(part.isdecimal() or part.startswith(("GPU-", "MIG-")) for part in named) or len(set(named)) < len(named):
        raise BadRequest(
            tr("--gpu {text} names no GPUs.", text=repr(text)),
            tr("Use auto, auto:N, all, none, numbers such as 0 or 0,1, or uuids."),
        )
    return GpuWish(ASK, len(named), named, wait)


def environment(settings: Sequence[str]) -> Mapping[str, str]:
    """Variables from `NAME=VALUE` words.

    Raises:
        BadRequest: a word is none.
    """
    found = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign or not name or "\0" in value:
            raise BadRequest(
                tr("--env {setting} is no NAME=VALUE.", setting=repr(setting)),
                tr("Write it like --env OMP_NUM_THREADS=4."),
            )
        found[name] = value
    return found
