"""A job in Slurm: how it was submitted, and how it stands by its run folder's word and, after that, by Slurm's.

The truth is on disk: the runner inside the allocation writes start, heartbeat and end. Slurm is asked about jobs whose
folder says nothing final, and its word is taken only after a time in which the folder may still speak.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from fsgr_tui.core.job import Cause, JobState, JobStatus
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.slurm import AccountRow, QueueRow, SlurmState, exit_words, key_of
from fsgr_tui.core.slurm_script import Profile
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
    """

    uid: int
    profile_name: str
    profile: Profile
    parts: tuple[Part, ...]
    submitted: float
    cluster: str = ""
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
        waits = _with(status, "queued", _waiting_words(row, status))
        return msgspec.structs.replace(waits, pending=row.reason, expected=row.start)
    if row is not None and row.state.kind in ("running", "unknown"):
        state: JobState = "running" if row.state.kind == "running" else status.state
        return _with(status, state, _silent_words(row))
    if row is not None:
        # A job that never had a node has no runner that could still speak.
        if not row.nodes or now - max(sign_at, row.end or 0.0) > GRACE_S:
            return verdict(status, row.state, row.exit)
        note = tr("Slurm: {meaning}; its last word may still come", meaning=row.state.meaning)
        return _with(status, status.state, note)
    if seen.error or seen.answered is None:
        return _with(status, status.state, _no_answer_words(seen, now - sign_at, now))
    if now - max(seen.last_seen or 0.0, sign_at) <= GRACE_S:
        return _with(status, status.state, tr("is not in Slurm's queue; its last word may still come"))
    return _forgotten(status, seen, now - sign_at)


def _silent_words(row: QueueRow) -> str:
    if row.nodes:
        return tr(
            "Slurm: {meaning} on {nodes}; nothing has been heard from its runner yet",
            meaning=row.state.meaning,
            nodes=row.nodes,
        )
    return tr("Slurm: {meaning}; nothing has been heard from its runner yet", meaning=row.state.meaning)


def _no_answer_words(seen: Seen, age_s: float, now: float) -> str:
    why = seen.error or tr("not asked yet")
    if seen.answered is None:
        return tr(
            "Slurm does not answer ({why}); this is how it stood {age} ago",
            why=why,
            age=format_duration(max(0.0, age_s)),
        )
    age = format_duration(max(0.0, now - seen.answered))
    return tr("Slurm does not answer ({why}); it last answered {age} ago", why=why, age=age)


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
    said, again = _end_words(state, ended), resume_words(status.name)
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


def _end_words(state: SlurmState, ended: tuple[int, int] | None) -> str:
    if code := exit_words(ended):
        return tr("Slurm: {state}, the job {meaning} ({code}).", state=state.name, meaning=state.meaning, code=code)
    return tr("Slurm: {state}, the job {meaning}.", state=state.name, meaning=state.meaning)


def resume_words(name: str) -> str:
    """How to go on with a job."""
    return tr("What was finished is kept; `fsgr-tui resume {name}` goes on.", name=name)


def _final(status: JobStatus, state: JobState, cause: Cause) -> JobStatus:
    return msgspec.structs.replace(status, state=state, cause=status.cause or cause, note="", life="", waiting="")


def _with(status: JobStatus, state: JobState, note: str) -> JobStatus:
    if status.attempt > 1:
        note = tr("attempt {attempt}: {note}", attempt=status.attempt, note=note)
    open_again = msgspec.structs.replace(status, exit_code=None, ended=None, cause=None) if state in OPEN else status
    return msgspec.structs.replace(open_again, state=state, note=note)


def _waiting_words(row: QueueRow, status: JobStatus) -> str:
    meaning = row.state.meaning
    said = (
        tr("Slurm: {meaning} ({reason})", meaning=meaning, reason=reason_words(row.reason))
        if row.reason
        else tr("Slurm: {meaning}", meaning=meaning)
    )
    if row.start is not None:
        said = tr("{said}, expected to start {time}", said=said, time=_clock(row.start))
    return tr("{said}; what was finished is kept", said=said) if status.started else said


REASONS = {
    "Priority": mark("others come first"),
    "Resources": mark("nothing is free"),
    "Dependency": mark("another job has to end well first"),
    "DependencyNeverSatisfied": mark("the job it needs has failed, so it will never start"),
    "BeginTime": mark("its time has not come; a job that was put back waits two minutes"),
    "QOSMaxJobsPerUserLimit": mark("you have as many jobs as your QoS allows"),
    "AssocGrpGRES": mark("your group has all its GPUs in use"),
    "AssocMaxJobsLimit": mark("you have as many jobs as your account allows"),
    "JobArrayTaskLimit": mark("as many tasks of the array run as may at once"),
    "PartitionTimeLimit": mark("it asks for more time than the partition gives"),
    "ReqNodeNotAvail": mark("a node that it asks for is not available"),
    "JobHeldUser": mark("held by its user; `scontrol release` lets it go"),
    "JobHeldAdmin": mark("held by an administrator"),
    "InvalidAccount": mark("the account is not valid"),
    "InvalidQOS": mark("the QoS is not valid"),
}


def reason_words(reason: str) -> str:
    """Why a job waits: Slurm's word, and what it means where that is not plain."""
    meaning = REASONS.get(reason.partition(",")[0])
    return tr("{reason}: {meaning}", reason=reason, meaning=tr(meaning)) if meaning else reason


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


class AfterRun(msgspec.Struct, frozen=True):
    """What happens to a job when its runner has ended inside the allocation.

    Attributes:
        exit_code: of the batch job.
        requeue: whether it is put back into the queue by us.
        status: what is written into the folder; None for what the runner wrote.
    """

    exit_code: int
    requeue: bool = False
    status: JobStatus | None = None


STALLED_RUNS = 3


def after_run(
    status: JobStatus, told: Literal["", "limit", "stop"], *, cancelled: bool, steps: Sequence[int], shard: bool = False
) -> AfterRun:
    """What follows from how a job ended.

    Args:
        status: the runner's last word.
        told: what Slurm told the job: that its time limit is near, or to stop.
        cancelled: whether a user stopped it through this program.
        steps: images that were done at the end of each attempt, in order, this one included; empty for other work.
        shard: whether it is a task of an array.
    """
    if status.state == "done":
        # Refused images (exit code 1) of a shard are part of the whole's result; the merge shall begin all the same.
        return AfterRun(0 if shard else status.exit_code or 0)
    code = status.exit_code or 1
    if cancelled or not told:
        return AfterRun(code)
    open_again = msgspec.structs.replace(
        status, state="queued", exit_code=None, ended=None, cause=None, note="", child_pid=None, child_start=""
    )
    if told == "stop":
        # Slurm preempts, drains or ends it; if it puts the job back, the next attempt goes on.
        return AfterRun(code, status=open_again)
    if len(steps) >= STALLED_RUNS and len(set(steps[-STALLED_RUNS:])) == 1:
        text = f"{STALLED_RUNS} runs in a row reached their time limit and got no further than {steps[-1]:,}."
        cause = Cause(
            "time limit", text, advice=f"Give the profile a longer `time`, then `fsgr-tui resume {status.name}`."
        )
        return AfterRun(code, status=msgspec.structs.replace(status, state="failed", cause=cause, note=""))
    return AfterRun(code, requeue=True, status=open_again)
