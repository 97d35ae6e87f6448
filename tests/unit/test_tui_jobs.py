"""Place 3: jobs."""

from dataclasses import replace

import msgspec
import pytest
from rich.cells import cell_len

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.job import Alarm, JobPart, JobProgress
from fsgr_tui.tui.app import ScreenApp
from fsgr_tui.tui.seen import JobCourse, JobsSeen
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


SLOW = msgspec.structs.replace(
    fakes.RUNNING, name="extract-1124-101500-slow", progress=JobProgress("load model"), started=fakes.NOW - 1500
)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (200, 50)])
async def test_how_long_jobs_run_and_since_when_they_are_over_is_in_the_table(size):
    world = World(seen=JobsSeen((SLOW, fakes.FAILED), JobCourse(SLOW.name)))
    async with world.app().run_test(size=size) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "running for 25 min")
        table = pilot.app.screen.query_one("#jobs")
        head, slow, failed, *_ = (line.text.rstrip() for line in map(table.render_line, range(4)))
        assert (
            head.split()[:5] == ["job", *(["kind"] if size[0] == 200 else []), "state", "done", "left", "elapsed"][:5]
        )
        assert "25 min" in slow
        assert "17 min" in failed
        assert ("24.7 h" in failed) == (size[0] > 60)
        assert ("load model" in slow) == (size[0] == 200)
        assert all(cell_len(line) <= size[0] for line in (head, slow, failed))


async def test_times_go_on_while_nothing_else_changes():
    world = World(seen=JobsSeen((SLOW,), JobCourse(SLOW.name, heard=fakes.NOW - 30)))
    clock = [fakes.NOW]
    services = replace(world.services(), now=lambda: clock[0])
    async with ScreenApp(services, fakes.ROOT, fakes.FEATURES).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "running for 25 min")
        assert "nothing new" not in shown(pilot.app)
        clock[0] += 600
        await until(pilot, lambda: "running for 35 min" in shown(pilot.app))
        assert "nothing new for 10 min" in shown(pilot.app)


async def test_a_waiting_job_tells_how_long_it_has_waited():
    waiting = msgspec.structs.replace(
        SLOW, state="queued", started=None, queued=fakes.NOW - 420, note="It waits for a GPU.", progress=JobProgress()
    )
    async with World(seen=JobsSeen((waiting,), JobCourse(SLOW.name))).app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "waiting for 7 min")
        assert "It waits for a GPU." in shown(pilot.app)


async def test_the_shards_of_an_array_are_one_line():
    shards = [
        JobPart(f"shard {number}", state, kind="shard", number=number, why=why)
        for number, (state, why) in enumerate([("done", "")] * 3 + [("running", "")] * 2 + [("queued", "Priority")], 1)
    ]
    array = msgspec.structs.replace(
        fakes.RUNNING, parts=(*shards, JobPart("merge", "queued", kind="merge", why="Dependency"))
    )
    async with World(seen=JobsSeen((array,), fakes.COURSE)).app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "shards  3 of 6 done, 2 running, 1 waiting (Priority)")
        assert "merge  waiting (Dependency)" in shown(pilot.app)


async def test_all_of_a_job_is_reached_at_the_least_size():
    alarm = Alarm(
        "nan loss", "The loss is NaN since step 49.", 1.0, 2.0, 17_000, "loss nan", "alarm", "Lower the rate."
    )
    status = msgspec.structs.replace(fakes.RUNNING, alarms=(alarm,))
    async with World(seen=JobsSeen((status, fakes.FAILED), fakes.COURSE)).app().run_test(size=(60, 15)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "The loss is NaN since step 49.")
        assert "running !" in shown(pilot.app)
        await pilot.press("tab")
        await press_until(pilot, "z", "encode-bound")
        await press_until(pilot, "end", "--output-path")
        await press_until(pilot, "escape", "running !")
