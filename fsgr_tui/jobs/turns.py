"""The order of the jobs that wait for the same: as they were asked for, or as somebody moved them.

A moved job has its order number in a file of its own in the run folder; its runner, and those behind it, read it again
with every look. Nothing is locked: whoever sees nobody ahead takes the lock of what it waits for, which only one gets.
"""

from __future__ import annotations

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.job import JobSpec
from fsgr_tui.core.language import tr
from fsgr_tui.jobs.folder import RunFolder, all_runs


def order(run: RunFolder, spec: JobSpec) -> tuple[float, str]:
    """Where a job stands among those that wait: the smaller, the sooner."""
    try:
        return float(run.turn.read_text()), run.name
    except (OSError, ValueError):
        return spec.created, run.name


def front() -> float:
    """An order number ahead of all that wait now, in the place of the run folders."""
    found = []
    for run in all_runs():
        try:
            if run.recorded_status().state == "queued":
                found.append(order(run, run.read_spec())[0])
        except BadRequest:
            continue
    return min(found, default=0.0) - 1.0


def place(run: RunFolder, number: float) -> None:
    """Give a job an order number; OSError as of writing it."""
    write_whole(run.turn, f"{number!r}\n".encode())


def to_front(run: RunFolder) -> None:
    """Let a waiting job begin before all others that wait for the same.

    Raises:
        BadRequest: it does not wait, or Slurm decides its turn.
    """
    status = run.read_status()
    if status.backend == "slurm":
        raise BadRequest(
            tr("{name} waits in Slurm's queue.", name=run.name),
            tr("Slurm decides its turn; `scontrol top JOBID` may move it where the site allows that."),
        )
    if status.state != "queued":
        raise BadRequest(
            tr("{name} does not wait ({state}).", name=run.name, state=tr(status.state)),
            tr("`fsgr-tui queue` lists the jobs that do."),
        )
    place(run, front())
