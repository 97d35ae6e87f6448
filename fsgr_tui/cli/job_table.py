"""The table of jobs: a line a job that never wraps; what a narrow terminal has no room for is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

from fsgr_tui.cli import text
from fsgr_tui.core.job_words import JobRow
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import printable

INDENT, GAP = 2, 2
LEAST_NAME, LEAST_TOLD = 12, 16


class _Column(NamedTuple):
    """A column.

    Attributes:
        field: of `JobRow`.
        rank: the lower, the longer it stays when room gets short.
    """

    field: str
    head: str
    rank: int


_COLUMNS = (
    _Column("name", mark("job"), 0),
    _Column("state", mark("state"), 0),
    _Column("share", mark("done"), 1),
    _Column("left", mark("left"), 2),
    _Column("elapsed", mark("elapsed"), 4),
    _Column("age", mark("age"), 5),
    _Column("told", mark("how it stands"), 3),
)


def lines(rows: Sequence[JobRow], width: int | None) -> list[str]:
    """The table, its heading first.

    Args:
        width: of the terminal, in cells; None shows everything whole, as a pipe wants it.
    """
    cells = {column: [printable(getattr(row, column.field)) for row in rows] for column in _COLUMNS}
    used = [column for column in _COLUMNS if column.rank == 0 or any(cells[column])]
    widths = {column: max(map(cell_len, (tr(column.head), *cells[column]))) for column in used}
    if width is not None:
        widths = _fitting(widths, width - INDENT)
    heads = [tr(column.head) for column in widths]
    shown = [heads, *([cells[column][number] for column in widths] for number in range(len(rows)))]
    return [_line(each, list(widths.values())) for each in shown]


def _fitting(widths: dict[_Column, int], room: int) -> dict[_Column, int]:
    """The columns that fit, the most important ones first; the last one and names are shortened before others go."""
    kept: dict[_Column, int] = {}
    for column in sorted(widths, key=lambda each: each.rank):
        left = room - sum(kept.values()) - GAP * len(kept)
        if column.field == "told":
            if left >= min(widths[column], LEAST_TOLD):
                kept[column] = min(widths[column], left)
        elif column.rank == 0 or left >= widths[column]:
            kept[column] = widths[column]
        elif column.rank <= 2 and (name := _COLUMNS[0]) in kept and left + kept[name] - LEAST_NAME >= widths[column]:
            # A name that is cut leads to its job still: the beginning of one is enough.
            kept[name] += left - widths[column]
            kept[column] = widths[column]
    over = sum(kept.values()) + GAP * (len(kept) - 1) - room
    if over > 0:
        kept[_COLUMNS[0]] = max(LEAST_NAME, kept[_COLUMNS[0]] - over)
    return {column: kept[column] for column in _COLUMNS if column in kept}


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    fitted = [text.pad(text.cut(cell, width), width) for cell, width in zip(cells, widths, strict=True)]
    return (" " * INDENT + (" " * GAP).join(fitted)).rstrip()
