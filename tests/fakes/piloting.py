"""Driving the screen in tests: waiting, looking, pressing, typing."""

from __future__ import annotations

import pytest
from textual.widgets import Input

PATIENCE_S = 10.0


async def until(pilot, holds):
    """Wait for workers until something holds."""
    for _ in range(int(PATIENCE_S / 0.02)):
        await pilot.pause(0.02)
        if holds():
            return
    pytest.fail(f"it never came; on the screen:\n{shown(pilot.app)}")


def shown(app) -> str:
    """The screen as text."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip)[:width] for strip in strips[:height])


async def opened(pilot):
    await until(pilot, lambda: "looking" not in shown(pilot.app))


async def press_until(pilot, key, words):
    await pilot.press(key)
    await until(pilot, lambda: words in shown(pilot.app))


async def choose(pilot, name, value):
    """Step a choice of the form on until it has a value."""
    form = pilot.app.screen.query_one("Form")
    form.enter(name)
    while form.values[name] != value:
        await pilot.press("right")
        await pilot.pause()


async def type_into(pilot, name, text):
    """Fill one of the form's fields as a person would: go there, clear it, type."""
    row = pilot.app.screen.query_one("Form")._fields[name]
    row.query_one(Input).focus()
    await pilot.press("ctrl+e", "ctrl+u", *text)
