"""What a real Slurm does to a job by itself: its timer, and preemption by priority."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")

from fsgr_tui.core.job import JobStatus
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.jobs.processes import find
from tests.fakes.jobs import wait_for
from tests.slurm.real import start_now
from tests.slurm.test_slurm_extraction import IMAGES, LONG_S, at_work, ids, is_whole, many, submit, until

__all__ = ["many"]

pytestmark = [pytest.mark.slow, pytest.mark.torch]

TURNS = 6
TURN_S = 240.0
"""Slurm looks at time limits every 30 s."""


def over(run: RunFolder, turn: int) -> JobStatus:
    """The status once a turn has ended, for good or back into the queue."""
    assert wait_for(lambda: at_work(run, 1) and run.recorded_status().attempt == turn, LONG_S), run.recorded_status()
    return until(run, lambda status: status.ended_for_good or status.state == "queued", TURN_S)


def test_slurms_own_timer_signals_work_that_is_longer_than_the_limit_and_it_still_ends_whole(slurm, many, tmp_path):
    """A real tower on one thread needs more than the two minutes; nobody but Slurm tells the job that they are over."""
    profile = "[short]\ntime = '2m'\nsignal_s = 30\ngpus = 0\ncpus = 1\nsetup = ['export OMP_NUM_THREADS=1']\n"
    (tmp_path / "slurm.toml").write_text(profile)
    output = tmp_path / "f.hdf5"
    run = submit(many, output, "--clip-model", "ViT-B/16", "--profile", "short")
    job = str(ids(run)["extract"])
    assert slurm.call("squeue", "-h", "-j", job, "-o", "%l").strip() == "2:00"
    turns = 1
    while not over(run, turns).ended_for_good:
        turns += 1
        assert turns <= TURNS
        start_now(slurm, job)
    status = run.recorded_status()
    assert (status.state, status.exit_code, status.attempt) == ("done", 0, turns), status
    assert turns >= 2
    for number in range(1, turns):
        kept = json.loads((run.folder / f"attempt-{number}/status.json").read_text())
        assert 0 < kept["progress"]["step"] < IMAGES
    assert len(FeatureFile(output)) == IMAGES


def test_a_job_that_has_to_make_room_for_one_of_higher_priority_goes_on_and_ends_whole(slurm, many, tmp_path):
    (tmp_path / "slurm.toml").write_text("[cheap]\npartition = 'scavenge'\ntime = '30m'\n")
    output = tmp_path / "f.hdf5"
    run = submit(many, output, "--profile", "cheap")
    job = str(ids(run)["extract"])
    assert wait_for(lambda: at_work(run), LONG_S)
    child = run.recorded_status().child_pid
    greater = slurm.call(
        "sbatch", "--parsable", "--partition=main", "--nodes=2", "--exclusive", f"--chdir={tmp_path}", "--wrap=sleep 2"
    ).strip()
    status = until(run, lambda status: status.state == "queued")
    assert (status.cause, status.exit_code) == (None, None)
    assert wait_for(
        lambda: slurm.call("squeue", "-h", "-t", "all", "-j", greater, "-o", "%T").strip() == "COMPLETED", 60
    )
    assert wait_for(lambda: find(child) is None, 10)
    start_now(slurm, job)
    status = until(run, lambda status: status.ended_for_good)
    assert (status.state, status.exit_code, status.attempt) == ("done", 0, 2), status
    assert "were finished before" in run.events.read_text()
    assert is_whole(output, many)
