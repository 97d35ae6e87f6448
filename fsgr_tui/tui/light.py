"""The light theme: the dark one seen through a filter that mirrors lightness and keeps hue.

One palette stays the source of all colours, the library's own included, and what stands out in the dark stands out in
the light by as much.
"""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color, Lab, lab_to_rgb, rgb_to_lab
from textual.filter import LineFilter

DARKEST, BRIGHTEST = 7.0, 90.0
"""CIE L* of the dark theme's background and of its text."""

PAPER, INK = 98.0, 18.0
"""CIE L* that these two become."""

_SLOPE = (INK - PAPER) / (BRIGHTEST - DARKEST)


class LightFilter(LineFilter):
    """Mirrors the lightness of every colour."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - the filter's signature
        """The same segments on light ground."""
        return [Segment(text, style and _light_style(style), control) for text, style, control in segments]


@lru_cache(4096)
def _light_style(style: Style) -> Style:
    return style + Style(
        color=style.color and _mirrored(style.color), bgcolor=style.bgcolor and _mirrored(style.bgcolor)
    )


@lru_cache(1024)
def _mirrored(color: RichColor) -> RichColor:
    if color.is_default:
        return color
    return mirrored(Color.from_rich_color(color)).rich_color


def mirrored(color: Color) -> Color:
    """A colour of the dark theme as the light one shows it."""
    lab = rgb_to_lab(color)
    lightness = PAPER + _SLOPE * (lab.L - DARKEST)
    return lab_to_rgb(Lab(min(100.0, max(0.0, lightness)), lab.a, lab.b)).clamped
