"""A run of several jobs in Slurm, an array with what follows it, shown as one job."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fsgr_tui.core.job import Cause, JobPart, JobProgress, JobState, JobStatus
from fsgr_tui.core.language import joined, mark, tr
from fsgr_tui.core.slurm_job import Member, Part

SHARD = "shard"
BAD: frozenset[JobState] = frozenset({"failed", "stopped", "interrupted"})


def combined(run: JobStatus, parts: Sequence[tuple[Part, Sequence[tuple[Member, JobStatus]]]]) -> JobStatus:
    """An array with what follows it, as one job.

    Args:
        run: the run's own record.
        parts: each with its members' statuses, in the order in which they begin.
    """
    everyone = [(member, status) for _, members in parts for member, status in members]
    statuses = [status for _, status in everyone]
    state = _state_of(statuses)
    ended = state in ("done", "failed", "stopped", "interrupted")
    began = [status.started for status in statuses if status.started is not None]
    ends = [status.ended for status in statuses if status.ended is not None]
    bad = next(((member, status) for member, status in everyone if _is_bad(status) and status.cause), None)
    codes = [status.exit_code for status in statuses if status.exit_code is not None]
    array = [status for part, members in parts if part.shards for _, status in members]
    now = next((group for group in parts if not all(status.state == "done" for _, status in group[1])), parts[-1])
    return msgspec.structs.replace(
        run,
        state=state,
        exit_code=max(codes, default=None) if ended else None,
        started=min(began, default=None),
        ended=max(ends, default=None) if ended else None,
        progress=_progress(now[0], [status for _, status in now[1]]),
        refused=sum(status.refused for status in statuses),
        cause=_told(*bad) if bad and ended else None,
        note="" if ended else _note(now[0], now[1]),
        result=_result(run, array) if state == "done" else {},
        heartbeat=max((status.heartbeat for status in statuses if status.heartbeat), default=None),
        attempt=max(status.attempt for status in statuses),
        pending="" if ended else next((status.pending for status in statuses if status.pending), ""),
        expected=min((status.expected for status in statuses if status.expected is not None), default=None),
        parts=tuple(_part(member, status) for member, status in everyone),
    )


def _part(member: Member, status: JobStatus) -> JobPart:
    return JobPart(
        member.words, status.state, status.progress.step, status.progress.total, status.host, status.note,
        status.attempt, status.exit_code, SHARD if member.number else member.words, member.number,
        status.pending if status.state == "queued" else "",
    )  # fmt: skip


def _is_bad(status: JobStatus) -> bool:
    return status.state in BAD


def _state_of(statuses: Sequence[JobStatus]) -> JobState:
    states = {status.state for status in statuses}
    if states == {"done"}:
        return "done"
    if "stopping" in states:
        return "stopping"
    if "running" in states:
        return "running"
    if "queued" in states:
        # Between two of its jobs a run has begun, although nothing of it runs.
        return "running" if any(status.started for status in statuses) else "queued"
    order: tuple[JobState, ...] = ("failed", "interrupted", "stopped")
    return next(state for state in order if state in states)


def _progress(part: Part, statuses: Sequence[JobStatus]) -> JobProgress:
    known = [status.progress for status in statuses if status.progress.phase]
    if not part.shards:
        return known[0] if known else JobProgress()
    counted = [progress for progress in known if progress.unit == "images"]
    rates = [status.progress.rate for status in statuses if status.state == "running" and status.progress.rate]
    totals = [progress.total for progress in counted if progress.total is not None]
    left = [status.progress.eta_s for status in statuses if status.state == "running" and status.progress.eta_s]
    whole = len(totals) == len(statuses)
    return JobProgress(
        phase=part.name,
        step=sum(progress.step for progress in counted),
        # Shards that wait have not counted their images yet.
        total=sum(totals) if whole else None,
        rate=sum(rates) if rates else None,
        unit="images" if counted else "",
        eta_s=max(left, default=None) if whole else None,
    )


def _note(part: Part, members: Sequence[tuple[Member, JobStatus]]) -> str:
    if not part.shards:
        member, status = members[0]
        return f"{member.told}: {status.note or tr(status.state)}"
    why = next((status.note for _, status in members if status.state == "queued" and status.note), "")
    shards = [_part(member, status) for member, status in members]
    # The whole reason of the first one that waits follows.
    note = tr("shards: {how}", how=shards_words(shards if not why else [_without_reason(each) for each in shards]))
    bad = [member.told for member, status in members if _is_bad(status)]
    if bad:
        note = tr("{note}: {shards}", note=note, shards=tr(", ").join(bad[:3]))
    return tr("{note}. {why}", note=note, why=why) if why else note


def _without_reason(shard: JobPart) -> JobPart:
    return msgspec.structs.replace(shard, why="")


def shards_words(shards: Sequence[JobPart]) -> str:
    """How the shards of an array stand together, such as `3 of 8 done, 2 running, 1 waiting (Priority)`."""
    running = sum(1 for part in shards if part.state in ("running", "stopping"))
    waiting = [part for part in shards if part.state == "queued"]
    bad = sum(1 for part in shards if part.state in BAD)
    done = len(shards) - running - len(waiting) - bad
    said = [tr("{done} of {shards} done", done=done, shards=len(shards))]
    if running:
        said.append(tr("{number} running", number=running))
    if waiting:
        said.append(tr("{number} {waiting}", number=len(waiting), waiting=_waiting_words(waiting)))
    if bad:
        said.append(tr("{number} ended badly", number=bad))
    return joined(*said)


def _waiting_words(waiting: Sequence[JobPart]) -> str:
    reasons = ", ".join(sorted({part.why.partition(",")[0] for part in waiting if part.why}))
    return tr("waiting ({why})", why=reasons) if reasons else tr("waiting")


_STEPS = frozenset({mark("merge"), mark("check")})


def part_rows(parts: Sequence[JobPart]) -> tuple[tuple[str, str], ...]:
    """A job's runners as rows of its details, as name and value: one for all shards, one for every step behind them."""
    shards = [part for part in parts if part.kind == SHARD]
    rows = [(tr("shards"), shards_words(shards))] if shards else []
    return (*rows, *((tr(part.kind), _step_words(part)) for part in parts if part.kind in _STEPS))


def _step_words(part: JobPart) -> str:
    return _waiting_words([part]) if part.state == "queued" else tr(part.state)


def _told(member: Member, status: JobStatus) -> Cause:
    assert status.cause is not None
    return msgspec.structs.replace(status.cause, text=f"{member.told}: {status.cause.text}")


def _result(run: JobStatus, array: Sequence[JobStatus]) -> dict[str, object]:
    """What the shards' results come to together."""
    images = sum(_count(status, "images") for status in array)
    began = min((status.started for status in array if status.started is not None), default=None)
    ended = max((status.ended for status in array if status.ended is not None), default=None)
    seconds = ended - began if began is not None and ended is not None else 0.0
    return {
        **run.result,
        "images": images,
        "refused": sum(_count(status, "refused") for status in array),
        "seconds": round(seconds, 3),
        "images_per_s": round(images / seconds, 2) if seconds > 0 else None,
        "shards": len(array),
    }


def _count(status: JobStatus, name: str) -> int:
    value = status.result.get(name)
    return value if isinstance(value, int) else 0
