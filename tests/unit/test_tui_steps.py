"""What-if, preflight, saving a plan, and running all its steps."""

from __future__ import annotations

import threading

import pytest

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.preflight import Finding
from tests.fakes import screen as fakes
from tests.fakes.piloting import opened, press_until, shown, type_into, until
from tests.fakes.screen import World

STOP = Finding(
    "weights", "openai is not in the cache", "weights", "stop", "On a login node run: fsgr-tui ...", "machine"
)
WARN = Finding("quota", "not checked", verdict="warn", remedy="Ask quota -s.")


async def test_from_the_plan_to_jobs_in_two_keys():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "a", "Nothing speaks against it.")
        for words in ("extract  fsgr-tui extract --image-root", "check  fsgr-tui check", "after extract"):
            assert words in shown(pilot.app)
        await press_until(pilot, "y", fakes.RUNNING.name)
        assert "3 Jobs 1*" in shown(pilot.app)


async def test_both_keys_at_once_start_everything_when_the_preflight_is_through():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        world.hold = threading.Event()
        await press_until(pilot, "a", "looking at extract (1 of 2)")
        await press_until(pilot, "y", "Starts when the preflight is through.")
        assert world.seen.statuses == ()
        world.hold.set()
        await until(pilot, lambda: fakes.RUNNING.name in shown(pilot.app))
        assert [command[0] for command in world.preflighted] == ["extract", "train"]


async def test_a_start_that_was_asked_for_too_early_is_forgotten_when_something_stops_it():
    world = World(findings=(STOP,))
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        world.hold = threading.Event()
        await press_until(pilot, "a", "looking at extract")
        await press_until(pilot, "y", "Starts when")
        world.hold.set()
        await until(pilot, lambda: "1 thing would stop or spoil it." in shown(pilot.app))
        await until(pilot, lambda: "Starts when" not in shown(pilot.app))
        assert world.seen.statuses == ()


@pytest.mark.parametrize("size", [(60, 15), (80, 24)])
async def test_a_preflight_that_looks_counts_its_seconds_and_can_be_left(size):
    world = World()
    async with world.app().run_test(size=size) as pilot:
        await opened(pilot)
        world.hold = threading.Event()
        await press_until(pilot, "p", "looking at extract (1 of 2) ... 0 s")
        await until(pilot, lambda: "... 1 s" in shown(pilot.app))
        await press_until(pilot, "escape", "Verdict")
        world.hold.set()
        await pilot.pause(0.1)
        assert world.seen.statuses == ()


async def test_what_an_earlier_step_makes_is_no_fault_of_a_later_one():
    features = fakes.plan().commands[0].outputs[0]
    missing = Finding(features, "is not there", verdict="stop", remedy="Extract it.")
    world = World(findings=(WARN,))
    by_command = {"extract": (WARN,), "train": (missing, WARN)}
    world_preflight = world.preflight

    def preflight(command):
        world.findings = by_command[command[0]]
        return world_preflight(command)

    world.preflight = preflight
    async with world.app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await press_until(pilot, "a", "It can start.")
        assert "is not there" not in shown(pilot.app)
        # What stops a later step does not keep the first one back, and stands above all else.
        by_command["train"] = (WARN, STOP)
        await press_until(pilot, "r", "train would stop as things are now")
        rows = shown(pilot.app).partition("looked at")[2]
        assert rows.index("openai is not in the cache") < rows.index("not checked")
        assert "start all of them" in shown(pilot.app)


async def test_enter_starts_all_though_the_table_is_in_focus():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "a", "Nothing speaks against it.")
        await press_until(pilot, "enter", fakes.RUNNING.name)


async def test_what_would_stop_it_is_said_first_and_nothing_is_offered_to_start():
    world = World(findings=(fakes.World().findings[0], WARN, STOP))
    async with world.app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await press_until(pilot, "a", "STOP")
        text = shown(pilot.app)
        assert text.index("openai is not in the cache") < text.index("not checked")
        assert "On a login node run" in text
        assert "start all of them" not in text
        await pilot.press("y")
        await pilot.pause(0.3)
        assert world.seen.statuses == ()
        world.findings = (WARN,)
        await press_until(pilot, "r", "It can start.")
        assert "start all of them" in shown(pilot.app)


async def test_preflight_alone_starts_nothing():
    world = World()
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "p", "Nothing speaks against it.")
        await pilot.press("y")
        await pilot.pause(0.3)
        assert world.seen.statuses == ()
        await press_until(pilot, "escape", "Verdict")


async def test_a_preflight_that_does_not_answer_says_so():
    world = World(fault=MachineCannot("The preflight did not answer within 120 s.", "Try it in a shell."))
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "p", "did not answer within 120 s")
        assert "Try it in a shell." in shown(pilot.app)


async def test_a_plan_is_saved_and_its_command_told():
    world = World()
    async with world.app().run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        await press_until(pilot, "s", "Saved. fsgr-tui run plan.toml")
        assert world.saved == [fakes.plan()]


async def test_a_what_if_is_drawn_at_once_marked_as_simulated_and_not_offered_to_run():
    world = World(machine=fakes.CRAMPED)
    async with world.app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        assert "REALTIME" in shown(pilot.app)
        await press_until(pilot, "i", "What is planned")
        await type_into(pilot, "disk_free", "80GB")
        await pilot.press("enter")
        await until(pilot, lambda: "SIMULATED: disk: 80.0 GB free" in shown(pilot.app))
        assert "PRECOMPUTED" in shown(pilot.app)
        assert "a Run all steps" not in shown(pilot.app)


async def test_a_gpu_that_is_not_known_is_told_at_its_field():
    async with World().app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await press_until(pilot, "i", "What is planned")
        await type_into(pilot, "gpu", "RTX 3091")
        await until(pilot, lambda: "Did you mean" in shown(pilot.app))
