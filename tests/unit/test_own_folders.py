"""Tests leave the user's own folders alone: what lies there would change their results, and theirs would change his."""

from __future__ import annotations

import os

from fsgr_tui.jobs.folder import runs_dir
from fsgr_tui.probes.counts import CountMemory
from fsgr_tui.probes.dataset import probe_split
from fsgr_tui.service.calibration import calibrations_dir
from fsgr_tui.tui import remembered


def test_jobs_calibrations_counts_and_the_screens_memory_of_a_test_are_its_own(own_runs, tmp_path):
    (tmp_path / "train2014").mkdir()
    (tmp_path / "train2014" / "000000000009.jpg").touch()
    os.utime(tmp_path / "train2014", (1, 1))
    probe_split(tmp_path, "train2014", CountMemory())
    counts = list(own_runs.parent.glob("cache/fsgr-tui/counts/*.json"))
    assert len(counts) == 1
    for folder in (runs_dir(), calibrations_dir(), remembered.place()):
        assert own_runs.parent in folder.parents
