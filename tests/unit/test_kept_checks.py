"""Checks are remembered by both faces, for as long as the file is the one that was checked."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.service import kept_checks
from fsgr_tui.service.checking import CheckRequest
from tests.conftest import run_cli


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("FSGR_TUI_STATE", str(tmp_path / "state"))


@pytest.fixture
def features(tmp_path):
    path = tmp_path / "a\udce9.hdf5"
    with h5py.File(os.fsencode(path), "w") as file:
        for number in range(3):
            row = np.random.default_rng(number).standard_normal((49, 64)).astype(np.float16)
            file.create_dataset(f"{number + 1}_grids", data=row)
    return str(path)


def check(path, **asked):
    return kept_checks.check(CheckRequest(path=path, **asked))


def test_a_check_is_remembered_whole(features):
    report = check(features)
    past = kept_checks.recall([features, "/nowhere.hdf5"])
    assert past.keys() == {features}
    assert past[features].outcome == report
    assert past[features].current
    assert past[features].good == report.good


def test_a_shell_feeds_the_same_memory(features, tmp_path):
    run_cli("check", features, env={"FSGR_TUI_STATE": str(tmp_path / "state")})
    assert kept_checks.recall([features])[features].current


@pytest.mark.parametrize("change", ["content", "time", "another file"])
def test_a_file_that_changed_is_no_longer_the_one_that_was_checked(features, change, tmp_path):
    check(features)
    before = os.stat(features)
    if change == "content":
        with h5py.File(os.fsencode(features), "a") as file:
            file.create_dataset("9_grids", data=np.zeros((49, 64), np.float16))
        os.utime(features, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "time":
        os.utime(features, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    else:
        copy = tmp_path / "copy"
        copy.write_bytes(Path(features).read_bytes())
        os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
        copy.replace(features)
    assert not kept_checks.recall([features])[features].current


def test_what_is_no_feature_file_is_remembered_with_its_remedy(tmp_path):
    page = tmp_path / "page.hdf5"
    page.write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(FoundFaults) as told:
        check(str(page))
    past = kept_checks.recall([str(page)])[str(page)]
    assert not past.good
    assert (past.outcome.what, past.outcome.fix) == (told.value.what, told.value.fix)


def test_a_check_for_one_purpose_only_is_not_remembered(features):
    check(features, trained_with={"grid": "7x7"})
    assert kept_checks.recall([features]) == {}


def test_a_file_that_changed_while_it_was_checked_is_not_remembered(features):
    def tell(_step, _total):
        os.utime(features, ns=(1, 1))

    kept_checks.check(CheckRequest(path=features), tell)
    assert kept_checks.recall([features]) == {}


def test_only_so_many_are_kept_and_the_newest(features, monkeypatch, tmp_path):
    monkeypatch.setattr(kept_checks, "FILES_KEPT", 2)
    paths = [features]
    for name in "bc":
        paths.append(str(tmp_path / f"{name}.hdf5"))
        os.link(features, paths[-1])
    for path in (*paths, paths[1]):
        check(path)
    assert list(kept_checks.recall(paths)) == paths[1:]


@pytest.mark.parametrize("body", [b"", b"{", b'[{"path": "x"}]'])
def test_a_damaged_memory_is_an_empty_one(features, body):
    kept_checks.place().parent.mkdir()
    kept_checks.place().write_bytes(body)
    assert kept_checks.recall([features]) == {}
    check(features)
    assert features in kept_checks.recall([features])


def test_a_state_folder_that_cannot_be_written_costs_the_memory_only(features, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FSGR_TUI_STATE", str(tmp_path / "file"))
    assert check(features).images == 3
    assert kept_checks.recall([features]) == {}
