"""Looking at run folders: states, the course of a job, and logs as a terminal would have left them."""

import json
import os
import time

import pytest

from fsgr_tui.core import jsontext
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.job import JobSpec
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.tui.watching import RunWatch, log_tail
from tests.fakes import screen as fakes


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FSGR_TUI_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def make_run(runs, status):
    run = RunFolder(runs / status.name)
    run.folder.mkdir(parents=True)
    run.spec.write_bytes(jsontext.encode(JobSpec(status.name, status.kind, ("true",), "/")))
    run.write_status(status)
    return run


def test_without_jobs_there_is_nothing_to_see(runs):
    seen = RunWatch().look("")
    assert (seen.statuses, seen.course) == ((), None)


def test_a_job_whose_runner_is_gone_is_interrupted(runs):
    make_run(runs, fakes.RUNNING)
    (status,) = RunWatch().look("").statuses
    assert status.state == "interrupted"
    assert status.cause.advice


def test_a_damaged_folder_does_not_hide_the_others(runs):
    make_run(runs, fakes.DONE)
    make_run(runs, fakes.FAILED).status.write_text("{")
    seen = RunWatch().look("")
    assert [status.name for status in seen.statuses] == [fakes.DONE.name]
    assert seen.unreadable == (fakes.FAILED.name,)


def test_the_course_follows_the_present_phase_and_reads_only_what_is_new(runs):
    run = make_run(runs, fakes.DONE)
    events, watch = EventWriter(str(run.events)), RunWatch()
    events.phase("load")
    events.progress(1, 10, 5.0)
    events.phase("extract")
    events.progress(1, 10, 100.0)
    assert watch.look(run.name).course.rates == (100.0,)
    events.progress(2, 10, 200.0)
    events.progress(3, 10, None)
    assert watch.look(run.name).course.rates == (100.0, 200.0)


def test_looking_at_another_job_begins_anew(runs):
    first, second = make_run(runs, fakes.DONE), make_run(runs, fakes.FAILED)
    EventWriter(str(first.events)).progress(1, 10, 100.0)
    second.log.write_text("a line\n")
    watch = RunWatch()
    assert watch.look(first.name).course.rates == (100.0,)
    course = watch.look(second.name).course
    assert (course.rates, course.log) == ((), ("a line",))


def test_two_looks_at_jobs_that_stand_still_are_equal(runs):
    run = make_run(runs, fakes.DONE)
    run.log.write_text("a line\n")
    watch = RunWatch()
    assert watch.look("") == watch.look("")


def test_outputs_are_those_of_extractions(runs):
    make_run(runs, fakes.DONE)
    make_run(runs, fakes.FAILED)
    assert RunWatch().look("").outputs == ("/data/features/coco.hdf5",)


def test_a_log_is_shown_as_a_terminal_would_have_left_it(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(
        b"begin\n 10%|#  |\r 50%|## |\r100%|###|\r\n\x1b[31mred\x1b[0m\ncut \xe4\xb8\n"
        + "训练集 [b]x[/b]".encode()
        + b"\n"
    )
    assert log_tail(log) == ("begin", "100%|###|", "\\x1b[31mred\\x1b[0m", "cut \ufffd", "训练集 [b]x[/b]")


def test_of_a_large_log_only_the_end_is_read(tmp_path):
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    tail = log_tail(log, size=1000, count=5)
    assert tail == tuple(f"line {number}" for number in range(99_995, 100_000))


def test_one_endless_line_of_progress_is_one_short_line(tmp_path):
    log = tmp_path / "log"
    log.write_text("\r".join(f"{number}%" for number in range(100_000)))
    assert log_tail(log) == ("99999%",)


def test_a_status_is_read_back_as_it_was(runs):
    run = make_run(runs, fakes.DONE)
    assert json.loads(run.status.read_text())["name"] == fakes.DONE.name
    assert RunWatch().look("").find(fakes.DONE.name) == fakes.DONE


def test_the_last_word_of_a_job_is_an_event_or_a_line(runs):
    run = make_run(runs, fakes.DONE)
    watch = RunWatch()
    assert watch.look(run.name).course.heard is None
    EventWriter(str(run.events)).phase("load")
    told_at = watch.look(run.name).course.heard
    assert abs(told_at - time.time()) < 60
    run.log.write_text("a line\n")
    os.utime(run.log, (told_at + 100, told_at + 100))
    assert watch.look(run.name).course.heard == told_at + 100
