"""Terminals with sixteen colours: the Linux console, serial lines, old multiplexers.

The nearest of sixteen colours to a muted one is a grey, which would take the meaning out of all of them; so the hue
decides. The terminal's own palette gives the shade.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache

from rich.color import Color as RichColor
from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

BLACK, BLUE, CYAN, WHITE, BRIGHT_BLACK, BRIGHT = 0, 4, 6, 7, 8, 8
_HUES = (1, 3, 2, 6, 4, 5)
"""Red, yellow, green, cyan, blue and magenta, in the order of the colour circle."""

_ON_WHITE = (1, 2, 4)
"""Of these, those that can be read on white."""

GREY_CHROMA = 0.18
DARK_PAGE, LIGHT_PAGE = 0.16, 0.86
"""Lightness up to which a ground is a dark page, and from which it is a light one; between them it marks a row."""


class SixteenFilter(LineFilter):
    """Replaces every colour by one of the sixteen."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - the filter's signature
        """The same segments in sixteen colours."""
        return [Segment(text, style and _in_sixteen(style), control) for text, style, control in segments]


@lru_cache(4096)
def _in_sixteen(style: Style) -> Style:
    ground = ground_of(style.bgcolor) if style.bgcolor and not style.bgcolor.is_default else None
    ink = None
    if style.color and not style.color.is_default:
        ink = ink_of(style.color, BLACK if ground is None else ground)
    return style + Style(color=_color(ink), bgcolor=_color(ground))


def ground_of(color: RichColor) -> int:
    """The number of a background."""
    _, lightness, _ = _hls(color)
    if lightness < DARK_PAGE:
        return BLACK
    return WHITE if lightness > LIGHT_PAGE else CYAN if lightness > 0.5 else BLUE


def ink_of(color: RichColor, ground: int) -> int:
    """The number of a text's colour on a ground."""
    hue, lightness, chroma = _hls(color)
    number = _HUES[round(hue * 6) % 6]
    if ground in (WHITE, CYAN):
        return number if ground == WHITE and chroma >= GREY_CHROMA and number in _ON_WHITE else BLACK
    if chroma >= GREY_CHROMA and lightness > DARK_PAGE and number != ground:
        return number + BRIGHT
    return WHITE + BRIGHT if lightness > 0.75 else WHITE if lightness > 0.4 else BRIGHT_BLACK


def _hls(color: RichColor) -> tuple[float, float, float]:
    """Hue and lightness, and how far from grey."""
    red, green, blue = (part / 255 for part in color.get_truecolor())
    hue, lightness, _ = colorsys.rgb_to_hls(red, green, blue)
    return hue, lightness, max(red, green, blue) - min(red, green, blue)


def _color(number: int | None) -> RichColor | None:
    return None if number is None else RichColor(f"color({number})", ColorType.STANDARD, number)
