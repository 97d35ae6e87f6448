"""What all places share: keys, help, sizes, and text that must never be markup."""

import asyncio
import threading

import msgspec
import pytest
from rich.text import Text

from fsgr_tui.tui.screens.asking import Help
from fsgr_tui.tui.seen import JobCourse, JobsSeen
from fsgr_tui.tui.services import FoundFile
from fsgr_tui.tui.widgets.words import Words
from tests.fakes import screen as fakes
from tests.fakes.piloting import opened, press_until, shown, until
from tests.fakes.screen import World


async def test_digits_lead_to_the_places_and_back():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "2", "The same on the command line")
        await pilot.press("escape")
        await press_until(pilot, "3", "No job yet")
        await press_until(pilot, "4", "No feature files in /data/features yet")
        await press_until(pilot, "1", "Verdict")


async def test_a_panel_can_have_the_whole_room_and_give_it_back():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "z", "quick check")
        assert "Verdict" not in shown(pilot.app)
        await press_until(pilot, "escape", "Verdict")


async def test_help_explains_the_place_and_its_keys():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "No job yet")
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, Help))
        assert "Every job that was started" in shown(pilot.app)
        assert "Go to Plan" in shown(pilot.app)
        await press_until(pilot, "escape", "No job yet")


async def test_every_key_of_the_place_is_a_command_of_the_palette():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        titles = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
        assert {"Extract", "Intent", "Refresh", "Enlarge", "Help", "Quit", "Go to Jobs"} <= titles
        await pilot.press("ctrl+p")
        await pilot.press(*"jobs", "enter")
        await until(pilot, lambda: "No job yet" in shown(pilot.app))


NASTY = "/data/[run]1/[/]/[@click=app.quit]训练集 \x1b[31m"


async def test_a_path_is_never_markup_and_never_an_escape():
    """Brackets, wide characters and control characters in every place that shows paths."""
    file = FoundFile(f"{NASTY}/f.hdf5", 10, fakes.NOW)
    failed = msgspec.structs.replace(
        fakes.FAILED, name="train-[/]-1", command=("fsgr-tui", NASTY), result={"output": file.path}, notices=(NASTY,)
    )
    report = replace_rows(fakes.BAD_REPORT, NASTY)
    here = msgspec.structs.replace(
        fakes.machine(), disks=tuple(fakes.disk(path, mount=NASTY) for path in (fakes.ROOT, fakes.FEATURES))
    )
    world = World(
        machine=here, seen=JobsSeen((failed,), JobCourse(failed.name, (), (NASTY,))), files=(file,), outcome=report
    )
    world.facts = msgspec.structs.replace(fakes.dataset(), root=NASTY)
    async with world.app(NASTY).run_test(size=(200, 50)) as pilot:
        await opened(pilot)
        for key, words in (
            ("1", "[run]1"),
            ("2", "[run]1"),
            ("3", "[/]"),
            ("4", "[run]1"),
            ("c", "1 fault"),
            ("z", "BAD"),
            ("escape", "[run]1"),
        ):
            await press_until(pilot, key, words)
            assert "\x1b" not in shown(pilot.app), key
            assert "\\x1b" in shown(pilot.app), key
            if key == "2":
                await pilot.press("escape")
        await pilot.press("1", "i")
        await until(pilot, lambda: "What is planned" in shown(pilot.app))
        assert "\x1b" not in shown(pilot.app)


def replace_rows(report, words):
    rows = (*report.rows, msgspec.structs.replace(report.rows[1], found=words, detail=words))
    return msgspec.structs.replace(report, rows=rows, headline=f"1 fault: {words}")


async def test_a_name_that_is_no_utf_8_is_shown_and_does_no_harm():
    lone = "/data/caf\udce9"
    world = World(
        files=(FoundFile(f"{lone}/f.hdf5", 10, fakes.NOW),), facts=msgspec.structs.replace(fakes.dataset(), root=lone)
    )
    async with world.app(lone).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "e", "caf")
        await pilot.press("escape")
        await press_until(pilot, "4", "caf\\xe9")


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 50)])
async def test_every_place_draws_at_every_size(size):
    world = World(seen=JobsSeen((fakes.RUNNING, fakes.FAILED), fakes.COURSE), files=fakes.FILES)
    async with world.app().run_test(size=size) as pilot:
        await opened(pilot)
        for key in ("2", "escape", "3", "4", "c", "1", "i", "escape", "question_mark", "escape", "ctrl+p", "escape"):
            await pilot.press(key)
            await pilot.pause(0.05)
        assert "Verdict" in shown(pilot.app)


async def test_too_small_a_window_says_so_and_recovers():
    async with World().app().run_test(size=(40, 10)) as pilot:
        await pilot.pause(0.1)
        assert "needs 60 x 15" in shown(pilot.app)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "PRECOMPUTED" in shown(pilot.app))
        await pilot.resize_terminal(20, 4)
        await until(pilot, lambda: "PRECOMPUTED" not in shown(pilot.app))


async def test_ascii_only_means_every_character():
    world = World(seen=JobsSeen((fakes.RUNNING,), fakes.COURSE), files=fakes.FILES)
    async with world.app(ascii_only=True).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        for key in ("2", "escape", "3", "4", "c", "1", "i", "escape", "question_mark", "escape", "ctrl+p"):
            await pilot.press(key)
            await pilot.pause(0.05)
            assert shown(pilot.app).isascii(), key


async def test_a_service_that_hangs_leaves_the_keys_alive():
    world = World(hold=threading.Event())
    async with world.app().run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.1)
        await press_until(pilot, "3", "No job yet")
        await press_until(pilot, "1", "looking ...")
        world.hold.set()


async def fail_within(app) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)

        def fail() -> None:
            raise RuntimeError("on purpose")

        app.call_next(fail)
        await asyncio.sleep(0.2)


async def test_a_fault_of_our_own_is_kept_for_after_the_screen():
    app = World().app()
    with pytest.raises(RuntimeError, match="on purpose"):
        await fail_within(app)
    assert "on purpose" in app.crash


def test_the_said_text_of_words_is_text():
    assert isinstance(Words("x")._said, Text)
