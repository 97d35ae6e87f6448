"""Place 5: the ways side by side, and the guide's numbers."""

from __future__ import annotations

from tests.fakes import screen as fakes
from tests.fakes.piloting import opened, press_until, shown, until
from tests.fakes.screen import World


async def test_the_ways_and_the_guide_s_numbers_stand_side_by_side():
    async with World().app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await press_until(pilot, "5", "The guide's numbers")
        words = shown(pilot.app)
        for way in ("realtime", "precomputed", "pixels"):
            assert way in words
        assert "> precomputed" in words
        assert "3-5x" in words
        assert "not measured here yet: fsgr-tui bench" in words


async def test_the_row_under_the_cursor_says_why_the_numbers_differ():
    async with World().app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "5", "The guide's numbers")
        first, second = fakes.plan().guide[:2]
        assert first.note.split()[0] in shown(pilot.app)
        await pilot.press("down")
        await until(pilot, lambda: second.note.split(".")[0][:30] in shown(pilot.app))


async def test_a_change_of_what_is_planned_reaches_this_place():
    world = World()
    async with world.app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await press_until(pilot, "5", "> precomputed")
        world.machine = fakes.CRAMPED
        await pilot.press("1")
        await press_until(pilot, "r", "REALTIME")
        await press_until(pilot, "5", "> realtime")


async def test_without_a_plan_it_says_where_the_reason_is():
    async with World().app("/missing").run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "is not there" in shown(pilot.app))
        await press_until(pilot, "5", "There is no plan yet")
