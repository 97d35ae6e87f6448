"""How a job stands, in a person's words: what every list of jobs shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from fsgr_tui.core.event_words import phase_words, unit_words
from fsgr_tui.core.job import JOBS_SCHEMA, JobProgress, JobStatus
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import format_duration

_STATES = (
    mark("queued"), mark("running"), mark("stopping"), mark("done"), mark("failed"), mark("stopped"),
    mark("interrupted"), mark("orphaned"),
)  # fmt: skip


class JobRow(NamedTuple):
    """One job of a list, every part in the user's language; empty where there is nothing to tell.

    The name and `told` may hold user text (a bar's label, a log line): it has to go through `printable`.

    Attributes:
        state: a word; an orphan's, too.
        share: how much of its phase is done, such as `43%`.
        left: time to its end, as `12 min`; only while it runs.
        elapsed: how long it has run, or ran.
        age: since it ended, or how long it has waited.
        rate: such as `87 images/s`; only while it runs.
        told: what it does, what it waits for, or why it ended badly.
    """

    name: str
    state: str
    share: str
    left: str
    elapsed: str
    age: str
    rate: str
    told: str


def row(status: JobStatus, now: float) -> JobRow:
    """A job of a list.

    Args:
        now: Unix time in seconds.
    """
    progress, live = status.progress, not status.ended_for_good
    return JobRow(
        name=status.name,
        state=state_words(status),
        share="" if progress.share is None else f"{progress.share:.0%}",
        left=_duration(progress.left_s) if live else "",
        elapsed=_duration(status.elapsed_s(now)),
        age=_duration(status.age_s(now)),
        rate=progress.rate_words if live else "",
        told=told(status),
    )


def document(status: JobStatus, now: float) -> dict[str, Any]:
    """The status as programs get it: its fields, and the seconds that depend on the time of asking.

    Args:
        now: Unix time in seconds.
    """
    return {**msgspec.to_builtins(status), "elapsed_s": status.elapsed_s(now), "age_s": status.age_s(now)}


def documents(statuses: Iterable[JobStatus], now: float) -> dict[str, Any]:
    """Several jobs as one document.

    Args:
        now: Unix time in seconds.
    """
    return {"schema": JOBS_SCHEMA, "jobs": [document(status, now) for status in statuses]}


def state_words(status: JobStatus) -> str:
    """How it stands, in a word; a job that runs without its runner is told as an orphan."""
    return tr("orphaned") if status.life == "orphaned" else tr(status.state)


def told(status: JobStatus) -> str:
    """What there is to say about it, in a line."""
    if status.ended_for_good:
        if status.cause:
            return status.cause.text
        return tr("exit code {code}", code=status.exit_code) if status.exit_code else ""
    return "  ".join(part for part in (status.note, doing_words(status.progress)) if part)


def doing_words(progress: JobProgress) -> str:
    """The phase and its counts, as `extract  1,204/5,000 images`; empty before the first."""
    return "  ".join(part for part in (phase_words(progress.phase), count_words(progress)) if part)


def count_words(progress: JobProgress) -> str:
    """How far it is, as `1,204/5,000 images`; empty before anything was counted."""
    unit = unit_words(progress.unit)
    if progress.total:
        return tr("{step:,}/{total:,} {unit}", step=progress.step, total=progress.total, unit=unit).rstrip()
    return tr("{step:,} {unit}", step=progress.step, unit=unit).rstrip() if progress.step else ""


def left_words(progress: JobProgress) -> str:
    """The time to the end of the phase, as `12 min left`; empty while it is not known, or in its last second."""
    if progress.eta_s is None or progress.eta_s < 1:
        return ""
    return tr("{time} left", time=format_duration(progress.eta_s))


def progress_words(progress: JobProgress) -> str:
    """Progress in one line: phase, count, share, rate, time left, bottleneck."""
    counted = count_words(progress)
    if progress.total:
        counted += f" ({progress.step / progress.total:.0%})"
    parts = (phase_words(progress.phase), counted, progress.rate_words, left_words(progress), progress.bottleneck)
    return "  ".join(part for part in parts if part)


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else format_duration(seconds)
