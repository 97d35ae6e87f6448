"""How a job in Slurm stands, in a person's words. Pure."""

from __future__ import annotations

import time

from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.slurm import QueueRow, SlurmState, exit_words
from fsgr_tui.core.units import format_duration


def silent_words(row: QueueRow) -> str:
    """Of a job that runs by Slurm's word alone."""
    if row.nodes:
        return tr(
            "Slurm: {meaning} on {nodes}; nothing has been heard from its runner yet",
            meaning=row.state.meaning,
            nodes=row.nodes,
        )
    return tr("Slurm: {meaning}; nothing has been heard from its runner yet", meaning=row.state.meaning)


def no_answer_words(error: str, answered: float | None, age_s: float, now: float) -> str:
    """While Slurm does not answer: why, and how old what is known is."""
    why = error or tr("not asked yet")
    if answered is None:
        return tr(
            "Slurm does not answer ({why}); this is how it stood {age} ago",
            why=why,
            age=format_duration(max(0.0, age_s)),
        )
    age = format_duration(max(0.0, now - answered))
    return tr("Slurm does not answer ({why}); it last answered {age} ago", why=why, age=age)


def end_words(state: SlurmState, ended: tuple[int, int] | None) -> str:
    """An end as Slurm tells it."""
    if code := exit_words(ended):
        return tr("Slurm: {state}, the job {meaning} ({code}).", state=state.name, meaning=state.meaning, code=code)
    return tr("Slurm: {state}, the job {meaning}.", state=state.name, meaning=state.meaning)


def resume_words(name: str) -> str:
    """How to go on with a job."""
    return tr("What was finished is kept; `fsgr-tui resume {name}` goes on.", name=name)


def waiting_words(row: QueueRow, status: JobStatus) -> str:
    """Of a job that waits: why, and when it is expected to start."""
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
