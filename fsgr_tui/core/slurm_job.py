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
            )
            for shard in range(1, self.shards + 1)
        )


class Member(msgspec.Struct, frozen=True):
    """One runner of a run: its words, its folder below the run folder, and what Slurm calls it (empty for nothing)."""

    words: str
    folder: str
    key: str
    job_name: str


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
        return _with(status, "queued", _waiting_words(row, status))
    if row is not None and row.state.kind in ("running", "unknown"):
        where = f" on {row.nodes}" if row.nodes else ""
        state: JobState = "running" if row.state.kind == "running" else status.state
        return _with(status, state, f"Slurm: {row.state.words}{where}; nothing has been heard from its runner yet")
    if row is not None:
        # A job that never had a node has no runner that could still speak.
        if not row.nodes or now - max(sign_at, row.end or 0.0) > GRACE_S:
            return verdict(status, row.state, row.exit)
        return _with(status, status.state, f"Slurm: {row.state.words}; its last word may still come")
    if seen.error or seen.answered is None:
        age = (
            f"; this is how it stood {format_duration(max(0.0, now - sign_at))} ago"
            if seen.answered is None
            else (f"; it last answered {format_duration(max(0.0, now - seen.answered))} ago")
        )
        return _with(status, status.state, f"Slurm does not answer ({seen.error or 'not asked yet'}){age}")
    if now - max(seen.last_seen or 0.0, sign_at) <= GRACE_S:
        return _with(status, status.state, "is not in Slurm's queue; its last word may still come")
    return _forgotten(status, seen, now - sign_at)


def _forgotten(status: JobStatus, seen: Seen, age_s: float) -> JobStatus:
    if seen.account is not None and seen.account.state.kind != "ended":
        return _with(status, status.state, f"Slurm's accounting: {seen.account.state.words}")
    if seen.account is not None:
        return verdict(status, seen.account.state, seen.account.exit, seen.account.by)
    if seen.accounting in ("unreachable", "not asked"):
        return _with(
            status,
            status.state,
            f"left Slurm's queue; the accounting cannot be reached now; this is how it stood {format_duration(age_s)} ago",
        )
    told = "keeps none" if seen.accounting == "off" else "does not know it"
    text = f"It left Slurm's queue without a last word, and the accounting {told}: whether it ended well is not known."
    return _final(status, "interrupted", Cause("result unknown", text, advice=_resume(status)))


def verdict(status: JobStatus, state: SlurmState, ended: tuple[int, int] | None, by: str = "") -> JobStatus:
    """The end of a job by Slurm's word alone."""
    code = exit_words(ended)
    told = f" ({code})" if code else ""
    said = f"Slurm: {state.name}, the job {state.words}{told}."
    if state.well:
        text = f"{said} Its runner left no last word, so the result is not known."
        return _final(status, "interrupted", Cause("result unknown", text, advice=_resume(status)))
    if state.name == "CANCELLED":
        who = f" by user {by}" if by else ""
        return _final(
            status, "stopped", Cause("cancelled", f"Slurm: the job was cancelled{who}.", advice=_resume(status))
        )
    if state.name == "OUT_OF_MEMORY":
        advice = f"Raise `memory` in the profile, or use fewer workers; then `fsgr-tui resume {status.name}`."
        return _final(status, "failed", Cause("out of memory", said, advice=advice))
    if state.name == "TIMEOUT":
        advice = f"{_resume(status)} A longer `time`, or a larger `signal_s`, lets it end its batch before."
        return _final(status, "interrupted", Cause("time limit", said, advice=advice))
    if state.may_return:
        return _final(status, "interrupted", Cause("node", f"{said} It was not put back.", advice=_resume(status)))
    advice = f"Slurm's own log lies in {status.folder} (slurm-*.out)."
    return _final(status, "failed", Cause("slurm", said, advice=advice))


def _resume(status: JobStatus) -> str:
    return f"What was finished is kept; `fsgr-tui resume {status.name}` goes on."


def _final(status: JobStatus, state: JobState, cause: Cause) -> JobStatus:
    return msgspec.structs.replace(status, state=state, cause=status.cause or cause, note="", life="", waiting="")


def _with(status: JobStatus, state: JobState, note: str) -> JobStatus:
    before = f"attempt {status.attempt}: " if status.attempt > 1 else ""
    open_again = msgspec.structs.replace(status, exit_code=None, ended=None, cause=None) if state in OPEN else status
    return msgspec.structs.replace(open_again, state=state, note=before + note)


def _waiting_words(row: QueueRow, status: JobStatus) -> str:
    reason = f" ({reason_words(row.reason)})" if row.reason else ""
    start = f", expected to start {_clock(row.start)}" if row.start is not None else ""
    kept = "; what was finished is kept" if status.started else ""
    return f"Slurm: {row.state.words}{reason}{start}{kept}"


REASONS = {
    "Priority": "others come first",
    "Resources": "nothing is free",
    "Dependency": "another job has to end well first",
    "DependencyNeverSatisfied": "the job it needs has failed, so it will never start",
    "BeginTime": "its time has not come; a job that was put back waits two minutes",
    "QOSMaxJobsPerUserLimit": "you have as many jobs as your QoS allows",
    "AssocGrpGRES": "your group has all its GPUs in use",
    "AssocMaxJobsLimit": "you have as many jobs as your account allows",
    "JobArrayTaskLimit": "as many tasks of the array run as may at once",
    "PartitionTimeLimit": "it asks for more time than the partition gives",
    "ReqNodeNotAvail": "a node that it asks for is not available",
    "JobHeldUser": "held by its user; `scontrol release` lets it go",
    "JobHeldAdmin": "held by an administrator",
    "InvalidAccount": "the account is not valid",
    "InvalidQOS": "the QoS is not valid",
}


def reason_words(reason: str) -> str:
    """Why a job waits: Slurm's word, and what it means where that is not plain."""
    meaning = REASONS.get(reason.partition(",")[0])
    return f"{reason}: {meaning}" if meaning else reason


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
