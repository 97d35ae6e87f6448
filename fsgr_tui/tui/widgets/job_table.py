"""The table of jobs: a job in its columns, and the title that says what keeps the table from being whole."""

from __future__ import annotations

from rich.text import Text

from fsgr_tui.core import job_words
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.units import printable
from fsgr_tui.tui.format import DIM, STATE_STYLES, WARN
from fsgr_tui.tui.seen import JobsSeen
from fsgr_tui.tui.widgets.rows import Column, Row

KINDS = frozenset({
    mark("extract"), mark("check"), mark("train"), mark("convert"), mark("bench"), mark("text-embed"), mark("command"),
})  # fmt: skip

COLUMNS = (
    Column(mark("job"), 40, least=12),
    Column(mark("kind"), 10, from_width=130),
    Column(mark("state"), 12),
    Column(mark("done"), 6),
    Column(mark("left"), 8),
    Column(mark("elapsed"), 9),
    Column(mark("age"), 8, from_width=72),
    Column(mark("rate"), 16, from_width=88),
    Column(mark("how it stands"), from_width=104),
)


def title(seen: JobsSeen) -> Text:
    """The table's title, with what keeps it from being whole."""
    words = Text(" " + tr("Jobs") + " ")
    if seen.unreadable:
        count = len(seen.unreadable)
        told = trn("{count} run folder cannot be read", "{count} run folders cannot be read", count)
        words.append(f"· {told} ", WARN)
    if seen.fault:
        told = tr("not up to date: {fault}", fault=printable(seen.fault))
        words.append(f"· {told} ", WARN)
    return words


def job_row(status: JobStatus, now: float) -> Row:
    """A job in the table.

    Args:
        now: Unix time in seconds.
    """
    told = job_words.row(status, now)
    live = not status.ended_for_good
    quiet = "" if live else DIM
    style = WARN if status.life == "orphaned" else STATE_STYLES[status.state]
    return Row(
        status.name,
        (
            (told.name, quiet),
            (tr(status.kind) if status.kind in KINDS else status.kind, DIM),
            (f"{told.state} !" if live and status.alarms else told.state, style),
            (told.share, quiet),
            (told.left, ""),
            (told.elapsed, quiet),
            (told.age, DIM),
            (told.rate, quiet),
            (told.told or job_words.doing_words(status.progress), quiet),
        ),
    )
