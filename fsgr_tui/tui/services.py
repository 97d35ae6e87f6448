"""What the screen asks of the rest of the program: one callable each, so that tests hand in their own.

Every one of them may touch disks, drivers or child processes, and is called from a worker thread only. What is heavy
to import (h5py behind the check) is imported at the first call.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import msgspec

from fsgr_tui.core import jsontext, language
from fsgr_tui.core.errors import MachineCannot, Problem
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.language import tr
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.preflight import PreflightReport
from fsgr_tui.tui.intent_form import Wanted
from fsgr_tui.tui.seen import JobsSeen

if TYPE_CHECKING:
    from fsgr_tui.features.check import CheckReport, Tell
    from fsgr_tui.features.compare import FeatureComparison
    from fsgr_tui.features.sample import Sample
    from fsgr_tui.service.curves import Chart
    from fsgr_tui.service.kept_checks import PastCheck
    from fsgr_tui.tui.order import Order, Ready
    from fsgr_tui.tui.remembered import Remembered
    from fsgr_tui.tui.screens.log import Lines
    from fsgr_tui.tui.watching import RunWatch

P = ParamSpec("P")
R = TypeVar("R")

PREFLIGHT_S = 120.0
FEATURE_SUFFIXES = (".hdf5", ".h5")


@dataclass(frozen=True)
class FoundFile:
    """A feature file, or an unfinished one, as its folder lists it. Its content has not been looked at."""

    path: str
    bytes: int
    changed: float
    unfinished: bool = False


@dataclass(frozen=True)
class Services:
    """The use cases behind the screen.

    Attributes:
        plan: the plan for what is wanted.
        replan: an existing plan on this machine as it is now.
        workers: decoding workers for an extraction started here.
        save_plan: writes a plan into a new file of the working folder; gives its name.
        preflight: all that would stop or spoil a command of this program.
        start_steps: starts all steps of a plan, each waiting for those that it needs; gives the jobs' names.
        prepare: looks at everything that could stop what the run form asks for.
        start: starts it, or puts it among the waiting jobs; gives the job's name.
        jobs: how all jobs stand, with the details of the one that was named.
        stop: asks a job to stop: the first time gently, the second time at once.
        files: feature files in a folder, and those among further paths that are there.
        check: checks a feature file, against the images of a root when one is named; tells rows read of rows to read.
        recall: what earlier checks of files came to, from this screen or a shell.
        compare: compares two feature files; tells rows read of rows to read.
        look: one image of a feature file, by its place in it, with the similarity to a patch or to a text when one is
            named; a text that was not asked for before takes seconds to minutes.
        log: a job's log by line numbers; read from one thread at a time.
        curves: a job's charts.
        resume: goes on with a job that has ended; gives the names of the jobs that were started.
        remove: deletes the run folder of a job that has ended.
        report: writes a job's page; gives its path.
        remember: keeps what the next start shall know.
        now: Unix time in seconds.
    """

    plan: Callable[[Wanted], Plan]
    replan: Callable[[Plan, str], Plan]
    workers: Callable[[], int]
    save_plan: Callable[[Plan], str]
    preflight: Callable[[tuple[str, ...]], PreflightReport]
    start_steps: Callable[[Plan], tuple[str, ...]]
    prepare: Callable[[Order], Ready]
    start: Callable[[Ready], str]
    jobs: Callable[[str], JobsSeen]
    stop: Callable[[str], None]
    files: Callable[[str, Iterable[str]], tuple[FoundFile, ...]]
    check: Callable[[str, str, Tell], CheckReport]
    recall: Callable[[Iterable[str]], dict[str, PastCheck]]
    compare: Callable[[str, str, Tell], FeatureComparison]
    look: Callable[[str, int, tuple[int, int] | None, str], Sample]
    log: Callable[[str], Lines]
    curves: Callable[[str], tuple[Chart, ...]]
    resume: Callable[[str], tuple[str, ...]]
    remove: Callable[[str], None]
    report: Callable[[str], str]
    remember: Callable[[Remembered], None]
    now: Callable[[], float]


def real_services() -> Services:
    """The services of this machine."""
    return Services(
        plan=_told(_plan), replan=_told(_replan), workers=_told(_workers), save_plan=_told(_save_plan), preflight=_told(_preflight),
        start_steps=_told(_start_steps), prepare=_told(_prepare), start=_told(_start), jobs=_told(_Jobs().look), stop=_told(_stop),
        files=_told(_files), check=_told(_check), recall=_told(_recall), compare=_told(_compare), look=_told(_look),
        log=_told(_log), curves=_told(_curves), resume=_told(_resume), remove=_told(_remove), report=_told(_report), remember=_remember, now=time.time,
    )  # fmt: skip


class _Jobs:
    """Keeps the reader of run folders, which follows files from one look to the next."""

    def __init__(self) -> None:
        self._watch: RunWatch | None = None

    def look(self, chosen: str) -> JobsSeen:
        from fsgr_tui.tui.watching import RunWatch

        self._watch = self._watch or RunWatch()
        return self._watch.look(chosen)


def _told(service: Callable[P, R]) -> Callable[P, R]:
    """The service with faults of the file system as problems: a file server that fails must not end the screen."""

    @functools.wraps(service)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return service(*args, **kwargs)
        except OSError as error:
            raise MachineCannot(
                tr("{file}: {fault}.", file=error.filename or tr("A file"), fault=error.strerror or error),
                tr("Look again when it is back."),
            ) from error

    return asked


def _plan(wanted: Wanted) -> Plan:
    from fsgr_tui.service import planning

    return planning.plan(wanted.intent, wanted.image_root, wanted.features_dir, wanted.what_if)


def _replan(plan: Plan, features_dir: str) -> Plan:
    from fsgr_tui.service import planning

    return planning.replan(plan, features_dir)


def _workers() -> int:
    from fsgr_tui.service import extraction

    return extraction.default_workers()


def _save_plan(plan: Plan) -> str:
    from fsgr_tui.core import planfile

    # An earlier plan may have been changed by hand since: it stays.
    names = ("plan.toml", *(f"plan-{number}.toml" for number in range(2, 1000)))
    name = next(name for name in names if not Path(name).exists())
    write_whole(Path(name), planfile.write(plan).encode())
    return name


def _preflight(command: tuple[str, ...]) -> PreflightReport:
    """Asked in a process of its own: what preflight imports and probes would slow the screen down."""
    argv = [sys.executable, "-m", "fsgr_tui", "preflight", *command, "--json"]
    # JSON is English unless a language is named.
    spoken = {**os.environ, language.VARIABLE: language.of_environment(os.environ)}
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PREFLIGHT_S, check=False, env=spoken
        )
        return jsontext.decode(done.stdout, PreflightReport)
    except subprocess.TimeoutExpired:
        raise MachineCannot(
            tr("The preflight did not answer within {seconds:.0f} s.", seconds=PREFLIGHT_S),
            tr("Try it in a shell: {command}", command=shlex.join(("fsgr-tui", *argv[3:-1]))),
        ) from None
    except msgspec.MsgspecError:
        what, _, fix = done.stderr.decode("utf-8", "replace").strip().removeprefix("fsgr-tui: ").partition("\n")
        raise MachineCannot(what or tr("The preflight told nothing."), fix.strip()) from None


def _start_steps(plan: Plan) -> tuple[str, ...]:
    from fsgr_tui.core import planfile
    from fsgr_tui.service import running

    steps = planfile.read(planfile.write(plan)).steps
    prepared = running.prepare_plan(steps, running.RunRequest(argv=()))
    return tuple(run.name for run in running.start_plan(prepared))


def _prepare(order: Order) -> Ready:
    from fsgr_tui.service import extraction, running, training
    from fsgr_tui.service.training_request import TrainRequest
    from fsgr_tui.tui.order import Ready

    request = order.request
    run = running.prepare(running.RunRequest(argv=request.shown, gpu=order.gpu, after=order.after, queue=order.in_turn))
    try:
        prepared = training.prepare(request) if isinstance(request, TrainRequest) else extraction.prepare(request)
    except Problem as problem:
        if not order.after:
            raise
        # What it waits for may make what is missing.
        return Ready(order, None, run, problem)
    return Ready(order, prepared, run)


def _start(ready: Ready) -> str:
    from fsgr_tui.service import extraction, running, training

    if ready.order.waits or ready.prepared is None:
        return running.start(ready.run).name
    if isinstance(ready.prepared, extraction.Prepared):
        return extraction.start(ready.prepared).name
    return training.start(ready.prepared).name


def _stop(name: str) -> None:
    from fsgr_tui.jobs import control, folder

    control.ask_to_stop(folder.find_run(name))


def _log(name: str) -> Lines:
    from fsgr_tui.jobs import folder
    from fsgr_tui.jobs.lines import LineIndex

    return LineIndex(folder.find_run(name).log)


def _curves(name: str) -> tuple[Chart, ...]:
    from fsgr_tui.jobs import folder
    from fsgr_tui.service import report

    return report.collect(folder.find_run(name)).charts


def _resume(name: str) -> tuple[str, ...]:
    from fsgr_tui.jobs import folder
    from fsgr_tui.service import resuming

    return tuple(run.name for run in resuming.resume(folder.find_run(name)))


def _remove(name: str) -> None:
    from fsgr_tui.jobs import control, folder

    control.remove(folder.find_run(name))


def _report(name: str) -> str:
    from fsgr_tui.jobs import folder
    from fsgr_tui.service import report, report_pages

    run = folder.find_run(name)
    path = run.folder / "report.html"
    write_whole(path, report_pages.as_html(report.collect(run)).encode("utf-8", "replace"))
    return str(path)


def _files(features_dir: str, further: Iterable[str]) -> tuple[FoundFile, ...]:
    found: dict[str, FoundFile] = {}
    try:
        listed = [entry.path for entry in os.scandir(features_dir)]
    except (FileNotFoundError, NotADirectoryError):
        listed = []
    except OSError as error:
        raise MachineCannot(
            tr("{folder} cannot be read: {fault}.", folder=features_dir, fault=error.strerror),
            tr("Look at its permissions."),
        ) from None
    for path in (*listed, *further):
        name = path.removesuffix(".part")
        if not name.endswith(FEATURE_SUFFIXES):
            continue
        try:
            stat = Path(path).stat()
        except OSError:
            # A job's output may have been moved or deleted since; then it is no file of this list.
            continue
        absolute = str(Path(path).absolute())
        found[absolute] = FoundFile(absolute, stat.st_size, stat.st_mtime, unfinished=path != name)
    return tuple(sorted(found.values(), key=lambda file: (-file.changed, file.path)))


def _check(path: str, image_root: str, tell: Tell) -> CheckReport:
    from fsgr_tui.service import checking, kept_checks

    return kept_checks.check(checking.CheckRequest(path=path, image_root=image_root), tell)


def _recall(paths: Iterable[str]) -> dict[str, PastCheck]:
    from fsgr_tui.service import kept_checks

    return kept_checks.recall(paths)


def _compare(path_a: str, path_b: str, tell: Tell) -> FeatureComparison:
    from fsgr_tui.service import comparing

    return comparing.compare(path_a, path_b, tell)


def _look(path: str, position: int, patch: tuple[int, int] | None, text: str) -> Sample:
    from fsgr_tui.service import looking

    return looking.look(path, position=position, patch=patch, text=text or None)


def _remember(remembered: Remembered) -> None:
    from fsgr_tui.tui import remembered as memory

    memory.save(remembered)
