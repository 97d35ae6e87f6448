"""The jobs that wait, in the order in which they will begin. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from fsgr_tui.core.job import JobStatus, Waiting
from fsgr_tui.core.language import tr

_RANKS: dict[Waiting, int] = {"gpu": 0, "queue": 1, "jobs": 2, "": 3}
"""What waits for a GPU has had its turn already; what waits for other jobs will still have to wait for the rest."""


class Waits(msgspec.Struct, frozen=True):
    """A job that waits.

    Attributes:
        needs: names of the jobs that have to end well first.
        order: the smaller, the sooner, among those that wait for the same.
    """

    status: JobStatus
    needs: tuple[str, ...] = ()
    order: tuple[float, str] = (0.0, "")


class Queued(msgspec.Struct, frozen=True):
    """A job in the queue.

    Attributes:
        place: counted from 1.
        waiting: other jobs, its turn, or a GPU; empty for what Slurm decides.
        behind: names of the jobs that it waits for, or that come before it for the same.
        told: the same as a sentence.
        queued: Unix time at which it was asked for; None where that is not known.
    """

    name: str
    place: int
    waiting: Waiting
    behind: tuple[str, ...]
    told: str
    kind: str
    backend: str
    queued: float | None


def in_order(waits: Sequence[Waits], open_jobs: Mapping[str, JobStatus], holder: str = "") -> tuple[Queued, ...]:
    """The queue.

    Args:
        open_jobs: all jobs that have not ended, by name; needs that are not among them are met, or will never be.
        holder: the job whose turn it is.
    """
    depths: dict[str, int] = {}
    by_name = {each.status.name: each for each in waits}

    def depth(each: Waits) -> int:
        name = each.status.name
        if name not in depths:
            depths[name] = 0
            depths[name] = max((depth(by_name[need]) + 1 for need in each.needs if need in by_name), default=0)
        return depths[name]

    def key(each: Waits) -> tuple[bool, int, int, bool, tuple[float, str]]:
        status = each.status
        return status.backend != "local", _RANKS[status.waiting], depth(each), status.name != holder, each.order

    found: list[Queued] = []
    for place, each in enumerate(sorted(waits, key=key), start=1):
        status = each.status
        before = [one.name for one in found if one.waiting == status.waiting and one.backend == status.backend]
        behind = _behind(each, open_jobs, before, holder)
        found.append(
            Queued(
                status.name, place, status.waiting, behind, _told(status, behind), status.kind, status.backend, status.queued
            )
        )  # fmt: skip
    return tuple(found)


def _behind(each: Waits, open_jobs: Mapping[str, JobStatus], before: Sequence[str], holder: str) -> tuple[str, ...]:
    match each.status.waiting:
        case "jobs":
            return tuple(need for need in each.needs if need in open_jobs)
        case "queue" if each.status.name != holder:
            return tuple(dict.fromkeys((*((holder,) if holder else ()), *before)))
        case "gpu":
            return tuple(before)
    return ()


def _told(status: JobStatus, behind: Sequence[str]) -> str:
    if status.waiting == "jobs" and behind:
        return tr("waits for {jobs}", jobs=", ".join(behind))
    if status.waiting == "queue" and behind:
        return tr("waits for its turn, behind {jobs}", jobs=", ".join(behind))
    if status.waiting in ("jobs", "queue"):
        # It has its turn; its runner has not written that down yet.
        return tr("begins in a moment")
    # Why no GPU is free only its runner knows, and why Slurm lets it wait only Slurm.
    return status.note or (tr("waits for a GPU") if status.waiting == "gpu" else tr("begins in a moment"))
