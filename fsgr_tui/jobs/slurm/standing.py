"""How a job in Slurm stands: its folders first, then the shared look at the queue."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.core.slurm_job import Member, Submission, needs_accounting, standing
from fsgr_tui.core.slurm_parts import combined
from fsgr_tui.core.units import format_duration
from fsgr_tui.jobs import life
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.jobs.slurm import commands
from fsgr_tui.jobs.slurm.queue import Queue

SUBMISSION = "slurm.json"
STOPPED = ".stopped"
"""A file in the run folder: a user has stopped the job, so no runner goes on with it."""

QUEUES = ".slurm"
KEPT_S = 1.0
"""Followers look five times a second; the folders of an array are read once."""

_kept: dict[Path, tuple[float, JobStatus]] = {}
_lock = threading.Lock()


def read_submission(run: RunFolder) -> Submission:
    """How a run was given to Slurm.

    Raises:
        BadRequest: the file is missing or damaged.
    """
    path = run.folder / SUBMISSION
    try:
        return jsontext.decode(path.read_bytes(), Submission)
    except (OSError, msgspec.MsgspecError) as error:
        raise BadRequest(
            tr("{path} cannot be read: {error}.", path=path, error=error), tr("Delete the run folder.")
        ) from None


def whole(run: RunFolder) -> RunFolder:
    """The run that was submitted: of a shard, the one that it belongs to."""
    outer = RunFolder(run.folder.parent)
    return outer if not (run.folder / SUBMISSION).exists() and (outer.folder / SUBMISSION).exists() else run


def queue_of(run: RunFolder, submission: Submission) -> Queue:
    """The shared look at the queue for a run."""
    return Queue(run.folder.parent / QUEUES, submission.uid, submission.cluster, commands.run)


def member_run(run: RunFolder, member: Member) -> RunFolder:
    """The folder of one runner."""
    return RunFolder(run.folder / member.folder) if member.folder else run


def current(run: RunFolder, recorded: JobStatus) -> JobStatus:
    """How a run stands now.

    Args:
        recorded: what its folder says.
    """
    if recorded.ended_for_good and (recorded.parts or recorded.state in ("done", "failed") or _is_stopped(run)):
        return recorded
    if not (run.folder / SUBMISSION).exists():
        # A shard that is looked at by itself is known to its run only.
        return _alone(run, recorded)
    with _lock:
        kept = _kept.get(run.folder)
        if kept is not None and 0 <= time.monotonic() - kept[0] < KEPT_S:
            return kept[1]
    status = _current(run, recorded, read_submission(run))
    with _lock:
        _kept[run.folder] = (time.monotonic(), status)
    return status


def forget(run: RunFolder) -> None:
    """Look again at the next question."""
    with _lock:
        _kept.pop(run.folder, None)


def _is_stopped(run: RunFolder) -> bool:
    return (run.folder / STOPPED).exists()


def _alone(run: RunFolder, recorded: JobStatus) -> JobStatus:
    proof = life.prove(run.lock)
    return _living(recorded, proof) or recorded


def _current(run: RunFolder, recorded: JobStatus, submission: Submission) -> JobStatus:
    stopped = _is_stopped(run)
    found = {member: _of_member(run, member, submission, stopped=stopped) for member in submission.members}
    if len(submission.parts) == 1 and not submission.parts[0].shards:
        return next(iter(found.values()))
    parts = [(part, [(member, found[member]) for member in part.members]) for part in submission.parts]
    status = combined(recorded, parts)
    if status.state == "done":
        status = _with_size(status)
        # Nothing can change any more: the many folders need not be read again.
        try:
            run.write_status(status)
        except OSError:
            return status
    return status


def _with_size(status: JobStatus) -> JobStatus:
    output = status.result.get("output")
    try:
        return msgspec.structs.replace(
            status, result={**status.result, "file_bytes": Path(str(output)).stat().st_size if output else 0}
        )
    except OSError:
        return status


def _of_member(run: RunFolder, member: Member, submission: Submission, *, stopped: bool) -> JobStatus:
    own = member_run(run, member)
    recorded = own.recorded_status()
    settled = recorded.state in ("done", "failed") or (recorded.ended_for_good and stopped)
    if settled:
        return recorded
    proof = life.prove(own.lock)
    if living := _living(recorded, proof):
        return living
    # Between the two looks it may have come to its end.
    recorded = own.recorded_status()
    if recorded.state in ("done", "failed") or submission.uid != os.getuid() or not member.key:
        return recorded
    queue = queue_of(run, submission)
    seen = queue.look().seen(member.key, member.job_name)
    sign_at = max(submission.submitted, recorded.heartbeat or 0.0)
    now = time.time()
    if recorded.ended_for_good and (seen.row is None or seen.row.state.kind == "ended"):
        # Its runner's last word, and Slurm has not put it back.
        return recorded
    if needs_accounting(seen, sign_at, now):
        keys = [each.key for each in submission.members if each.key]
        seen = queue.accounts(keys).seen(member.key, member.job_name)
    return standing(recorded, seen, sign_at, now)


def _living(recorded: JobStatus, proof: life.Proof) -> JobStatus | None:
    if proof.life == "gone" or recorded.ended_for_good:
        return None
    host = tr("on {host}", host=proof.holder.host.name) if proof.holder is not None else ""
    if proof.life == "elsewhere":
        host += ", " + tr("last sign {age} ago", age=format_duration(proof.age_s))
    note = "; ".join(part for part in (host, recorded.note) if part)
    return msgspec.structs.replace(recorded, life=proof.life, note=note)
