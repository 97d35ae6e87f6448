"""What-if, preflight, saving a plan, and running all its steps."""

from __future__ import annotations

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
