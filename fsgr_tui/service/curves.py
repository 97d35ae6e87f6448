"""Curves of a job's numbers: thinned for a page, drawn as SVG without anything from elsewhere, or as a row of blocks."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence

import msgspec

from fsgr_tui.core.language import mark, tr

WIDTH_PX, HEIGHT_PX = 640, 190
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 56, 12, 10, 24
POINTS = 400
_BLOCKS = "▁▂▃▄▅▆▇█"

AXES = (mark("step"), mark("second"), mark("minute"))
"""What charts count along."""

Point = tuple[float, float | None]


class Curve(msgspec.Struct, frozen=True):
    """One line: (x, y) in order; a y that was not finite is None."""

    name: str
    points: tuple[Point, ...]

    @property
    def values(self) -> list[float]:
        """The finite values."""
        return [y for _, y in self.points if y is not None]


class Chart(msgspec.Struct, frozen=True):
    """Curves that share their axes.

    Attributes:
        x_name: one of AXES.
        form: how a value is written: "number", "bytes" or "percent".
        from_zero: whether the axis of values begins at zero.
    """

    title: str
    x_name: str
    curves: tuple[Curve, ...]
    form: str = "number"
    from_zero: bool = False


def thinned(points: Sequence[Point], count: int = POINTS) -> tuple[Point, ...]:
    """At most so many points, in which every bucket keeps its lowest and highest value, and gaps stay gaps."""
    if len(points) <= count:
        return tuple(points)
    kept: list[Point] = []
    buckets = max(1, count // 3)
    for number in range(buckets):
        bucket = points[number * len(points) // buckets : (number + 1) * len(points) // buckets]
        finite = [(y, at) for at, (_, y) in enumerate(bucket) if y is not None]
        wanted = {min(finite)[1], max(finite)[1]} if finite else set()
        gap = next((at for at, (_, y) in enumerate(bucket) if y is None), None)
        kept += [bucket[at] for at in sorted(wanted | ({gap} if gap is not None else set()))]
    return tuple(kept)


def blocks(values: Sequence[float], cells: int = 24) -> str:
    """Values as a row of blocks between their lowest and highest."""
    if not values:
        return ""
    shown = [values[at * len(values) // cells] for at in range(cells)] if len(values) > cells else list(values)
    shown[-1] = values[-1]
    low, high = min(shown), max(shown)
    return "".join(_BLOCKS[round((value - low) / (high - low) * 7) if high > low else 0] for value in shown)


def number(value: float) -> str:
    """Four digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def svg(chart: Chart, write: Callable[[float], str] = number) -> str:
    """A chart as an SVG element; its colours are the page's variables --c0, --c1 and so on."""
    values = [value for curve in chart.curves for value in curve.values]
    xs = [x for curve in chart.curves for x, _ in curve.points]
    if not values or not xs:
        return ""
    ticks = nice_ticks(min(0.0, *values) if chart.from_zero else min(values), max(values))
    low, high = ticks[0], ticks[-1]
    if low == high:
        # A constant lies in the middle.
        low, high = low - 1, high + 1
    first, last = min(xs), max(xs)

    def across(x: float) -> float:
        return LEFT_PX + (x - first) / ((last - first) or 1) * (WIDTH_PX - LEFT_PX - RIGHT_PX)

    def down(y: float) -> float:
        return HEIGHT_PX - BOTTOM_PX - (y - low) / (high - low) * (HEIGHT_PX - TOP_PX - BOTTOM_PX)

    parts = [
        f'<svg viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" role="img" aria-label="{html.escape(chart.title, quote=True)}">'
    ]
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{LEFT_PX}" x2="{WIDTH_PX - RIGHT_PX}" y1="{down(tick):.1f}" y2="{down(tick):.1f}"/>')  # fmt: skip
        parts.append(f'<text x="{LEFT_PX - 6}" y="{down(tick) + 4:.1f}" text-anchor="end">{html.escape(write(tick))}</text>')  # fmt: skip
    for at, anchor in ((first, "start"), (last, "end")):
        parts.append(f'<text x="{across(at):.1f}" y="{HEIGHT_PX - 6}" text-anchor="{anchor}">{html.escape(tr(chart.x_name))} {number(at)}</text>')  # fmt: skip
    for colour, curve in enumerate(chart.curves):
        parts += _line(curve, colour, across, down)
    return "".join((*parts, "</svg>"))


def _line(curve: Curve, colour: int, across: Callable[[float], float], down: Callable[[float], float]) -> list[str]:
    parts, stretch = [], []
    for x, y in (*curve.points, (0.0, None)):
        if y is not None:
            stretch.append(f"{across(x):.1f},{down(y):.1f}")
            continue
        if len(stretch) == 1:
            cx, cy = stretch[0].split(",")
            parts.append(f'<circle class="c{colour}" cx="{cx}" cy="{cy}" r="2.5"/>')
        elif stretch:
            parts.append(f'<polyline class="c{colour}" points="{" ".join(stretch)}"/>')
        stretch = []
    for x, y in curve.points:
        if y is None:
            parts.append(f'<line class="gap" x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{HEIGHT_PX - BOTTOM_PX}" y2="{HEIGHT_PX - BOTTOM_PX - 8}"/>')  # fmt: skip
    return parts


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers from at most `low` to at least `high`."""
    if high <= low:
        return [low]
    raw = (high - low) / wanted
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    start, end = math.floor(low / step), math.ceil(high / step)
    return [at * step for at in range(start, end + 1)]
