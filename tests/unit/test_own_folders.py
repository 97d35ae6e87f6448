"""Tests leave the user's own folders alone: what lies there would change their results, and theirs would change his."""

from __future__ import annotations

import os

from fsgr_tui.jobs.folder import runs_dir
from fsgr_tui.probes.counts import CountMemory
from fsgr_tui.probes.dataset import probe_split
from fsgr_tui.service import kept_checks
from fsgr_tui.service.calibration import calibrations_dir
from fsgr_tui.tui import remembered


def test_jobs_calibrations_counts_and_the_screens_memory_of_a_test_are_its_own(own_runs, tmp_path):
    (tmp_path / "train2014").mkdir()
    (tmp_path / "train2014" / "000000000009.jpg").touch()
    os.utime(tmp_path / "train2014", (1, 1))
    probe_split(tmp_path, "train2014", CountMemory())
    counts = list(own_runs.parent.glob("cache/fsgr-tui/counts/*.json"))
    assert len(counts) == 1
    for folder in (runs_dir(), calibrations_dir(), kept_checks.place(), remembered.place()):
        assert own_runs.parent in folder.parents


def test_without_a_folder_of_its_own_all_of_it_is_in_one_state_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("FSGR_TUI_RUNS")
    monkeypatch.setenv("FSGR_TUI_STATE", str(tmp_path))
    assert {place.parent for place in (runs_dir(), calibrations_dir(), kept_checks.place(), remembered.place())} == {
        tmp_path
    }
    monkeypatch.delenv("FSGR_TUI_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert remembered.place().parent == runs_dir().parent == tmp_path / "xdg" / "fsgr-tui"
