"""Waiting: for other jobs, for a turn, for a GPU that neither another job nor other people's programs use."""

from __future__ import annotations

import os
import signal

import pytest

from fsgr_tui.core import jsontext
from fsgr_tui.core.job import GpuWish
from fsgr_tui.core.machine import GpuReport
from fsgr_tui.jobs import control, gpus, waiting
from fsgr_tui.jobs.folder import runner_pid
from tests.fakes.jobs import end_all, ended, fake_gpus, printed, started, wait_for

SLEEPING = "import os, time; print(os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def _no_job_stays(own_runs):
    yield
    end_all()


def report(command) -> GpuReport:
    return gpus.ask(command, os.environ)


def noted(run, text):
    """Whether the job says what it waits for."""
    return wait_for(lambda: text in run.read_status().note)


def test_a_step_waits_for_the_one_it_needs():
    first = started("import time; time.sleep(0.7); print('first')", "first")
    second = started("import time; print(time.time())", "second", needs=["first"])
    assert noted(second, "waits for first")
    assert (second.read_status().state, second.read_status().waiting) == ("queued", "jobs")
    assert ended(second).state == "done"
    assert float(second.log.read_text()) > first.read_status().ended


def test_a_failure_stops_the_chain_and_names_the_step_that_failed():
    first = started("import time; time.sleep(0.3); raise SystemExit(4)", "first")
    second = started("print('never')", "second", needs=["first"])
    third = started("print('never')", "third", needs=["second"])
    status = ended(third)
    assert first.read_status().state == "failed"
    assert (status.state, status.exit_code, status.cause.kind) == ("stopped", 1, "need")
    assert status.cause.text == ended(second).cause.text
    assert status.cause.text.startswith("first, which had to end well first, ended with exit code 4")
    assert "fsgr-tui resume first" in status.cause.advice
    assert third.log.read_bytes() == b""


def test_a_step_whose_need_was_deleted_does_not_wait_for_ever():
    run = started("print('never')", needs=["not-there"])
    assert "not-there" in ended(run).cause.text


def test_a_waiting_job_can_be_stopped():
    started(SLEEPING, "first")
    second = started("print('never')", "second", needs=["first"])
    assert noted(second, "waits for first")
    status = control.stop(second, 5)
    assert (status.state, status.exit_code, status.cause.text) == ("stopped", 143, "Stopped before it began.")


def test_a_waiting_job_whose_runner_is_killed_is_interrupted():
    started(SLEEPING, "first")
    second = started("print('never')", "second", needs=["first"])
    assert noted(second, "waits for first")
    os.kill(runner_pid(second), signal.SIGKILL)
    assert wait_for(lambda: second.read_status().state == "interrupted")


@pytest.mark.slow
def test_jobs_of_the_queue_run_one_after_the_other_in_their_order():
    code = "import time; print(time.time()); time.sleep(0.4); print(time.time())"
    runs = [started(code, f"q{number}", queue=True) for number in range(3)]
    for run in runs:
        assert ended(run).state == "done"
    times = [float(word) for run in runs for word in run.log.read_text().split()]
    assert times == sorted(times)


@pytest.mark.slow
def test_two_jobs_do_not_land_on_one_card(tmp_path):
    wish = GpuWish(fake_gpus(tmp_path, {"index": 0}, {"index": 1}))
    one, two, three = (started(SLEEPING, name, gpu=wish) for name in ("one", "two", "three"))
    seen = {printed(one, "GPU-"), printed(two, "GPU-")}
    assert seen == {"GPU-0000-aaaa\n", "GPU-0001-aaaa\n"}
    assert one.read_status().gpus == (printed(one, "GPU-").strip(),)
    assert noted(three, "held by one")
    assert "held by two" in three.read_status().note
    control.stop(one, 0)
    assert printed(three, "GPU-") == one.log.read_text()


def test_a_card_that_other_peoples_programs_fill_is_not_chosen(tmp_path):
    wish = GpuWish(fake_gpus(tmp_path, {"index": 0, "free": 3}, {"index": 1, "free": 15.9}))
    assert printed(started(SLEEPING, gpu=wish), "GPU-") == "GPU-0001-aaaa\n"
    waits = started(SLEEPING, gpu=wish)
    assert noted(waits, "GPU 0: other programs use 13.0 GiB of 16.0 GiB")


def test_a_job_starts_when_the_card_is_empty_again(tmp_path, monkeypatch):
    wish = GpuWish(fake_gpus(tmp_path, {"index": 0, "free": 3}))
    run = started("print(1)", gpu=wish)
    assert noted(run, "other programs use")
    control.stop(run, 0)
    fake_gpus(tmp_path, {"index": 0})
    seats = gpus.take(report(wish.ask), wish, run.locks, "next")
    assert seats.uuids == ("GPU-0000-aaaa",)


def test_without_waiting_a_job_ends_with_the_machines_exit_code(tmp_path):
    status = ended(started("print('never')", gpu=GpuWish(fake_gpus(tmp_path, {"index": 0, "free": 1}), wait=False)))
    assert (status.state, status.exit_code, status.cause.kind) == ("failed", 3, "gpu")


def test_a_wish_that_no_wait_fulfils_ends_at_once(tmp_path):
    status = ended(started("print('never')", gpu=GpuWish(fake_gpus(tmp_path, {"index": 0}), named=("3",))))
    assert (status.exit_code, status.cause.text) == (3, "There is no GPU 3 here; there are: 0 (Tesla V100).")


def test_the_card_of_an_orphan_stays_taken(tmp_path):
    wish = GpuWish(fake_gpus(tmp_path, {"index": 0}))
    run = started(SLEEPING, "orphan", gpu=wish)
    printed(run, "GPU-")
    os.kill(runner_pid(run), signal.SIGKILL)
    assert wait_for(lambda: run.read_status().life == "orphaned")
    assert gpus.take(report(wish.ask), wish, run.locks, "next").why_not == "GPU 0: held by orphan"
    control.stop(run, 0)
    assert wait_for(lambda: gpus.take(report(wish.ask), wish, run.locks, "next").uuids)


def test_several_cards_are_taken_together_or_not_at_all(tmp_path):
    command = fake_gpus(tmp_path, {"index": 0}, {"index": 1}, {"index": 2, "free": 1})
    both = gpus.take(report(command), GpuWish(command, count=2), tmp_path, "both")
    assert both.uuids == ("GPU-0000-aaaa", "GPU-0001-aaaa")
    for lock in both.locks:
        os.close(lock)
    three = gpus.take(report(command), GpuWish(command, count=3), tmp_path, "three")
    assert (three.uuids, three.locks, three.never) == ((), (), False)
    assert gpus.take(report(command), GpuWish(command), tmp_path, "one").uuids


@pytest.mark.parametrize("command", [("false",), ("/no/such",), ("echo", "{")])
def test_a_driver_that_gives_no_answer_is_asked_again_later(command):
    asked = gpus.ask(command, os.environ)
    assert asked.status == "error"
    assert gpus.impossible(asked, GpuWish(command)) == ""


def test_a_driver_that_hangs_is_left_behind(monkeypatch):
    monkeypatch.setattr(gpus, "ASK_S", 0.2)
    assert "no answer within 0.2 s" in gpus.ask(("sleep", "30"), os.environ).message


def test_a_report_keeps_its_unknowns(tmp_path):
    (tmp_path / "r.json").write_bytes(jsontext.encode(GpuReport("no_driver", message="no NVIDIA driver here")))
    asked = gpus.ask(("cat", str(tmp_path / "r.json")), os.environ)
    assert gpus.impossible(asked, GpuWish(())) == "There is no GPU to be had here: no NVIDIA driver here."
    assert waiting.ASK_S > 1
