"""Numbers as shades: levels for maps and bars that terminals of every kind can show."""

from __future__ import annotations

from collections.abc import Sequence

ASCII_SHADES = " .:-=+*#%@"


def level(value: float, low: float, high: float, count: int) -> int:
    """Which of `count` levels a value has between two ends; the middle one when they are equal."""
    if high <= low:
        return count // 2
    return min(count - 1, max(0, int((value - low) / (high - low) * count)))


def shaded(rows: Sequence[Sequence[float | None]], low: float, high: float) -> list[str]:
    """A map in ASCII, two characters to a value so that patches look square; `??` where there is no value."""
    return [
        "".join(
            "??" if value is None else ASCII_SHADES[level(value, low, high, len(ASCII_SHADES))] * 2 for value in row
        )
        for row in rows
    ]
