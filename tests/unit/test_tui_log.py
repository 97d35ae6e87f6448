"""The whole log of a job on the screen, and what is done to jobs."""

from __future__ import annotations

import msgspec
import pytest
from rich.cells import cell_len

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.job import Alarm, Usage, UsageSeen
from fsgr_tui.core.units import GIB
from fsgr_tui.tui.seen import JobsSeen
from fsgr_tui.tui.widgets.log_view import LogView
from tests.fakes import screen as fakes
from tests.fakes.piloting import opened, press_until, shown, until
from tests.fakes.screen import World

BUSY = JobsSeen((fakes.RUNNING,), fakes.COURSE)
ENDED = JobsSeen((fakes.FAILED,), fakes.FAILED_COURSE)


@pytest.fixture
def world(tmp_path):
    return World(seen=BUSY, log_folder=str(tmp_path))


@pytest.fixture
def log(tmp_path):
    path = tmp_path / fakes.RUNNING.name
    path.write_text("".join(f"step {number} loss 2.31\n" for number in range(100_000)))
    return path


async def log_opened(pilot, words):
    await opened(pilot)
    await press_until(pilot, "3", "512 images/s")
    await press_until(pilot, "l", words)


async def test_a_long_log_opens_at_its_end_and_follows_what_is_added(world, log):
    async with world.app().run_test(size=(80, 24)) as pilot:
        await log_opened(pilot, "step 99999 loss")
        assert "100,000 lines" in shown(pilot.app)
        with log.open("a") as file:
            file.write("something new [bold]markup[/]\n")
        await until(pilot, lambda: "something new [bold]markup[/]" in shown(pilot.app))


async def test_any_line_is_reached_and_one_who_reads_is_not_carried_off(world, log):
    async with world.app().run_test(size=(80, 24)) as pilot:
        await log_opened(pilot, "step 99999 loss")
        await press_until(pilot, "g", "step 3 loss")
        with log.open("a") as file:
            file.write("something new\n")
        await until(pilot, lambda: "100,001 lines" in shown(pilot.app))
        assert "step 3 loss" in shown(pilot.app)
        pilot.app.screen.query_one(LogView).scroll_to(y=50_000, animate=False)
        await until(pilot, lambda: "step 50010 loss" in shown(pilot.app))
        await press_until(pilot, "G", "something new")


async def test_a_text_is_searched_forwards_and_backwards(world, log):
    async with world.app().run_test(size=(80, 24)) as pilot:
        await log_opened(pilot, "step 99999 loss")
        await pilot.press("g", "slash", *"step 7777", "enter")
        await until(pilot, lambda: "step 7777 in line 7,778" in shown(pilot.app))
        await press_until(pilot, "n", "in line 77,771")
        await press_until(pilot, "N", "in line 7,778")
        await pilot.press("slash", *"no such words", "enter")
        await until(pilot, lambda: "is nowhere in it" in shown(pilot.app))
        await press_until(pilot, "escape", "512 images/s")


async def test_a_log_that_cannot_be_read_says_why(world):
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "512 images/s")
        world.fault = MachineCannot("/runs: Stale file handle.", "Look again when it is back.")
        await press_until(pilot, "l", "Stale file handle")


async def test_a_job_that_has_ended_is_gone_on_with_reported_and_deleted():
    world = World(seen=ENDED)
    async with world.app().run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "There is no space left")
        await press_until(pilot, "u", "Going on: extract-1123")
        assert world.resumed == [fakes.FAILED.name]
        await press_until(pilot, "o", f"/runs/{fakes.FAILED.name}/report.html")
        await pilot.press("c")
        await until(pilot, lambda: pilot.app.clipboard == f"/runs/{fakes.FAILED.name}/report.html")
        await pilot.press("escape")
        await press_until(pilot, "x", "Delete extract-1123")
        assert world.removed == []
        await pilot.press("y")
        await until(pilot, lambda: world.removed == [fakes.FAILED.name])


async def test_why_a_job_cannot_go_on_is_said():
    world = World(seen=ENDED, fault=BadRequest("It runs a command of yours.", "--again runs it anew."))
    async with world.app().run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "There is no space left")
        await press_until(pilot, "u", "It runs a command of yours.")


async def test_a_living_job_is_offered_neither_to_delete_nor_to_go_on():
    async with World(seen=BUSY).app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "512 images/s")
        assert "x Delete" not in shown(pilot.app)
        assert "u Go on" not in shown(pilot.app)
        assert "s Stop" in shown(pilot.app)


async def test_alarms_use_of_the_machine_and_an_orphan_are_shown():
    alarm = Alarm(
        "nan loss", "The loss is NaN since step 49.", 1.0, 2.0, 17_000, "loss nan", "alarm", "Lower the learning rate."
    )
    use = Usage(1.0, 5, 187.0, 3 * GIB, 40e6, 0.0, 61.0, 9 * GIB)
    status = msgspec.structs.replace(
        fakes.RUNNING, alarms=(alarm,), usage=UsageSeen(use, use), life="orphaned", note="Its runner is gone; the command runs on."
    )  # fmt: skip
    async with World(seen=JobsSeen((status,), fakes.COURSE)).app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "orphaned !")
        for words in (
            "The loss is NaN since step 49. (17,000 times)",
            "Lower the learning rate.",
            "CPU 187%  memory 3.0 GiB  reads 40.0 MB/s  GPU 61%  GPU memory 9.0 GiB",
            "Its runner is gone",
        ):
            assert words in shown(pilot.app)


async def test_whether_the_log_is_followed_is_said(world, log):
    async with world.app().run_test(size=(60, 15)) as pilot:
        await log_opened(pilot, "step 99999 loss")
        assert "100,000 lines   following" in shown(pilot.app)
        await pilot.press("pageup")
        await until(pilot, lambda: "following" not in shown(pilot.app))
        await press_until(pilot, "G", "following")


async def test_at_the_least_size_what_was_found_and_all_keys_are_in_sight(world, log):
    async with world.app().run_test(size=(60, 15)) as pilot:
        await log_opened(pilot, "step 99999 loss")
        await pilot.press("g", "slash", *"step 7777", "enter")
        await until(pilot, lambda: "step 7777 in line 7,778" in shown(pilot.app))
        first, *_, last = shown(pilot.app).splitlines()
        assert "100,000 lines" in first
        for words in ("/ search", "n N", "g G", "Esc back", "? help"):
            assert words in last


async def test_wide_characters_are_never_cut_in_half_and_reach_their_end(world, tmp_path):
    """At an odd offset the half of a character that is in sight is a blank; what follows stays in its column."""
    (tmp_path / fakes.RUNNING.name).write_text("训练集" * 30 + "|end\n" + "ab" * 90 + "|end\n")
    async with world.app().run_test(size=(60, 15)) as pilot:
        await log_opened(pilot, "训练集")
        view = pilot.app.screen.query_one(LogView)
        assert all(line.cell_length == view.size.width for line in map(view.render_line, range(2)))
        view.scroll_to(x=view.max_scroll_x - 1, animate=False)
        await until(pilot, lambda: "|en" in shown(pilot.app))
        wide, narrow = (view.render_line(y) for y in range(2))
        assert wide.cell_length == narrow.cell_length == view.size.width
        assert wide.text.startswith((" ", "训", "练", "集"))
        columns = [cell_len(line.text[: line.text.index("|")]) for line in (wide, narrow)]
        assert columns[0] == columns[1]


async def test_control_characters_of_a_log_arrive_as_text(world, tmp_path):
    (tmp_path / fakes.RUNNING.name).write_bytes(b"a\x1b[2Jb \x07bell \x9bcsi \x1b]0;title\x07 tab\there\n")
    async with world.app().run_test(size=(80, 24)) as pilot:
        await log_opened(pilot, "tab    here")
        line = pilot.app.screen.query_one(LogView).render_line(0).text
        assert line.startswith("ab \\x07bell ")
        assert line.isprintable()


async def test_the_arrows_go_sideways_by_half_a_screen(world, tmp_path):
    (tmp_path / fakes.RUNNING.name).write_text("".join(f"{number:03}" for number in range(100)) + "\n")
    async with world.app().run_test(size=(60, 15)) as pilot:
        await log_opened(pilot, "000001002")
        await pilot.press("right")
        await until(pilot, lambda: pilot.app.screen.query_one(LogView).scroll_offset.x == 30)
        await pilot.press("left")
        await until(pilot, lambda: pilot.app.screen.query_one(LogView).scroll_offset.x == 0)


async def test_a_log_explains_itself(world, log):
    async with world.app().run_test(size=(80, 24)) as pilot:
        await log_opened(pilot, "step 99999 loss")
        await press_until(pilot, "question_mark", "as a terminal would have left it")
        await press_until(pilot, "escape", "step 99999 loss")
