"""Place 3: jobs."""

from dataclasses import replace

import msgspec
import pytest

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.tui.seen import JobsSeen
from tests.fakes import screen as fakes
from tests.fakes.piloting import opened, press_until, shown, until
from tests.fakes.screen import World


async def test_a_running_job_is_followed():
    world = World(seen=JobsSeen((fakes.RUNNING, fakes.FAILED), fakes.COURSE))
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "41,200 of 123,287 images")
        for words in (
            "512 images/s",
            "3 min left",
            "encode 97%",
            "encode-bound",
            "refused images: 2",
            "cuda:1, fp16, batch 64",
        ):
            assert words in shown(pilot.app)
        progress = msgspec.structs.replace(fakes.RUNNING.progress, step=60_000, rate=300.0)
        world.seen = replace(
            world.seen, statuses=(msgspec.structs.replace(fakes.RUNNING, progress=progress), fakes.FAILED)
        )
        await until(pilot, lambda: "60,000 of 123,287 images" in shown(pilot.app))
        assert "300 images/s" in shown(pilot.app)


async def test_the_cause_of_a_failed_job_comes_with_its_remedy_and_its_line():
    world = World(seen=JobsSeen((fakes.RUNNING, fakes.FAILED), fakes.COURSE))
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "512 images/s")
        await press_until(pilot, "down", "There is no space left on /data (ext4).")
        assert "Free 4.1 GB, then extract with --resume." in shown(pilot.app)
        assert "OSError: [Errno 28] No space left on device" in shown(pilot.app)
        assert "s Stop" not in shown(pilot.app)


@pytest.mark.parametrize(("answer", "stopped"), [("n", []), ("y", [fakes.RUNNING.name])])
async def test_stopping_asks_once(answer, stopped):
    world = World(seen=JobsSeen((fakes.RUNNING,), fakes.COURSE))
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "512 images/s")
        await press_until(pilot, "s", f"Stop {fakes.RUNNING.name}?")
        await pilot.press(answer)
        await pilot.pause(0.3)
        assert world.stopped == stopped


async def test_run_folders_that_cannot_be_reached_are_said_and_the_jobs_stay():
    world = World(seen=JobsSeen((fakes.RUNNING,), fakes.COURSE))
    async with world.app().run_test(size=(100, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "512 images/s")
        world.jobs_fault = MachineCannot("/home/runs: Stale file handle.")
        await until(pilot, lambda: "not up to date: /home/runs: Stale file handle." in shown(pilot.app))
        assert "512 images/s" in shown(pilot.app)
        world.jobs_fault = None
        await until(pilot, lambda: "not up to date" not in shown(pilot.app))
