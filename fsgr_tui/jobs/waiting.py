"""Waiting before a job begins: for the jobs it needs, for its turn in the queue, for a free GPU.

The runner of the waiting job waits itself; nothing else has to live. Locks are held by the runner and by the pump of
its output, and die with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from fsgr_tui.core.errors import EXIT_FOUND_FAULTS, EXIT_MACHINE_CANNOT, BadRequest
from fsgr_tui.core.job import Cause, GpuWish, JobSpec, JobState, JobStatus, Waiting
from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import GpuReport
from fsgr_tui.jobs import gpus, life, turns
from fsgr_tui.jobs.folder import RunFolder, all_runs

POLL_S = 1.0
SLICE_S = 0.1
ASK_S = 15.0
"""How often the GPUs are asked while none is free: other people's programs end without telling."""


class Ready(NamedTuple):
    """The job may begin, with these GPUs and locks."""

    gpus: tuple[str, ...] = ()
    locks: tuple[int, ...] = ()


class NotBegun(NamedTuple):
    """The job will not begin."""

    state: JobState
    exit_code: int
    cause: Cause


class Waiter:
    """Waits for one job.

    Args:
        tell: called with what the job waits for and a sentence, whenever that changes.
        stopped: whether the job was told to stop.
    """

    def __init__(self, run: RunFolder, tell: Callable[[Waiting, str], None], stopped: Callable[[], bool]) -> None:
        self._run = run
        self._spec: JobSpec = run.read_spec()
        self._tell = tell
        self._stopped = stopped
        self._told: tuple[Waiting, str] = ("", "")

    def wait(self, environ: Mapping[str, str]) -> Ready | NotBegun | None:
        """Wait for everything; None when the job was stopped meanwhile.

        Args:
            environ: the job's environment, for what it may see of the GPUs.
        """
        locks: list[int] = []
        if (refused := self._for_jobs()) is not None:
            return refused
        if self._spec.queue:
            queue = self._for_turn()
            locks += [queue] if queue is not None else []
        seats = gpus.Seats()
        if self._spec.gpu is not None and not self._stopped():
            seats = self._for_gpu(self._spec.gpu, environ)
        if self._stopped():
            return None
        if seats.why_not:
            cause = Cause("gpu", seats.why_not, advice=tr("`--gpu none` runs it without asking for a GPU."))
            return NotBegun("failed", EXIT_MACHINE_CANNOT, cause)
        return Ready(seats.uuids, (*locks, *seats.locks))

    def _for_jobs(self) -> NotBegun | None:
        while not self._stopped():
            open_needs = []
            for name in self._spec.needs:
                try:
                    status = self._run.beside(name).read_status()
                except BadRequest:
                    cause = Cause("need", tr("{name}, which had to end first, is not there any more.", name=name))
                    return NotBegun("stopped", EXIT_FOUND_FAULTS, cause)
                if status.ended_for_good and (status.state != "done" or status.exit_code):
                    return NotBegun("stopped", EXIT_FOUND_FAULTS, _failed_need(status))
                if not status.ended_for_good:
                    open_needs.append(name)
            if not open_needs:
                return None
            self._say("jobs", tr("waits for {jobs}", jobs=", ".join(open_needs)))
            self._pause()
        return None

    def _for_turn(self) -> int | None:
        path = self._run.locks / "queue"
        path.parent.mkdir(parents=True, exist_ok=True)
        while not self._stopped():
            ahead = self._ahead("queue")
            if not ahead:
                try:
                    lock = life.take(path, wait_s=0)
                except BlockingIOError:
                    pass
                else:
                    life.sign_name(lock, self._run.name)
                    return lock
            holder = life.name_in(path)
            self._say(
                "queue",
                tr("waits for its turn, behind {jobs}", jobs=", ".join([*([holder] if holder else []), *ahead])),
            )
            self._pause()
        return None

    def _for_gpu(self, wish: GpuWish, environ: Mapping[str, str]) -> gpus.Seats:
        report, asked_at, taken = GpuReport("none"), -ASK_S, frozenset[str]()
        while not self._stopped():
            ahead = self._ahead("gpu")
            held = frozenset(name for gpu in gpus.wanted(report, wish) if (name := gpus.holder(gpu, self._run.locks)))
            if not ahead and (time.monotonic() - asked_at >= ASK_S or held != taken):
                report = gpus.ask(wish.ask, environ)
                asked_at = time.monotonic()
                seats = gpus.take(report, wish, self._run.locks, self._run.name)
                if seats.uuids or seats.never or not wish.wait:
                    return seats
                taken = frozenset(
                    name for gpu in gpus.wanted(report, wish) if (name := gpus.holder(gpu, self._run.locks))
                )
                self._say("gpu", tr("waits for a GPU. {why}", why=seats.why_not))
            elif ahead:
                self._say("gpu", tr("waits for a GPU, behind {jobs}", jobs=", ".join(ahead)))
                asked_at = -ASK_S
            self._pause()
        return gpus.Seats()

    def _ahead(self, kind: Waiting) -> list[str]:
        """The living jobs that have waited longer for the same."""
        mine = turns.order(self._run, self._spec)
        found = []
        for other in all_runs():
            try:
                status = other.recorded_status()
                if status.state != "queued" or status.waiting != kind or other.name == self._run.name:
                    continue
                spec = other.read_spec()
            except BadRequest:
                continue
            earlier = turns.order(other, spec) < mine
            if earlier and _overlap(kind, spec, self._spec) and life.prove(other.lock).life != "gone":
                found.append(other.name)
        return sorted(found)

    def _say(self, kind: Waiting, text: str) -> None:
        if (kind, text) != self._told:
            self._told = (kind, text)
            self._tell(kind, text)

    def _pause(self) -> None:
        until = time.monotonic() + POLL_S
        while time.monotonic() < until and not self._stopped():
            time.sleep(SLICE_S)


def first_wait(spec: JobSpec) -> Waiting:
    """What a job waits for first."""
    if spec.needs:
        return "jobs"
    if spec.queue:
        return "queue"
    return "gpu" if spec.gpu is not None else ""


def _overlap(kind: Waiting, one: JobSpec, other: JobSpec) -> bool:
    if kind != "gpu" or one.gpu is None or other.gpu is None:
        return True
    return not one.gpu.named or not other.gpu.named or bool(set(one.gpu.named) & set(other.gpu.named))


def _failed_need(need: JobStatus) -> Cause:
    """Why a job whose need failed does not begin: the step that failed first is named, however far away it is."""
    if need.cause is not None and need.cause.kind == "need":
        return need.cause
    text = (
        tr("{name}, which had to end well first, ended with exit code {code}", name=need.name, code=need.exit_code)
        if need.state in ("done", "failed")
        else tr("{name}, which had to end well first, was {state}", name=need.name, state=tr(need.state))
    )
    told = tr("{text}: {cause}", text=text, cause=need.cause.text.rstrip(".。")) if need.cause is not None else text
    return msgspec.structs.replace(
        need.cause or Cause("", ""),
        kind="need",
        text=tr("{text}.", text=told),
        advice=tr("`fsgr-tui resume {name}` goes on with it and with all that waits for it.", name=need.name),
    )
