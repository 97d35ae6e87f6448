"""How jobs stand, as rows: the words, the times, and a table that fits its terminal."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from fsgr_tui.cli import job_table
from fsgr_tui.core import job_words
from fsgr_tui.core.job import Cause, JobProgress, JobStatus

NOW = 1_764_000_000.0


def status(name="extract-1125-164612-ab12", state="running", **fields):
    return JobStatus(name, state, "extract", ("fsgr-tui", "extract"), f"/runs/{name}", **fields)


RUNNING = status(
    started=NOW - 3000,
    queued=NOW - 9000,
    progress=JobProgress("extract", 1204, 5000, 87.3, "images", eta_s=720.0, bottleneck="The GPU waits."),
)
ENDED = status(
    "训练-" * 12,
    "failed",
    started=NOW - 7000,
    ended=NOW - 6000,
    exit_code=1,
    cause=Cause("oom", "The GPU had no memory left for the batch of 128 images, which the log says in line 12."),
)
QUEUED = status("train-1125-164700-cd34", "queued", queued=NOW - 90, note="waits for extract-1125-164612-ab12")


def test_elapsed_runs_on_until_the_job_ends():
    assert RUNNING.elapsed_s(NOW) == 3000
    assert ENDED.elapsed_s(NOW) == 1000
    assert QUEUED.elapsed_s(NOW) is None
    assert RUNNING.elapsed_s(NOW - 9999) == 0


def test_age_is_since_the_end_or_since_it_was_queued():
    assert ENDED.age_s(NOW) == 6000
    assert QUEUED.age_s(NOW) == 90
    assert RUNNING.age_s(NOW) is None


def test_an_interrupted_job_ran_until_its_last_sign_of_life():
    lost = status(state="interrupted", started=NOW - 500, heartbeat=NOW - 400)
    assert (lost.elapsed_s(NOW), lost.age_s(NOW)) == (100, 400)


def test_a_row_tells_all_of_a_running_job():
    assert job_words.row(RUNNING, NOW) == job_words.JobRow(
        "extract-1125-164612-ab12", "running", "24%", "12 min", "50 min", "", "87 images/s",
        "extract  1,204/5,000 images",
    )  # fmt: skip


def test_rows_of_jobs_that_ended_or_wait_say_why():
    assert job_words.row(ENDED, NOW).told.startswith("The GPU had no memory")
    assert job_words.row(QUEUED, NOW)[-1] == "waits for extract-1125-164612-ab12"
    assert job_words.row(status(state="done", exit_code=0), NOW).told == ""
    assert job_words.row(status(state="done", exit_code=1), NOW).told == "exit code 1"


def test_left_is_to_the_end_of_all_epochs_where_they_are_counted():
    progress = JobProgress("epoch 1 of 20", 5, 10, 1.0, "it", 5.0, epoch=1, epochs=20, whole_eta_s=3600.0)
    assert job_words.row(status(progress=progress), NOW).left == "60 min"


def test_the_document_has_the_fields_and_both_times():
    told = job_words.document(RUNNING, NOW)
    assert (told["state"], told["elapsed_s"], told["age_s"]) == ("running", 3000, None)


@pytest.mark.parametrize("width", [*range(30, 130), 200])
def test_no_row_is_wider_than_its_terminal(width):
    rows = [job_words.row(each, NOW) for each in (RUNNING, ENDED, QUEUED)]
    lines = job_table.lines(rows, width)
    assert len(lines) == 4
    assert max(map(cell_len, lines)) <= width


def test_sixty_columns_hold_name_state_progress_and_time_left():
    heads, row, _ = job_table.lines([job_words.row(each, NOW) for each in (RUNNING, QUEUED)], 60)
    assert heads.split() == ["job", "state", "done", "left", "elapsed"]
    assert row.split() == ["extract-1125-164612-ab12", "running", "24%", "12", "min", "50", "min"]


def test_a_wide_terminal_shows_elapsed_and_age():
    heads, *_ = job_table.lines([job_words.row(each, NOW) for each in (RUNNING, QUEUED)], 140)
    assert heads.split() == ["job", "state", "done", "left", "elapsed", "age", "how", "it", "stands"]


def test_a_pipe_gets_everything_whole():
    (_, line) = job_table.lines([job_words.row(ENDED, NOW)], None)
    assert line.endswith("which the log says in line 12.")


def test_columns_in_which_nothing_stands_are_left_out():
    heads, _ = job_table.lines([job_words.row(status(state="done", exit_code=0), NOW)], 140)
    assert heads.split() == ["job", "state"]
