"""`fsgr-tui bench` as users meet it: the real program on a small tower and a few pictures."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsgr_tui.core.bench import scratch_pid
from fsgr_tui.core.calibration import read_calibration
from fsgr_tui.core.jsontext import encode
from fsgr_tui.core.machine import GpuReport, Machine
from fsgr_tui.core.units import Estimate
from fsgr_tui.probes.host import probe_host
from fsgr_tui.service import calibration as service
from tests.conftest import run_cli
from tests.fakes.calibration import keep, make_calibration

RATES = ("decode", "decode_one", "encode", "extract", "write_bytes_per_s", "read", "realtime", "precomputed")


@pytest.fixture(scope="module")
def measured(demo_root, tmp_path_factory):
    """A measurement of the demo tower on the demo pictures: (state folder, folder it ran in, the program's answer)."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("bench")
    argv = [
        "bench", "--image-root", str(demo_root / "images"), "--annotation-folder", str(demo_root / "m2_annotations"),
        "--clip-model", "fsgr-demo-16", "--device", "cpu", "--seconds", "5", "--json",
    ]  # fmt: skip
    env = {"FSGR_TUI_STATE": str(folder / "state"), "FSGR_TUI_RUNS": str(folder / "runs")}
    (folder / "work").mkdir()
    return folder / "state", folder / "work", run_cli(*argv, cwd=folder / "work", env=env)


def this_machine() -> Machine:
    return Machine((), GpuReport("none"), probe_host())


@pytest.mark.slow
@pytest.mark.torch
def test_every_rate_is_measured_and_a_span(measured):
    _, work, done = measured
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["schema"], report["state"], report["exit_code"]) == ("fsgr-tui/bench/1", "done", 0)
    for name in RATES:
        rate = report["calibration"][name]
        assert rate["basis"] == "measured", name
        assert 0 < rate["low"] <= rate["likely"] <= rate["high"], name
    assert report["dataset_images"] == 36
    assert report["extraction"]["unit"] == "s"
    assert report["speed_up"]["unit"] == "x"
    assert report["calibration"]["realtime_memory"] == {"unknown": "no GPU"}
    assert report["calibration"]["bottleneck"].endswith(".")
    assert report["calibration"]["features_path"] == str(work / "features")
    assert "Rates do not depend on the weights." in done.stderr


@pytest.mark.slow
@pytest.mark.torch
def test_nothing_of_the_measurement_is_left_behind(measured):
    _, work, done = measured
    assert done.returncode == 0, done.stderr
    assert os.listdir(work) == []


@pytest.mark.slow
@pytest.mark.torch
def test_a_later_plan_finds_the_rates_of_this_machine(measured, monkeypatch):
    state, _, done = measured
    monkeypatch.setenv("FSGR_TUI_STATE", str(state))

    found = service.latest(this_machine(), "fsgr-demo-16")

    assert found is not None, done.stderr
    assert found == read_calibration(encode(json.loads(done.stdout)["calibration"]))
    assert Path(json.loads(done.stdout)["kept"]) == state / "calibrations" / found.file_name
    assert isinstance(found.extract, Estimate)
    assert service.latest(this_machine(), "ViT-B/16") is None


@pytest.mark.slow
@pytest.mark.torch
def test_the_plan_then_says_measured(measured, demo_root, tmp_path):
    state, _, done = measured
    assert done.returncode == 0, done.stderr
    # Without its GPUs, if there are any: the rates are those of the CPU.
    env = {"CUDA_VISIBLE_DEVICES": "", "FSGR_TUI_STATE": str(state)}
    argv = ("plan", "--image-root", str(demo_root / "images"), "--clip-model", "fsgr-demo-16", "--json")

    after = json.loads(run_cli(*argv, cwd=tmp_path, env=env).stdout)["time"]["extraction"]
    before = json.loads(run_cli(*argv, cwd=tmp_path, env={**env, "FSGR_TUI_STATE": str(tmp_path)}).stdout)

    measured_s = json.loads(done.stdout)["extraction"]
    assert after["basis"] == "measured"
    assert after["likely"] == pytest.approx(measured_s["likely"])
    assert before["time"]["extraction"]["basis"] != "measured"


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize(("send", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, 137)])
def test_an_interruption_leaves_no_temporary_file_and_keeps_nothing(tmp_path, demo_root, send, code):
    pytest.importorskip("torch")
    argv = [sys.executable, "-m", "fsgr_tui", "bench", "--image-root", str(demo_root / "images"), "--clip-model", "fsgr-demo-16",
            "--device", "cpu", "--features-dir", str(tmp_path / "features"), "--seconds", "8", "--json"]  # fmt: skip
    env = {**os.environ, "FSGR_TUI_STATE": str(tmp_path / "state")}
    program = subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 90
    while not (parts := list(tmp_path.glob("*/rows.hdf5.part"))) and time.monotonic() < until:
        time.sleep(0.05)
    child = scratch_pid(parts[0].parent.name, platform.node())
    # Asked to stop, the program passes it on; a kill comes from elsewhere (a lack of memory), and hits the child.
    if send == signal.SIGKILL:
        os.kill(child, send)
    else:
        program.send_signal(send)
    out, err = program.communicate(timeout=60)

    report = json.loads(out)
    assert program.returncode == code, err
    assert report["calibration"] is None
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.torch
def test_pictures_that_cannot_be_read_are_named(tmp_path):
    pytest.importorskip("torch")
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"<html>not found</html>")
    done = run_cli(
        "bench", "--image-root", str(tmp_path), "--clip-model", "fsgr-demo-16", "--device", "cpu", "--seconds", "5",
        cwd=tmp_path, env={"FSGR_TUI_STATE": str(tmp_path / "state")},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "None of the 3 images that were tried could be read" in done.stderr
    assert "an HTML page, not an image" in done.stderr
    assert done.stderr.count("Traceback") == 0
    assert sorted(os.listdir(tmp_path)) == ["0.jpg", "1.jpg", "2.jpg"]


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        (("--seconds", "2"), 2, "--seconds 2 is too little"),
        (("--seconds", "nan"), 2, "--seconds nan is too little"),
        (("--seconds", "inf"), 2, "--seconds inf is too much"),
        (("--image-root", "nowhere"), 2, "The image root nowhere is not there"),
        (("--image-root", "empty"), 2, "There are no images in empty"),
        (("--features-dir", "file/features"), 2, "file is a file"),
        (("--annotation-folder", "nowhere"), 2, "The annotation folder nowhere is not there"),
        (("--annotation-folder", "empty"), 2, "empty lacks captions_train2014.json"),
        (("--clip-model", "ViT-Z/99"), 2, "Unknown CLIP model 'ViT-Z/99'"),
        (("--weights", "nowhere.pt"), 3, "There is no weights file nowhere.pt"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_started(tmp_path, own_runs, flags, code, told):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    done = run_cli("bench", *flags, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) >= 2, "a remedy follows"
    assert "Traceback" not in done.stderr
    assert list(own_runs.iterdir()) == []


def test_what_is_kept_is_listed_and_forgotten(tmp_path, monkeypatch):
    monkeypatch.setenv("FSGR_TUI_STATE", str(tmp_path))
    assert "Nothing is kept" in run_cli("bench", "--list").stdout
    keep(make_calibration())
    (service.calibrations_dir() / "cut.json").write_text("{")

    listed = run_cli("bench", "--list")
    as_json = json.loads(run_cli("bench", "--list", "--json").stdout)
    forgotten = run_cli("bench", "--forget")

    assert "ViT-B-16  NVIDIA GeForce RTX 3090  1,300 images/s  320 pairs/s  960 pairs/s" in listed.stdout
    assert "cut.json" in listed.stderr
    assert as_json["schema"] == "fsgr-tui/bench-list/1"
    assert read_calibration(encode(as_json["calibrations"][0])) == make_calibration()
    assert len(as_json["remarks"]) == 1
    assert forgotten.stdout.startswith("2 calibrations forgotten")
    assert json.loads(run_cli("bench", "--forget", "--json").stdout) == {
        "schema": "fsgr-tui/bench-forget/1",
        "forgotten": 0,
    }


def test_the_help_shows_how_it_is_used():
    shown = run_cli("bench", "--help").stdout
    assert "fsgr-tui bench --image-root datasets/coco/images --features-dir features" in shown
    assert "fsgr-tui bench --list" in shown
