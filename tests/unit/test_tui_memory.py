"""What the screen remembers, how it greets, and its two themes."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.color import Color

from fsgr_tui.core.plan import Intent
from fsgr_tui.tui import format as styles
from fsgr_tui.tui import remembered
from fsgr_tui.tui.intent_form import Wanted
from fsgr_tui.tui.light import mirrored
from fsgr_tui.tui.look import LIGHT, THEME
from fsgr_tui.tui.remembered import FOLDERS_KEPT, Remembered
from fsgr_tui.tui.run import real_app
from tests.fakes import screen as fakes
from tests.fakes.piloting import opened, press_until, shown, type_into, until
from tests.fakes.screen import World

WANTED = Wanted(Intent(epochs=3), "/data/coco/images", "/data/features")


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("FSGR_TUI_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("FSGR_TUI_THEME", raising=False)
    # The colours of a terminal that shows all of them, whatever the one is that runs the tests.
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")


def test_what_is_kept_comes_back():
    kept = Remembered("light", greeted=True).with_wanted("/work", WANTED)
    remembered.save(kept)
    assert remembered.load() == kept
    assert remembered.load().wanted("/work") == WANTED
    assert remembered.load().wanted("/elsewhere") is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"theme": "pink"}', b"\xff\xfe"])
def test_a_damaged_memory_is_none(damage):
    remembered.place().parent.mkdir(parents=True)
    remembered.place().write_bytes(damage)
    assert remembered.load() == Remembered()


def test_a_folder_that_cannot_be_written_costs_the_memory_only(tmp_path):
    (tmp_path / "state").write_text("no folder")
    remembered.save(Remembered(greeted=True))
    assert remembered.load() == Remembered()


def test_only_the_folders_used_last_are_kept():
    kept = Remembered()
    for number in range(FOLDERS_KEPT + 5):
        kept = kept.with_wanted(f"/{number}", WANTED)
    kept = kept.with_wanted("/10", WANTED)
    assert len(kept.plans) == FOLDERS_KEPT
    assert list(kept.plans)[-1] == "/10"
    assert kept.wanted("/0") is None


def test_the_environment_names_the_theme(monkeypatch):
    monkeypatch.setenv("FSGR_TUI_THEME", "light")
    assert remembered.load().theme == "light"


def test_a_folder_s_plan_comes_back_unless_another_place_is_named():
    remembered.save(Remembered().with_wanted(str(Path.cwd()), WANTED))
    assert real_app(None, None)._wanted == WANTED
    assert real_app(WANTED.image_root, None)._wanted == WANTED
    assert real_app(None, "elsewhere")._wanted == Wanted(Intent(), None, "elsewhere")
    assert real_app("/images", None)._wanted == Wanted(Intent(), "/images", "features")


async def test_the_first_start_greets_and_any_key_goes_on():
    world = World()
    async with world.app(remembered=Remembered()).run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Found here" in shown(pilot.app))
        for words in ("gpu07: 16 CPUs", "RTX 3090", "82.0 GB free", "123,287 images in", "Next: e extracts"):
            assert words in shown(pilot.app)
        await press_until(pilot, "4", "No feature files")
        assert world.remembered[-1].greeted


async def test_the_second_start_does_not_greet():
    async with World().app(remembered=Remembered(greeted=True)).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        assert "Found here" not in shown(pilot.app)


async def test_a_new_intent_is_remembered_for_this_folder():
    world = World()
    async with world.app(remembered=Remembered(greeted=True)).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "i", "What is planned")
        await type_into(pilot, "epochs", "7")
        await pilot.press("enter")
        await until(pilot, lambda: bool(world.remembered))
        kept = world.remembered[-1].wanted(str(Path.cwd()))
        assert kept is not None
        assert kept.intent.epochs == 7


async def test_the_theme_is_changed_with_a_key_drawn_at_once_and_remembered():
    world = World()
    app = world.app(remembered=Remembered(greeted=True))
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        assert _paper(app) == Color.parse(THEME.panel)
        await pilot.press("T")
        await until(pilot, lambda: _paper(app).brightness > 0.8)
        assert app.theme == LIGHT.name
        await until(pilot, lambda: [kept.theme for kept in world.remembered] == ["light"])
        await pilot.press("T")
        await until(pilot, lambda: _paper(app) == Color.parse(THEME.panel))


async def test_a_place_that_was_left_shows_what_changed_in_the_meantime():
    app = World().app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "No job yet")
        await pilot.press("T")
        await until(pilot, lambda: _paper(app).brightness > 0.8)
        await pilot.resize_terminal(120, 40)
        await press_until(pilot, "1", "Verdict")
        await until(pilot, lambda: _paper(app).brightness > 0.8)
        assert app.screen.has_class("-wide")
        await press_until(pilot, "3", "No job yet")
        await pilot.press("T")
        await until(pilot, lambda: _paper(app) == Color.parse(THEME.panel))
        await press_until(pilot, "1", "Verdict")
        await until(pilot, lambda: _paper(app) == Color.parse(THEME.panel))
        strips = app.screen._compositor.render_strips()
        assert not any(
            _bright(segment.style)
            for strip in strips
            for segment in strip
            if segment.style and not segment.style.reverse
        )


def _bright(style):
    return style.bgcolor is not None and Color.from_rich_color(style.bgcolor).brightness > 0.8


def _paper(app):
    """The background of the top line, as it is sent."""
    style = next(segment.style for segment in app.screen._compositor.render_strips()[0] if segment.style)
    return Color.from_rich_color(style.bgcolor)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("ground", [THEME.background, THEME.panel, "#16222a"])
@pytest.mark.parametrize("style", ["DIM", "GOOD", "WARN", "BAD", "WAY_A", "WAY_B", "foreground"])
def test_text_stands_out_from_its_ground_in_both_themes(theme, ground, style):
    ink = THEME.foreground if style == "foreground" else getattr(styles, style).removeprefix("bold ")
    seen = [Color.parse(color) for color in (ink, ground)]
    if theme == "light":
        seen = [mirrored(color) for color in seen]
    # WCAG's least contrast for text.
    bright, dim = sorted(map(_luminance, seen), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 4.5


def _luminance(color):
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in color.normalized]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_no_machine_stays_unknown_in_the_greeting():
    from fsgr_tui.tui.greeting import found

    lines = found(fakes.plan(on=fakes.BLIND))
    assert any("Input/output error" in line for line in lines)
    assert any("no NVIDIA driver here" in line for line in lines)
