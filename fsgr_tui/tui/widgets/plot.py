"""Curves in braille dots: two columns and four rows of them in a cell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from fsgr_tui.tui.format import DIM

LABEL_CELLS = 9
COLOURS = ("#5fc8bc", "#e5b567", "#7aa6f0", "#f2777a", "#b9e3b9", "#c79bf0")

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of the dot in each row and column of a cell, as Unicode numbers them."""

_BLANK = 0x2800

Points = Sequence[tuple[float, float | None]]


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

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


def plot(lines: Sequence[Line], width: int, height: int, *, log: bool = False) -> Text:
    """The curves over their common axes, in so many cells.

    Args:
        log: a logarithmic axis of values; values that have no logarithm are left out.
    """
    drawn = [(line, [point for point in line.points if not log or point[1] is None or point[1] > 0]) for line in lines]
    values = [y for _, points in drawn for _, y in points if y is not None]
    places = [x for _, points in drawn for x, y in points if y is not None]
    if not values:
        return Text("no values to draw" + (" on a logarithmic axis" if log else ""), DIM)
    across, down = _Axis(min(places), max(places)), _Axis(min(values), max(values), log)
    columns, rows = max(4, width - LABEL_CELLS), max(2, height - 1)
    cells: dict[tuple[int, int], int] = {}
    colours: dict[tuple[int, int], str] = {}
    for number, (_, points) in enumerate(drawn):
        for x, y in _dots(points, across, down, 2 * columns, 4 * rows):
            cell = (y // 4, x // 2)
            cells[cell] = cells.get(cell, 0) | _DOTS[y % 4][x % 2]
            colours[cell] = COLOURS[number % len(COLOURS)]
    text = Text(no_wrap=True)
    labels = {0: down.high, rows - 1: down.low}
    for row in range(rows):
        label = f"{labels[row]:.4g}" if row in labels else ""
        text.append(f"{label:>{LABEL_CELLS - 1}} ", DIM)
        for column in range(columns):
            dots = cells.get((row, column), 0)
            text.append(chr(_BLANK | dots) if dots else " ", colours.get((row, column), ""))
        text.append("\n")
    ends = f"{across.low:,.6g}", f"{across.high:,.6g}"
    text.append(" " * LABEL_CELLS + ends[0] + ends[1].rjust(max(1, columns - len(ends[0]))), DIM)
    return text


def legend(lines: Sequence[Line]) -> Text:
    """The curves' names in their colours, with their last value."""
    parts = []
    for number, line in enumerate(lines):
        last = next((y for _, y in reversed(line.points) if y is not None), None)
        value = "" if last is None else f" {last:.4g}"
        parts.append(Text.assemble(("━ ", COLOURS[number % len(COLOURS)]), line.name, (value, "bold")))
    return Text("   ").join(parts)


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
