"""The queue: the jobs that wait here, in the order in which they will begin, and moving one to its front."""

from __future__ import annotations

from collections.abc import Iterable

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.job_queue import Queued, Waits, in_order
from fsgr_tui.jobs import life, turns
from fsgr_tui.jobs.folder import LOCKS, RunFolder, all_runs, find_run, runs_dir


def queue(statuses: Iterable[JobStatus] | None = None) -> tuple[Queued, ...]:
    """The jobs that wait. Only their own folders are looked into, so that a screen may ask every second.

    Args:
        statuses: how all jobs stand, where that was read already.
    """
    open_jobs = (
        {status.name: status for status in statuses if not status.ended_for_good} if statuses is not None else _open()
    )
    waits = []
    for status in open_jobs.values():
        if status.state != "queued":
            continue
        run = RunFolder(runs_dir() / status.name)
        try:
            spec = run.read_spec()
        except BadRequest:
            # It is being deleted.
            continue
        waits.append(Waits(status, spec.needs, turns.order(run, spec)))
    return in_order(waits, open_jobs, life.name_in(runs_dir() / LOCKS / "queue"))


def to_front(name: str) -> str:
    """Let a waiting job begin before all others that wait for the same; gives its whole name.

    Raises:
        BadRequest: there is no such job, or it does not wait here.
    """
    run = find_run(name)
    turns.to_front(run)
    return run.name


def _open() -> dict[str, JobStatus]:
    found = {}
    for run in all_runs():
        try:
            # Most jobs have ended; whether the others still live is looked at for them alone.
            if not run.recorded_status().ended_for_good and not (status := run.read_status()).ended_for_good:
                found[run.name] = status
        except BadRequest:
            continue
    return found
