"""The whole way of a lab: a checkout that is integrated, trained with the lab's Python under the runner, and watched."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.conftest import run_cli
from tests.fakes.checkout import lab_python, write_checkout

IDS = range(1, 41)


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A folder with a checkout that has a Python of its own, annotations, and features of all but image 40."""
    place = tmp_path_factory.mktemp("place")
    lab_python(write_checkout(place / "lab"))
    (place / "ann").mkdir()
    for split in ("train", "val"):
        told = {
            "images": [{"id": number, "file_name": f"COCO_{split}2014_{number:012d}.jpg"} for number in IDS],
            "annotations": [{"id": 1000 + number, "image_id": number, "caption": "a cat"} for number in IDS],
        }
        (place / "ann" / f"captions_{split}2014.json").write_text(json.dumps(told))
    for name in ("train", "restval", "dev", "test"):
        np.save(place / "ann" / f"coco_{name}_ids.npy", np.array([1000 + number for number in IDS]))
    rng = np.random.default_rng(0)
    for name, ids in (("all", IDS), ("part", IDS[:-1])):
        with h5py.File(place / f"{name}.hdf5", "w") as file:
            for number in ids:
                file[f"{number}_grids"] = rng.normal(size=(49, 16)).astype(np.float16)
    return place


def train(lab: Path, *more: str, features: str = "all.hdf5"):
    return run_cli(
        "train", "--repo", "lab", "--features-path", features, "--annotation-folder", "ann", "--batch-size", "8", *more, cwd=lab
    )  # fmt: skip


def test_the_lab_has_no_package_of_this_program(lab):
    done = subprocess.run(
        [lab / "lab" / "venv" / "bin" / "python", "-c", "import h5py, fsgr_tui"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "No module named 'fsgr_tui'" in done.stderr


def test_before_the_integration_nothing_is_started_and_the_way_is_named(lab, own_runs):
    done = train(lab, "--use_hdf5_features", "--no-preflight")
    assert (done.returncode, done.stdout) == (2, "")
    assert "train_transformer.py does not know --use_hdf5_features" in done.stderr
    assert "fsgr-tui integrate lab" in done.stderr
    assert list(own_runs.iterdir()) == []


@pytest.mark.slow
def test_an_integrated_checkout_trains_under_the_runner_and_its_progress_is_read(lab, own_runs):
    assert run_cli("integrate", "lab", "--apply", cwd=lab).returncode == 0
    started = train(lab, "--epochs", "6", "--no-preflight", "--detach")
    assert started.returncode == 0, started.stderr
    name = started.stdout.strip()
    seen = []
    status = {}
    until = time.monotonic() + 60
    while status.get("state") not in ("done", "failed") and time.monotonic() < until:
        status = read(own_runs / name)
        seen.append(status.get("progress", {}))
        time.sleep(0.1)
    assert (status["state"], status["exit_code"], status["kind"]) == ("done", 0, "train"), log(own_runs / name)
    assert status["command"][:3] == ["fsgr-tui", "train", "--repo"]
    last = status["progress"]
    assert (last["step"], last["total"]) == (5, 5)
    assert "Epoch 5" in last["phase"]
    assert any(progress.get("step", 0) > 0 for progress in seen[:-1])
    assert status["metrics"]["loss"] == pytest.approx(4.0 / (1 + 5 + 4 / 5), abs=1e-3)
    # The features went through the field, and the script ran where its own paths start.
    assert (lab / "lab" / "save_models" / "fsgr_precomputed_last.pth").read_text() == f"(49, 16) {lab / 'lab'}"


def read(run: Path) -> dict:
    return json.loads((run / "status.json").read_bytes())


def log(run: Path) -> str:
    return (run / "log").read_text(errors="replace")


@pytest.mark.slow
def test_an_image_without_features_ends_the_training_with_its_name(lab):
    run_cli("integrate", "lab", "--apply", cwd=lab)
    done = train(lab, "--epochs", "1", "--no-preflight", "--json", features="part.hdf5")
    assert done.returncode == 1
    status = json.loads(done.stdout)
    assert status["state"] == "failed"
    assert "40_grids" in log(Path(status["folder"]))
    assert str(lab / "part.hdf5") in log(Path(status["folder"]))


@pytest.mark.slow
def test_the_preflight_finds_the_missing_image_and_a_dry_run_prints_the_command(lab, own_runs):
    run_cli("integrate", "lab", "--apply", cwd=lab)
    done = train(lab, "--dry-run", features="part.hdf5")
    assert done.returncode != 0
    assert "1 of 40 are missing: 40" in done.stderr
    assert "nothing was started" in done.stderr
    bin_folder = lab / "lab" / "venv" / "bin"
    assert done.stdout.startswith(
        f'cd {lab / "lab"} &&\nPATH={bin_folder}:"$PATH" {bin_folder / "python"} train_transformer.py'
    )
    assert f"--features_path {lab / 'part.hdf5'}" in done.stdout
    assert list(own_runs.iterdir()) == []


@pytest.mark.slow
def test_the_printed_command_is_the_one_that_a_shell_runs(lab):
    run_cli("integrate", "lab", "--apply", cwd=lab)
    printed = train(lab, "--epochs", "1", "--exp-name", "by hand", "--dry-run", "--no-preflight")
    assert printed.returncode == 0, printed.stderr
    subprocess.run(["bash", "-c", printed.stdout], check=True, capture_output=True, timeout=60)
    assert (lab / "lab" / "save_models" / "by hand_last.pth").exists()


def test_a_dry_run_as_json_is_one_document(lab):
    run_cli("integrate", "lab", "--apply", cwd=lab)
    done = train(lab, "--dry-run", "--no-preflight", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["schema"], document["mode"]) == (0, "fsgr-tui/lab-command/1", "precomputed")
    assert document["argv"][1] == "train_transformer.py"


def test_wrong_words_exit_with_2(lab):
    for words, said in (
        (("train", "--repo"), "requires an argument"),
        (("train", "--repo", "absent", "--features_path", "all.hdf5"), "There is no checkout absent"),
        (("train", "--repo", "ann", "--features_path", "all.hdf5"), "has no train_transformer.py"),
        (("train", "--repo", "lab", "--python", "ann", "--features_path", "all.hdf5", "--no-preflight"), "is a folder"),
    ):
        done = run_cli(*words, cwd=lab)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
