"""The table of feature files: a file in its columns, and what there is to say of one without a check."""

from __future__ import annotations

from rich.text import Text

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import format_bytes, format_duration
from fsgr_tui.service.kept_checks import PastCheck
from fsgr_tui.tui.format import BAD, DIM, GOOD, WARN
from fsgr_tui.tui.services import FoundFile
from fsgr_tui.tui.widgets.rows import Column, Row

COLUMNS = (
    Column(mark("check"), 14),
    Column(mark("size"), 9),
    Column(mark("age"), 10),
    Column(mark("file"), keep_end=True),
)


def file_row(file: FoundFile, judged: tuple[str, str], now: float, *, marked: bool) -> Row:
    """A file in the table.

    Args:
        judged: what is known of it, with its style.
        now: Unix time in seconds.
        marked: whether it is the A of a comparison.
    """
    words, style = judged
    age = format_duration(max(1.0, now - file.changed))
    cells = ((f"A {words}" if marked else words, style), (format_bytes(file.bytes), ""), (age, DIM), (file.path, ""))
    return Row(file.path, cells)


def judgement(file: FoundFile, past: PastCheck | None) -> tuple[str, str]:
    """What the last check came to, with its style."""
    if file.unfinished:
        return (tr("unfinished"), WARN)
    if past is None:
        return ("-", DIM)
    if not past.current:
        return (tr("changed"), WARN)
    return (tr("good"), GOOD) if past.good else (tr("BAD"), BAD)


def unchecked_words(file: FoundFile | None, past: PastCheck | None, now: float) -> Text:
    """What there is to say about a file of which no check holds."""
    if file is not None and file.unfinished:
        words = tr("This extraction is not finished: u in Jobs goes on with it, or fsgr-tui extract with --resume.")
        return Text(words, WARN)
    if past is None:
        return Text(tr("c checks the chosen file."), DIM)
    age = format_duration(max(1.0, now - past.at))
    if past.good:
        return Text(tr("It was good {age} ago, and has changed since; c checks it again.", age=age), WARN)
    return Text(tr("It was bad {age} ago, and has changed since; c checks it again.", age=age), WARN)
