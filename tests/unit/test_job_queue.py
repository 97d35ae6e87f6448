"""The queue: its order, what each job waits for, and moving one to the front."""

from __future__ import annotations

import json

import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.job_queue import Waits, in_order
from fsgr_tui.core.planfile import PlanStep
from fsgr_tui.jobs import control, turns
from fsgr_tui.jobs.folder import find_run
from fsgr_tui.service import queue, running
from tests.conftest import run_cli
from tests.fakes.jobs import end_all, ended, printed, started, wait_for

SLEEPING = "import time; print('on', flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def _no_job_stays(own_runs):
    yield
    end_all()


def waits(name, waiting, created=0.0, needs=(), **fields):
    status = JobStatus(name, "queued", "command", ("true",), f"/runs/{name}", waiting=waiting, **fields)
    return Waits(status, needs, (created, name))


def ordered(*jobs, holder="", running=()):
    open_jobs = {each.status.name: each.status for each in jobs}
    open_jobs |= {name: JobStatus(name, "running", "command", (), "/r") for name in running}
    return in_order(jobs, open_jobs, holder)


def test_what_has_had_its_turn_comes_first_and_what_needs_others_last():
    found = ordered(
        waits("check", "jobs", 1, ("extract",)),
        waits("train", "jobs", 0, ("check",)),
        waits("b", "queue", 5),
        waits("a", "queue", 6),
        waits("card", "gpu", 9, note="waits for a GPU. GPU 0: held by x"),
        waits("far", "", 0, backend="slurm", note="Priority"),
        holder="now",
        running=("now", "extract"),
    )
    assert [job.name for job in found] == ["card", "b", "a", "check", "train", "far"]
    assert [job.place for job in found] == [1, 2, 3, 4, 5, 6]
    assert [job.told for job in found] == [
        "waits for a GPU. GPU 0: held by x",
        "waits for its turn, behind now",
        "waits for its turn, behind now, b",
        "waits for extract",
        "waits for check",
        "Priority",
    ]


def test_a_job_whose_turn_it_is_waits_for_nobody():
    now, later = ordered(
        waits("now", "queue", 2, note="waits for its turn, behind x"), waits("later", "queue", 1), holder="now"
    )
    assert (now.behind, now.told) == ((), "begins in a moment")
    assert later.told == "waits for its turn, behind now"


def test_needs_that_run_in_a_circle_are_still_listed():
    assert len(ordered(waits("a", "jobs", 0, ("b",)), waits("b", "jobs", 0, ("a",)))) == 2


def test_a_moved_job_begins_first_and_the_others_follow():
    holder = started(SLEEPING, "holder", queue=True)
    printed(holder, "on")
    one, two = (started(SLEEPING, name, queue=True) for name in ("one", "two"))
    assert wait_for(lambda: [job.name for job in queue.queue()] == ["one", "two"])
    assert queue.queue()[1].behind == ("holder", "one")
    assert queue.to_front("two") == "two"
    assert [job.name for job in queue.queue()] == ["two", "one"]
    assert wait_for(lambda: "behind holder, two" in one.read_status().note)
    control.stop(holder, 0)
    printed(two, "on")
    assert one.read_status().state == "queued"
    control.stop(one)
    assert wait_for(lambda: queue.queue() == ())


def test_a_job_that_does_not_wait_cannot_be_moved():
    run = started("print(1)", "over")
    ended(run)
    with pytest.raises(BadRequest, match="over does not wait"):
        queue.to_front("over")
    assert not run.turn.exists()


def test_a_resumed_job_takes_its_old_place_and_not_the_one_it_was_moved_to():
    holder = started(SLEEPING, "holder", queue=True)
    printed(holder, "on")
    run = started(SLEEPING, "run", queue=True)
    turns.to_front(run)
    control.stop(run)
    control.resume(run, run.read_spec(), run.read_status())
    assert turns.order(run, run.read_spec()) == (run.read_spec().created, "run")


def test_a_job_may_be_started_in_front():
    holder = started(SLEEPING, "holder", queue=True)
    printed(holder, "on")
    started(SLEEPING, "one", queue=True)
    request = running.RunRequest(argv=("sleep", "60"), name="urgent", queue=True, first=True, gpu="none")
    running.start(running.prepare(request))
    assert wait_for(lambda: [job.name for job in queue.queue()] == ["urgent", "one"])


def test_the_steps_of_a_plan_in_front_keep_their_own_order():
    holder = started(SLEEPING, "holder", queue=True)
    printed(holder, "on")
    started(SLEEPING, "one", queue=True)
    steps = [PlanStep(name=name, argv=("sleep", "60")) for name in ("a", "b")]
    request = running.RunRequest(argv=(), name="p", queue=True, first=True, gpu="none")
    running.start_plan(running.prepare_plan(steps, request))
    assert wait_for(lambda: [job.name for job in queue.queue()] == ["p-a", "p-b", "one"])


@pytest.mark.slow
def test_the_command_lists_and_moves():
    assert run_cli("queue").stdout == "No job waits.\n"
    holder = started(SLEEPING, "holder", queue=True)
    printed(holder, "on")
    for name in ("one", "two"):
        started(SLEEPING, name, queue=True)
    assert wait_for(lambda: len(queue.queue()) == 2)
    assert "two begins before the others now." in run_cli("queue", "--first", "two").stdout
    listed = json.loads(run_cli("queue", "--json").stdout)
    assert [(job["name"], job["place"], job["waiting"]) for job in listed["jobs"]] == [
        ("two", 1, "queue"),
        ("one", 2, "queue"),
    ]
    assert run_cli("stop", "two").returncode == 0
    assert "two" not in run_cli("queue").stdout
    assert find_run("two").read_status().state == "stopped"
