"""A job in Slurm: how it was submitted, and how it stands by its run folder's word and, after that, by Slurm's.

The truth is on disk: the runner inside the allocation writes start, heartbeat and end. Slurm is asked about jobs whose
folder says nothing final, and its word is taken only after a time in which the folder may still speak.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from fsgr_tui.core.job import Cause, JobState, JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.core.slurm import AccountRow, QueueRow, SlurmState, key_of
from fsgr_tui.core.slurm_profile import Profile
from fsgr_tui.core.slurm_words import end_words, no_answer_words, resume_words, silent_words, waiting_words
from fsgr_tui.core.units import format_duration

SUBMISSION_SCHEMA = "fsgr-tui/slurm/1"

GRACE_S = 120.0
"""How long after its last sign a folder may still be about to speak: attributes of files on NFS may be a minute old
(nfs(5), acdirmax), and a runner needs a while to end its child."""

OPEN: frozenset[JobState] = frozenset({"queued", "running", "stopping"})

Accounting = Literal["not asked", "ok", "off", "unreachable"]


class Part(msgspec.Struct, frozen=True):
    """One job of Slurm that belongs to a run.

    Attributes:
        name: extract, merge, check, or the kind of a single job.
        folder: below the run folder; empty for the run folder itself. Of an array, each shard has its own.
        script: file name of the batch script in the run folder.
        job_name: the name in Slurm, by which it is known as ours.
        job_id: 0 while it is not submitted.
        shards: how many shards an array has; 0 for a single job.
        tasks: the shards that were submitted under this id; others were finished before.
    """

    name: str
    folder: str
    script: str
    job_name: str
    job_id: int = 0
    shards: int = 0
    tasks: tuple[int, ...] = ()

    @property
    def members(self) -> tuple[Member, ...]:
        """The tasks of an array, or the one job."""
        if not self.shards:
            return (Member(self.name, self.folder, key_of(self.job_id, None) if self.job_id else "", self.job_name),)
        return tuple(
            Member(
                f"shard {shard} of {self.shards}",
                shard_folder(shard),
                key_of(self.job_id, shard) if shard in self.tasks else "",
                self.job_name,
                shard,
                self.shards,
            )
            for shard in range(1, self.shards + 1)
        )


class Member(msgspec.Struct, frozen=True):
    """One runner of a run.

    Attributes:
        words: its name in documents, in English.
        folder: below the run folder.
        key: what Slurm calls it; empty while it is not submitted.
        number, of: which shard of how many; 0 for none.
    """

    words: str
    folder: str
    key: str
    job_name: str
    number: int = 0
    of: int = 0

    @property
    def told(self) -> str:
        """Its name, in the user's language."""
        return tr("shard {number} of {shards}", number=self.number, shards=self.of) if self.number else tr(self.words)


class Submission(msgspec.Struct, frozen=True):
    """How a run was given to Slurm: `slurm.json` in its folder.

    Attributes:
        uid: of the user; the queue is asked for one user's jobs only.
        cluster: as sbatch named it; empty for the only one.
        submitted: Unix time.
        needs: names of the runs that have to end well first.
    """

    uid: int
    profile_name: str
    profile: Profile
    parts: tuple[Part, ...]
    submitted: float
    cluster: str = ""
    needs: tuple[str, ...] = ()
    schema: str = SUBMISSION_SCHEMA

    @property
    def members(self) -> tuple[Member, ...]:
        """All runners, in the order in which they begin."""
        return tuple(member for part in self.parts for member in part.members)

    @property
    def ids(self) -> tuple[int, ...]:
        """The jobs' ids, of those that were submitted."""
        return tuple(part.job_id for part in self.parts if part.job_id)


def shard_folder(shard: int) -> str:
    """Where a task of an array has its run folder, below that of the array."""
    return f"shard-{shard}"


class Seen(msgspec.Struct, frozen=True):
    """What is known from Slurm about one job or task.

    Attributes:
        row: its row in the queue, of the last answer.
        last_seen: Unix time of the last answer that had it.
        answered: Unix time of the last answer; None when there was none.
        error: why there is no newer one; empty when the last question was answered.
    """

    row: QueueRow | None = None
    last_seen: float | None = None
    answered: float | None = None
    error: str = ""
    account: AccountRow | None = None
    accounting: Accounting = "not asked"


def needs_accounting(seen: Seen, sign_at: float, now: float) -> bool:
    """Whether the accounting has to be asked: the queue has forgotten a job whose folder says nothing final."""
    return not seen.error and seen.row is None and now - max(seen.last_seen or 0.0, sign_at) > GRACE_S


def standing(status: JobStatus, seen: Seen, sign_at: float, now: float) -> JobStatus:
    """How a job stands whose runner does not live.

    Args:
        status: the folder's last word; not final.
        sign_at: when the folder gave its last sign (submission, heartbeat), Unix time.

    Returns:
        The status with what Slurm says; final only when the folder will not speak any more.
    """
    row = seen.row
    if row is not None and row.state.kind == "waiting":
        waits = _with(status, "queued", waiting_words(row, status))
        return msgspec.structs.replace(waits, pending=row.reason, expected=row.start)
    if row is not None and row.state.kind in ("running", "unknown"):
        state: JobState = "running" if row.state.kind == "running" else status.state
        return _with(status, state, silent_words(row))
    if row is not None:
        # A job that never had a node has no runner that could still speak.
        if not row.nodes or now - max(sign_at, row.end or 0.0) > GRACE_S:
            return verdict(status, row.state, row.exit)
        note = tr("Slurm: {meaning}; its last word may still come", meaning=row.state.meaning)
        return _with(status, status.state, note)
    if seen.error or seen.answered is None:
        return _with(status, status.state, no_answer_words(seen.error, seen.answered, now - sign_at, now))
    if now - max(seen.last_seen or 0.0, sign_at) <= GRACE_S:
        return _with(status, status.state, tr("is not in Slurm's queue; its last word may still come"))
    return _forgotten(status, seen, now - sign_at)


def _forgotten(status: JobStatus, seen: Seen, age_s: float) -> JobStatus:
    if seen.account is not None and seen.account.state.kind != "ended":
        note = tr("Slurm's accounting: {meaning}", meaning=seen.account.state.meaning)
        return _with(status, status.state, note)
    if seen.account is not None:
        return verdict(status, seen.account.state, seen.account.exit, seen.account.by)
    if seen.accounting in ("unreachable", "not asked"):
        note = tr(
            "left Slurm's queue; the accounting cannot be reached now; this is how it stood {age} ago",
            age=format_duration(age_s),
        )
        return _with(status, status.state, note)
    if seen.accounting == "off":
        text = tr(
            "It left Slurm's queue without a last word, and the accounting keeps none: whether it ended well is not known."
        )
    else:
        text = tr(
            "It left Slurm's queue without a last word, and the accounting does not know it: "
            "whether it ended well is not known."
        )
    return _final(status, "interrupted", Cause("result unknown", text, advice=resume_words(status.name)))


def verdict(status: JobStatus, state: SlurmState, ended: tuple[int, int] | None, by: str = "") -> JobStatus:
    """The end of a job by Slurm's word alone."""
    said, again = end_words(state, ended), resume_words(status.name)
    if state.well:
        text = tr("{said} Its runner left no last word, so the result is not known.", said=said)
        return _final(status, "interrupted", Cause("result unknown", text, advice=again))
    if state.name == "CANCELLED":
        text = (
            tr("Slurm: the job was cancelled by user {user}.", user=by) if by else tr("Slurm: the job was cancelled.")
        )
        return _final(status, "stopped", Cause("cancelled", text, advice=again))
    if state.name == "OUT_OF_MEMORY":
        advice = tr(
            "Raise `memory` in the profile, or use fewer workers; then `fsgr-tui resume {name}`.", name=status.name
        )
        return _final(status, "failed", Cause("out of memory", said, advice=advice))
    if state.name == "TIMEOUT":
        advice = tr("{again} A longer `time`, or a larger `signal_s`, lets it end its batch before.", again=again)
        return _final(status, "interrupted", Cause("time limit", said, advice=advice))
    if state.may_return:
        return _final(status, "interrupted", Cause("node", tr("{said} It was not put back.", said=said), advice=again))
    advice = tr("Slurm's own log lies in {folder} (slurm-*.out).", folder=status.folder)
    return _final(status, "failed", Cause("slurm", said, advice=advice))


def _final(status: JobStatus, state: JobState, cause: Cause) -> JobStatus:
    return msgspec.structs.replace(status, state=state, cause=status.cause or cause, note="", life="", waiting="")


def _with(status: JobStatus, state: JobState, note: str) -> JobStatus:
    if status.attempt > 1:
        note = tr("attempt {attempt}: {note}", attempt=status.attempt, note=note)
    open_again = msgspec.structs.replace(status, exit_code=None, ended=None, cause=None) if state in OPEN else status
    return msgspec.structs.replace(open_again, state=state, note=note)
