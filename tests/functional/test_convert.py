"""`fsgr-tui convert` as users meet it: the real program, its table, its JSON, its exit codes, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from fsgr_tui.features.reader import FeatureFile
from tests.conftest import build_file, run_cli, smooth_rows

IDS = (9, 25, 30, 391895)


@pytest.fixture
def source(tmp_path) -> Path:
    return build_file(tmp_path / "source.hdf5", IDS)


def here(tmp_path) -> list[str]:
    return sorted(os.listdir(tmp_path))


@pytest.mark.parametrize(
    ("target", "more"),
    [
        ("t.packed.hdf5", ()),
        ("t.lmdb", ()),
        ("t.npz", ()),
        ("t.h5", ("--to", "legacy")),
        pytest.param("t.pt", (), marks=pytest.mark.torch),
    ],
)
def test_features_go_there_and_back(tmp_path, source, target, more):
    there = run_cli("convert", str(source), str(tmp_path / target), *more)
    assert there.returncode == 0, there.stderr
    back = run_cli("convert", str(tmp_path / target), str(tmp_path / "back.hdf5"), "--no-rates")
    assert back.returncode == 0, back.stderr
    assert (FeatureFile(tmp_path / "back.hdf5").read(IDS) == smooth_rows(len(IDS))).all()
    assert FeatureFile(tmp_path / "back.hdf5").manifest == FeatureFile(source).manifest
    assert run_cli("check", str(tmp_path / "back.hdf5"), "--deep").returncode == 0
    assert here(tmp_path) == sorted(["source.hdf5", target, "back.hdf5"])


def test_the_table_tells_size_and_speed_of_both_sides(tmp_path, source):
    done = run_cli("convert", str(source), str(tmp_path / "t.npz"))
    assert "4 rows of 49 x 8 float16; every row was read back and compared" in done.stdout
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.startswith("  ")}
    assert {"source", "target"} <= lines.keys()
    for name, kind in (("source", "hdf5"), ("target", "npz")):
        assert lines[name][1] == kind
        assert float(lines[name][-2].replace(",", "")) > 100


def test_json_is_one_document_with_the_measured_numbers(tmp_path, source):
    done = run_cli("convert", str(source), str(tmp_path / "t.lmdb"), "--dtype", "float32", "--json")
    told = json.loads(done.stdout)
    assert (told["schema"], told["state"], told["exit_code"], told["cause"]) == ("fsgr-tui/convert/1", "done", 0, None)
    report = told["report"]
    assert (report["rows"], report["row_shape"]) == (4, [49, 8])
    assert (report["source"]["dtype"], report["target"]["dtype"]) == ("float16", "float32")
    size = (tmp_path / "t.lmdb" / "data.mdb").stat().st_blocks * 512
    assert size <= report["target"]["disk_bytes"] <= size + 8192
    # Ratios are to the bytes of each side's own type.
    assert report["target"]["ratio"] == pytest.approx(report["target"]["disk_bytes"] / (4 * 49 * 8 * 4), abs=1e-3)
    assert report["target"]["rows_per_s"] > 100


def test_no_rates_are_measured_when_they_are_not_wanted(tmp_path, source):
    told = json.loads(run_cli("convert", str(source), str(tmp_path / "t.npz"), "--no-rates", "--json").stdout)
    assert (told["report"]["source"]["rows_per_s"], told["report"]["target"]["rows_per_s"]) == (None, None)


def test_a_fault_found_on_the_way_is_told_in_json_too(tmp_path):
    rows = np.full((2, 49, 8), 70000, np.float32)
    source = build_file(tmp_path / "source.hdf5", (9, 25), rows, dtype="float32")
    asked = ("convert", str(source), str(tmp_path / "t.npz"), "--dtype", "float16")
    done = run_cli(*asked, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert (told["schema"], told["state"], told["report"]) == ("fsgr-tui/convert/1", "failed", None)
    assert "image 9 holds 70000" in told["cause"]["text"]
    plain = run_cli(*asked)
    assert (plain.returncode, plain.stdout) == (1, "")
    assert "image 9 holds 70000" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert here(tmp_path) == ["source.hdf5"]


def test_an_existing_target_is_kept_unless_it_may_be_replaced(tmp_path, source):
    other = build_file(tmp_path / "other.hdf5", (1, 2))
    refused = run_cli("convert", str(source), str(other))
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    assert FeatureFile(other).ids.tolist() == [1, 2]
    assert run_cli("convert", str(source), str(other), "--overwrite", "--no-rates").returncode == 0
    assert FeatureFile(other).ids.tolist() == list(IDS)


@pytest.mark.parametrize(
    ("source_name", "target", "code", "told"),
    [
        ("source.hdf5", "t.bin", 2, "does not tell the format"),
        ("absent.hdf5", "t.npz", 2, "There is no file"),
        ("page.hdf5", "t.npz", 1, "HTML page"),
        ("empty", "t.hdf5", 1, "holds no features"),
        ("source.hdf5", "source.hdf5", 2, "source and target at once"),
    ],
)
def test_what_cannot_be_converted_is_refused_before_any_work(tmp_path, source, source_name, target, code, told):
    (tmp_path / "page.hdf5").write_text("<!DOCTYPE html><html>")
    (tmp_path / "empty").mkdir()
    before = here(tmp_path)
    done = run_cli("convert", str(tmp_path / source_name), str(tmp_path / target), env={"FSGR_TUI_RUNS": str(tmp_path)})
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    # No job was started, and nothing was made.
    assert here(tmp_path) == before


def test_a_file_of_the_fields_habit_becomes_one_of_ours(tmp_path):
    rows = smooth_rows(3)
    with h5py.File(tmp_path / "theirs.hdf5", "w") as file:
        for image_id, row in zip((9, 25, 30), rows, strict=True):
            file.create_dataset(f"{image_id}_grids", data=row, compression="gzip", compression_opts=4)
    done = run_cli("convert", str(tmp_path / "theirs.hdf5"), str(tmp_path / "ours.hdf5"))
    assert done.returncode == 0, done.stderr
    assert FeatureFile(tmp_path / "ours.hdf5").layout.contiguous
    with h5py.File(tmp_path / "ours.hdf5") as file:
        assert (file["25_grids"][()] == rows[1]).all()


def test_a_missing_package_is_named_with_the_extra_that_brings_it(tmp_path, source):
    # A finder that denies the package stands for an installation without it.
    code = (
        "import importlib.util as util, sys; real = util.find_spec;"
        "util.find_spec = lambda name, *rest: None if name == 'lmdb' else real(name, *rest);"
        "from fsgr_tui.cli.app import run; sys.exit(run(sys.argv[1:]))"
    )
    argv = ("convert", str(source), str(tmp_path / "t.lmdb"))
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "fsgr-tui[convert]" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_conversion_leaves_nothing_and_says_so(tmp_path, number, code):
    rows = np.random.default_rng(0).normal(size=(600, 49, 768)).astype(np.float16)
    source = build_file(tmp_path / "source.hdf5", range(600), rows, width=768)
    argv = [sys.executable, "-m", "fsgr_tui", "convert", str(source), str(tmp_path / "t.hdf5"), "--to", "legacy"]
    program = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not (tmp_path / "t.hdf5.draft" / "content").exists() and time.monotonic() < until:
        time.sleep(0.01)
    program.send_signal(number)
    out, err = program.communicate(timeout=60)
    assert (program.returncode, out) == (code, "")
    assert "nothing has the target's name" in err
    assert here(tmp_path) == ["source.hdf5"]
