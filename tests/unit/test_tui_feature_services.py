"""What the Features place asks, answered by the real services on real files."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from fsgr_tui.core.errors import BadRequest, Problem
from fsgr_tui.tui.services import real_services


def written(path, scale=1.0, seed=0):
    with h5py.File(path, "w") as file:
        for number in range(1, 51):
            row = np.random.default_rng(seed + number).standard_normal((49, 64)) * scale
            file.create_dataset(f"{number}_grids", data=row.astype(np.float16))
    return str(path)


def quiet(_step, _total):
    pass


@pytest.fixture
def services(tmp_path, monkeypatch):
    monkeypatch.setenv("FSGR_TUI_STATE", str(tmp_path / "state"))
    return real_services()


def test_a_check_is_recalled_until_the_file_changes(services, tmp_path):
    path = written(tmp_path / "a.hdf5")
    assert services.recall([path]) == {}
    report = services.check(path, "", quiet)
    assert services.recall([path])[path].outcome == report
    os.utime(path, ns=(1, 1))
    assert not services.recall([path])[path].current


def test_two_files_are_compared_and_a_comparison_ends_when_nobody_waits(services, tmp_path):
    a, b = written(tmp_path / "a.hdf5"), written(tmp_path / "b.hdf5", seed=100)
    steps = []
    found = services.compare(a, b, lambda step, total: steps.append((step, total)))
    assert not found.same
    assert steps[-1] == (50, 50)
    assert services.compare(a, written(tmp_path / "c.hdf5"), quiet).same

    def leave(_step, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        services.compare(a, b, leave)
    os.rename(a, b)
    with pytest.raises(Problem, match=r"a\.hdf5"):
        services.compare(a, b, quiet)


def test_an_image_is_looked_at_and_a_text_asks_for_a_file_whose_model_is_known(services, tmp_path):
    path = written(tmp_path / "a.hdf5")
    assert services.look(path, 0, None, "").kind == "norm"
    assert services.look(path, 1, (2, 3), "").kind == "similarity"
    with pytest.raises(BadRequest):
        services.look(path, 0, None, "a red ball")
