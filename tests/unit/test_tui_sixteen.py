"""Colours on terminals that have sixteen of them."""

import pytest
from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from fsgr_tui.tui import format as styles
from fsgr_tui.tui.light import mirrored
from fsgr_tui.tui.look import THEME
from fsgr_tui.tui.sixteen import SixteenFilter

BLACK, WHITE = 0, 7
INKS = {name: getattr(styles, name).removeprefix("bold ") for name in ("DIM", "GOOD", "WARN", "BAD", "WAY_A", "WAY_B")}


def shown(ink: str, ground: str, *, light: bool = False) -> tuple[int, int]:
    """The numbers of ink and ground."""
    seen = [Color.parse(color) for color in (ink, ground)]
    if light:
        seen = [mirrored(color) for color in seen]
    style = Style(color=seen[0].rich_color, bgcolor=seen[1].rich_color)
    (segment,) = SixteenFilter().apply([Segment("x", style)], Color(0, 0, 0))
    return segment.style.color.number, segment.style.bgcolor.number


@pytest.mark.parametrize(
    ("name", "number"), [("GOOD", 10), ("WARN", 11), ("BAD", 9), ("WAY_A", 12), ("WAY_B", 14), ("DIM", 7)]
)
def test_the_hue_of_a_meaning_stays(name, number):
    assert shown(INKS[name], THEME.background) == (number, BLACK)


@pytest.mark.parametrize("name", INKS)
@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("ground", [THEME.background, THEME.panel, "#16222a", "#24404a"])
def test_no_text_has_the_colour_of_its_ground(name, light, ground):
    ink, page = shown(INKS[name], ground, light=light)
    assert ink % 8 != page


@pytest.mark.parametrize("light", [False, True])
def test_the_row_under_the_cursor_stands_out(light):
    cursor = THEME.variables["block-cursor-background"]
    pages = {shown(THEME.foreground, ground, light=light)[1] for ground in (THEME.background, THEME.panel, "#16222a")}
    assert pages == {WHITE if light else BLACK}
    assert shown(THEME.foreground, cursor, light=light)[1] not in pages


def test_the_terminal_s_own_colours_stay_its_own():
    style = Style(color=RichColor.default(), bgcolor=RichColor.default(), bold=True)
    (segment,) = SixteenFilter().apply([Segment("x", style)], Color(0, 0, 0))
    assert segment.style.color.is_default
    assert segment.style.bgcolor.is_default
    assert segment.style.bold
