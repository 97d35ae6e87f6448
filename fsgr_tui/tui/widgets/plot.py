"""Curves in braille dots: two columns and four rows of them in a cell.

Where there are several, each also carries a letter here and there, so that they are told apart without colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from rich.text import Text

from fsgr_tui.core.language import tr
from fsgr_tui.tui.format import DIM, cut

LABEL_CELLS = 9
LABEL_EVERY = 6
"""Rows between two values on the axis."""

LETTER_EVERY = 12
"""Columns between two letters on a curve."""

LEGEND_GAP = "   "
COLOURS = ("#5fc8bc", "#e5b567", "#7aa6f0", "#f2777a", "#b9e3b9", "#c79bf0")

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of the dot in each row and column of a cell, as Unicode numbers them."""

_BLANK = 0x2800

Points = Sequence[tuple[float, float | None]]
Write = Callable[[float], str]


def four_digits(value: float) -> str:
    """A number as an axis tells it."""
    return f"{value:.4g}"


@dataclass(frozen=True)
class Line:
    """One curve: (x, y) in order of x; a y that was not finite is None and leaves a gap."""

    name: str
    points: Points


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies between the ends, 0..1."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(value) - low) / (high - low) if high > low else 0.5

    def value(self, share: float) -> float:
        """What lies at a share of the way between the ends."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        scaled = low + share * (high - low)
        return 10**scaled if self.log else scaled

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


def plot(
    lines: Sequence[Line],
    width: int,
    height: int,
    *,
    log: bool = False,
    from_zero: bool = False,
    write: Write = four_digits,
) -> Text:
    """The curves over their common axes, in so many cells.

    Args:
        log: a logarithmic axis of values; values that have no logarithm are left out.
        from_zero: the axis of values begins at zero, where it has a zero.
        write: a value in at most eight cells.
    """
    drawn = [[point for point in line.points if not log or point[1] is None or point[1] > 0] for line in lines]
    values = [y for points in drawn for _, y in points if y is not None]
    places = [x for points in drawn for x, y in points if y is not None]
    if not values:
        return Text(tr("no values to draw on a logarithmic axis") if log else tr("no values to draw"), DIM)
    low = min(0.0, *values) if from_zero and not log else min(values)
    across, down = _Axis(min(places), max(places)), _Axis(low, max(values), log)
    columns, rows = max(4, width - LABEL_CELLS), max(2, height - 1)
    cells = _cells([_dots(points, across, down, 2 * columns, 4 * rows) for points in drawn])
    labels = _labels(down, rows, write)
    text = Text(no_wrap=True)
    for row in range(rows):
        text.append(f"{labels.get(row, ''):>{LABEL_CELLS - 1}} ", DIM)
        for column in range(columns):
            text.append(*cells.get((row, column), (" ", "")))
        text.append("\n")
    ends = f"{across.low:,.6g}", f"{across.high:,.6g}"
    text.append(" " * LABEL_CELLS + ends[0] + ends[1].rjust(max(1, columns - len(ends[0]))), DIM)
    return text


def legend(lines: Sequence[Line], width: int = 200, write: Write = four_digits) -> Text:
    """The curves' names with their marks and their last values, in rows of so many cells."""
    text = Text()
    used = 0
    for number, line in enumerate(lines):
        last = next((y for _, y in reversed(line.points) if y is not None), None)
        value = "" if last is None else f" {write(last)}"
        name = cut(line.name, max(8, width - 2 - len(value)))
        part = Text.assemble((f"{_mark(number, len(lines))} ", _colour(number)), name, (value, "bold"))
        if used:
            fits = used + len(LEGEND_GAP) + part.cell_len <= width
            text.append(LEGEND_GAP if fits else "\n")
            used = used + len(LEGEND_GAP) if fits else 0
        text.append_text(part)
        used += part.cell_len
    return text


def _mark(number: int, count: int) -> str:
    return ascii_uppercase[number % len(ascii_uppercase)] if count > 1 else "━"


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _labels(axis: _Axis, rows: int, write: Write) -> dict[int, str]:
    """The values beside some of the rows: the ends, and what lies evenly between them."""
    if axis.high <= axis.low:
        return {0: write(axis.high)}
    parts = max(1, round((rows - 1) / LABEL_EVERY))
    return {round(part * (rows - 1) / parts): write(axis.value(1 - part / parts)) for part in range(parts + 1)}


def _cells(curves: Sequence[Iterator[tuple[int, int]]]) -> dict[tuple[int, int], tuple[str, str]]:
    """What stands in each (row, column), and its colour; a later curve lies over an earlier one."""
    dots: dict[tuple[int, int], int] = {}
    cells: dict[tuple[int, int], tuple[str, str]] = {}
    letters: dict[tuple[int, int], tuple[str, str]] = {}
    for number, curve in enumerate(curves):
        by_column: dict[int, int] = {}
        for x, y in curve:
            cell = (y // 4, x // 2)
            dots[cell] = dots.get(cell, 0) | _DOTS[y % 4][x % 2]
            cells[cell] = (chr(_BLANK | dots[cell]), _colour(number))
            by_column[cell[1]] = cell[0]
        if len(curves) > 1 and by_column:
            # Not in the columns of the other curves' letters: curves that lie on each other keep all of theirs.
            first = number * LETTER_EVERY // len(curves)
            chosen = [column for column in by_column if column % LETTER_EVERY == first] or [max(by_column)]
            letters.update(
                {(by_column[column], column): (_mark(number, len(curves)), _colour(number)) for column in chosen}
            )
    return cells | letters


def _dots(points: Points, across: _Axis, down: _Axis, width: int, height: int) -> Iterator[tuple[int, int]]:
    """The dots of a curve, joined by straight lines."""
    before: tuple[int, int] | None = None
    for x, y in points:
        if y is None:
            before = None
            continue
        here = round(across.share(x) * (width - 1)), round((1 - down.share(y)) * (height - 1))
        yield from _straight(before or here, here)
        before = here


def _straight(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for step in range(steps + 1):
        yield (
            round(start[0] + (end[0] - start[0]) * step / steps),
            round(start[1] + (end[1] - start[1]) * step / steps),
        )
