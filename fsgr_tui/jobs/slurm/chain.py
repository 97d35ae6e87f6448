"""Runs in Slurm that need each other: what a run waits for, and going on with a chain that was broken."""

from __future__ import annotations

from collections.abc import Sequence

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr
from fsgr_tui.jobs.folder import RunFolder, all_runs, find_run
from fsgr_tui.jobs.slurm import commands
from fsgr_tui.jobs.slurm.cancel import Cancelling
from fsgr_tui.jobs.slurm.commands import Commands
from fsgr_tui.jobs.slurm.standing import STOPPED, SUBMISSION, forget, queue_of, read_submission, whole
from fsgr_tui.jobs.slurm.submit import resubmit

NEVER = "DependencyNeverSatisfied"


def ids_behind(names: Sequence[str]) -> tuple[int, ...]:
    """Ids of Slurm's jobs that have to end well before a run that needs others.

    Args:
        names: of the runs that it needs.

    Raises:
        BadRequest: one of them is missing, is a job of a host, or has ended, and not well.
    """
    return tuple(number for name in names for number in _ids(name))


def _ids(name: str) -> tuple[int, ...]:
    run = find_run(name)
    status = run.read_status()
    if status.ended_for_good and (status.state != "done" or status.exit_code):
        raise BadRequest(
            tr("{name} has to end well first, and has not ({state}).", name=run.name, state=tr(status.state)),
            tr("Go on with it: fsgr-tui resume {name}", name=run.name),
        )
    if status.backend != "slurm":
        raise BadRequest(
            tr("{name} is a job of a host, which Slurm cannot wait for.", name=run.name),
            tr("Submit this one when it has ended."),
        )
    return () if status.ended_for_good else read_submission(run).ids[-1:]


def resume(run: RunFolder, *, anyway: bool = False, slurm: Commands = commands.run) -> tuple[RunFolder, ...]:
    """Submit again what is not done of a run, and the runs that Slurm cancelled since they needed it.

    Args:
        anyway: no longer wait for the runs that it needed.

    Returns:
        The runs that were submitted, the one that was named first.

    Raises:
        BadRequest: it was submitted by another user, or one that it needs has not ended well.
        MachineCannot: Slurm takes it not, or a folder cannot be written.
    """
    run = whole(run)
    submission = read_submission(run)
    resubmit(run, () if anyway else ids_behind(submission.needs), slurm)
    # What Slurm cancelled a moment ago is not in the last look.
    queue_of(run, submission).fresh()
    started = [run]
    for other in reversed(all_runs()):
        if _waited_for(other, {each.name for each in started}):
            resubmit(other, ids_behind(read_submission(other).needs), slurm)
            started.append(other)
    return tuple(started)


def _waited_for(run: RunFolder, names: set[str]) -> bool:
    """Whether a run never began since one of these had not ended well; one that a person stopped stays as it is."""
    if not (run.folder / SUBMISSION).exists() or (run.folder / STOPPED).exists():
        return False
    try:
        if not names & set(read_submission(run).needs):
            return False
        forget(run)
        status = run.read_status()
        if status.pending.startswith(NEVER):
            Cancelling(run).stop(0)
            return True
    except BadRequest:
        return False
    return status.started is None and status.state in ("stopped", "interrupted")
