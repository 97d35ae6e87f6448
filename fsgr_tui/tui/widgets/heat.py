"""A map of patches as a block of shades; colour where there is some, characters where there is none."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from rich.text import Text

from fsgr_tui.core.shades import ASCII_SHADES, level

RAMP = (
    (0x16, 0x22, 0x2A), (0x1D, 0x3A, 0x44), (0x24, 0x54, 0x5C), (0x30, 0x72, 0x74), (0x42, 0x93, 0x8D),
    (0x5F, 0xB5, 0xA2), (0x8C, 0xCF, 0xAE), (0xB9, 0xE3, 0xB9), (0xE0, 0xF2, 0xC6), (0xFB, 0xFB, 0xDC),
)  # fmt: skip
_UNKNOWN = Style.parse("bold #f2777a")
_SHADES = tuple(Style(bgcolor=f"rgb({red},{green},{blue})") for red, green, blue in RAMP)


def heat(
    rows: Sequence[Sequence[float | None]],
    low: float,
    high: float,
    *,
    cells: int = 2,
    lines: int = 1,
    patch: tuple[int, int] | None = None,
    colour: bool = True,
) -> Text:
    """The map as text.

    Args:
        low, high: the ends of the scale.
        cells: columns for one value; two for each of its lines make patches look square.
        lines: rows for one value.
        patch: (row, column) that is marked.
        colour: shades as backgrounds; without, as characters.
    """
    drawn = []
    for number, row in enumerate(rows):
        line = Text(no_wrap=True)
        for column, value in enumerate(row):
            line.append(*_patch(value, low, high, cells, here=patch == (number, column), colour=colour))
        drawn += [line] * lines
    return Text("\n", no_wrap=True).join(drawn)


def _patch(
    value: float | None, low: float, high: float, cells: int, *, here: bool, colour: bool
) -> tuple[str, Style | str]:
    """One line of a value, and its style."""
    if value is None:
        return "?" * cells, _UNKNOWN
    shade = level(value, low, high, len(RAMP))
    fill = " " if colour else ASCII_SHADES[shade]
    words = fill * cells
    if here:
        words = "[" + fill * (cells - 2) + "]" if cells > 1 else "o"
    if colour:
        # A dark mark on bright patches, a bright one on dark ones.
        style = _SHADES[shade] + Style(color="#11161b" if shade >= len(RAMP) // 2 else "#ffffff", bold=here)
        return words, style
    return words, "reverse" if here else ""


def scale(low: float, high: float, *, colour: bool = True) -> Text:
    """The scale's ends with its shades between them."""
    shades = heat([[float(step) for step in range(len(RAMP))]], 0, len(RAMP), colour=colour)
    return Text.assemble(f"{low:.4g} ", shades, f" {high:.4g}")
