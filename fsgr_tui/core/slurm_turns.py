"""What follows when a job's turn in Slurm has ended: its end, another turn, or giving it up since it gets no further."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from fsgr_tui.core.job import Cause, JobStatus
from fsgr_tui.core.language import tr


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


STALLED_LIMITS = 2
"""Turns up to their time limit that came no further than those before: the limit is too short for anything."""

STALLED_TURNS = 10
"""The same for turns that ended in whatever way (preempted, a lost node), or whose progress nothing tells."""


def reached(status: JobStatus) -> int | None:
    """How far an attempt has come, by what it leaves behind for the next one; None where nothing tells.

    Steps that were done since the last checkpoint do not count: a job that is killed before every checkpoint does some
    each time, and gets nowhere.
    """
    if status.kept is not None:
        return status.kept
    if status.kind in ("extract", "merge", "convert"):
        return status.progress.step if status.progress.unit in ("images", "rows") else 0
    # A foreign program that keeps something begins the next time with a later epoch.
    return status.progress.epoch


def fruitless(marks: Sequence[int | None]) -> int:
    """How many of the last turns came no further than those before them.

    Args:
        marks: what each turn had reached, in order.
    """
    count, best = 0, 0
    for mark in marks:
        count = 0 if mark is not None and mark > best else count + 1
        best = max(best, mark or 0)
    return count


def stalled(status: JobStatus, marks: Sequence[int | None], most: int) -> Cause | None:
    """Why a job is not put back, or not begun, once more: its last turns came no further than those before.

    Args:
        status: of the job, for its name.
        marks: what each of its turns in Slurm had reached, in order.
        most: how many fruitless turns are too many.
    """
    turns = fruitless(marks)
    if turns < most:
        return None
    best = max((mark for mark in marks if mark is not None), default=None)
    if best is None:
        text = tr("{turns} turns in a row ended early, and nothing tells that they came any further.", turns=turns)
    else:
        text = tr("{turns} turns in a row ended early and got no further than {mark:,}.", turns=turns, mark=best)
    advice = tr(
        "Give the profile a longer `time`, or a partition where it is not interrupted; then `fsgr-tui resume {name}`.",
        name=status.name,
    )
    return Cause("stalled", text, advice=advice)


def ended_stalled(status: JobStatus, cause: Cause) -> JobStatus:
    """The status of a job that is given up."""
    ended = status.ended or time.time()
    return msgspec.structs.replace(status, state="failed", cause=cause, note="", ended=ended)


def after_run(
    status: JobStatus,
    told: Literal["", "limit", "stop"],
    *,
    cancelled: bool,
    marks: Sequence[int | None],
    shard: bool = False,
) -> AfterRun:
    """What follows from how a job ended.

    Args:
        status: the runner's last word.
        told: what Slurm told the job: that its time limit is near, or to stop.
        cancelled: whether a user stopped it through this program.
        marks: what each turn had reached (`reached`), in order, this one included.
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
    if marks[-1] is not None and (cause := stalled(status, marks, STALLED_LIMITS)):
        return AfterRun(code, status=ended_stalled(status, cause))
    return AfterRun(code, requeue=True, status=open_again)
