"""`fsgr-tui check` as users meet it: one line of verdict, no traceback, the exit code, whatever the file is."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import build_file, run_cli, smooth_rows

IDS = tuple(range(100, 140))


def of_rows(path: Path, rows) -> Path:
    with h5py.File(path, "w") as file:
        for image_id, row in zip(IDS, rows, strict=False):
            file[f"{image_id}_grids"] = row
    return path


def noisy(shape) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)


def every_fault(folder: Path) -> dict[Path, str]:
    """Files that must not be trained on, each with what has to be said of it."""
    whole = of_rows(folder / "whole.hdf5", smooth_rows(40)).read_bytes()
    named = {
        "cut.hdf5": (whole[:-4096], "4,096 are missing"),
        "page.hdf5": (b"<!DOCTYPE html><html>" + b" " * 3000, "HTML page"),
        "empty.hdf5": (b"", "an empty file"),
        "zeros.hdf5": (bytes(96), "begins with zeros"),
        "pointer.hdf5": (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
    }
    found = {}
    for name, (content, word) in named.items():
        (folder / name).write_bytes(content)
        found[folder / name] = word
    shapes = {
        (50, 768): "50 tokens = 49 + the class token",
        (197, 768): "197 tokens = 196 + the class token",
        (49, 512): "projected",
        (768, 49): "Transposed",
        (1, 49, 768): "extra batch axis",
    }
    for number, (shape, word) in enumerate(shapes.items()):
        found[of_rows(folder / f"shape{number}.hdf5", noisy(shape))] = word
    mixed = [*smooth_rows(30), *smooth_rows(10, tokens=64)]
    found[of_rows(folder / "mixed.hdf5", mixed)] = "30 of (49, 8); 10 of (64, 8)"
    found[of_rows(folder / "noise.hdf5", noisy((49, 768)))] = "look like random numbers"
    with h5py.File(folder / "other.hdf5", "w") as file:
        file["weights"] = np.zeros(3)
    found[folder / "other.hdf5"] = "no keys like 9_grids"
    return found


def test_every_fault_is_named_with_its_file_and_none_hides_the_others(tmp_path):
    faults = every_fault(tmp_path)
    good = build_file(tmp_path / "good.hdf5", IDS)
    done = run_cli("check", *map(str, faults), str(good))
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    verdicts = [line for line in done.stdout.splitlines() if line.startswith(("BAD", "GOOD"))]
    assert len(verdicts) == len(faults) + 1
    for line, (path, word) in zip(verdicts, faults.items(), strict=False):
        assert line.startswith("BAD")
        assert str(path) in line
        assert word in line
    assert verdicts[-1].startswith(f"GOOD  {good}")


def test_json_of_several_files_is_one_document(tmp_path):
    bad = of_rows(tmp_path / "bad.hdf5", noisy((49, 512)))
    good = build_file(tmp_path / "good.hdf5", IDS)
    done = run_cli("check", str(bad), str(good), "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["schema"]) == (1, "fsgr-tui/checks/1")
    assert [(file["path"], file["good"]) for file in told["files"]] == [(str(bad), False), (str(good), True)]
    alone = json.loads(run_cli("check", str(good), "--json", "--deep").stdout)
    assert (alone["schema"], alone["depth"]) == ("fsgr-tui/check/1", "deep: every row")


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        (("absent.hdf5",), "There is no file"),
        (("good.hdf5", "--recompute", "2"), "--image-root"),
        (("good.hdf5", "--image-root", "nowhere"), "nowhere"),
        (("good.hdf5", "--annotations", "nowhere.json"), "nowhere.json"),
        (("good.hdf5", "--like", "absent.hdf5"), "absent.hdf5"),
    ],
)
def test_a_wrong_command_is_refused_with_what_is_wrong(tmp_path, asked, word):
    build_file(tmp_path / "good.hdf5", IDS)
    done = run_cli("check", *asked, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr
    assert "Traceback" not in done.stderr
