"""Every word that is drawn stands out from what it is drawn on, in both themes (WCAG: 4.5 to 1)."""

from __future__ import annotations

import pytest
from textual.color import Color
from textual.screen import ModalScreen

from fsgr_tui.tui.remembered import Remembered
from tests.fakes.piloting import shown, until
from tests.fakes.screen import World
from tests.functional.test_screen import BUSY, fakes

LEAST = 4.5
WAYS = {
    "plan": "",
    "run": "2",
    "jobs": "3",
    "features": "4 c",
    "compare": "5",
    "intent": "i",
    "help": "question_mark",
    "palette": "ctrl+p",
}


@pytest.fixture(autouse=True)
def all_colours(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("name", WAYS)
async def test_every_word_stands_out(name, theme):
    app = World(seen=BUSY, files=fakes.FILES).app(remembered=Remembered(theme, greeted=True))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "PRECOMPUTED" in shown(app))
        for key in WAYS[name].split():
            await pilot.press(key)
            await pilot.pause(0.2)
            await app.workers.wait_for_complete()
        await pilot.pause(0.2)
        assert faint(app) == []


def faint(app) -> list[tuple[str, str, str, float]]:
    """Words with too little contrast: (text, ink, ground, contrast)."""
    screen = app.screen
    region = screen.children[0].region if isinstance(screen, ModalScreen) else screen.region
    found = []
    for strip in screen._compositor.render_strips()[region.y : region.bottom]:
        for text, style, _ in strip.crop(region.x, region.right):
            if style and style.color and style.bgcolor and any(map(str.isalnum, text)):
                ink, ground = Color.from_rich_color(style.color), Color.from_rich_color(style.bgcolor)
                bright, dim = sorted((luminance(ink), luminance(ground)), reverse=True)
                contrast = (bright + 0.05) / (dim + 0.05)
                if contrast < LEAST:
                    found.append((text.strip(), ink.hex, ground.hex, round(contrast, 1)))
    return found


def luminance(color: Color) -> float:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in color.normalized]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
