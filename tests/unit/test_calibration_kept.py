"""Calibrations between runs: the newest that fits is found, everything else is left alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fsgr_tui.core.calibration import MemoryLine, read_calibration
from fsgr_tui.core.jsontext import encode
from fsgr_tui.core.units import Unknown
from fsgr_tui.service import calibration as service
from tests.fakes.calibration import keep, keep_damaged, make_calibration, make_machine, rate


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("FSGR_TUI_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_a_calibration_comes_back_from_json_as_it_was():
    calibration = make_calibration(
        encode=Unknown("one image takes 12 s"), realtime_memory=Unknown("no GPU"), notes=("made here",)
    )

    assert read_calibration(encode(calibration)) == calibration


def test_without_a_calibration_there_is_none_and_no_folder_is_made(own_state):
    assert service.latest(make_machine("NVIDIA GeForce RTX 3090"), "ViT-B/16") is None
    assert not own_state.exists()


def test_the_newest_fitting_one_is_taken():
    old = make_calibration(measured_at="2026-11-24T10:00:00+00:00", clip_model="ViT-L-14")
    new = make_calibration(measured_at="2026-11-25T10:00:00+00:00", device="GeForce RTX 3090")
    older = make_calibration(measured_at="2026-11-24T10:00:00+00:00")
    for each in (new, old, older):
        keep(each)

    assert service.latest(make_machine("NVIDIA GeForce RTX 3090"), "vit_b_16") == new


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("another host", {"machine": "node8, EPYC 7763"}),
        ("another CPU", {"machine": "node7, Xeon 6430"}),
        ("another GPU", {"device": "NVIDIA A100-SXM4-40GB"}),
        ("the CPU instead of the GPU", {"device": "cpu"}),
        ("another tower", {"clip_model": "ViT-L-14"}),
    ],
)
def test_what_was_measured_elsewhere_is_not_taken(what, changes):
    keep(make_calibration(**changes))

    assert service.latest(make_machine("NVIDIA GeForce RTX 3090"), "ViT-B/16") is None, what


def test_a_machine_without_gpu_takes_what_was_measured_on_the_cpu():
    keep(make_calibration(device="cpu"))

    assert service.latest(make_machine(), "ViT-B/16") == make_calibration(device="cpu")


def test_the_gpu_with_the_most_free_memory_is_the_one_that_a_plan_is_for():
    keep(make_calibration(device="NVIDIA T4"))

    assert service.latest(make_machine("NVIDIA T4", "NVIDIA V100"), "ViT-B/16") is not None
    assert service.latest(make_machine("NVIDIA V100", "NVIDIA T4"), "ViT-B/16") is None


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"schema": "fsgr-tui/calibration/9"}, "no document of fsgr-tui/calibration/1"),
        ({"encode": {"low": 0, "likely": 1, "high": 2, "unit": "images/s", "basis": "measured"}}, "`encode` is no rate"),
        ({"encode": {"low": 3, "likely": 1, "high": 2, "unit": "images/s", "basis": "measured"}}, "`encode` is no rate"),
        ({"encode": 5}, "Expected `object`"),
        ({"workers": "many"}, "Expected `int`"),
        ({"read": None}, "Expected `object`"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_passed_over_with_a_remark(values, told):
    keep(make_calibration())
    keep_damaged(make_calibration(clip_model="ViT-L-14"), **values)

    kept = service.kept()

    assert kept.calibrations == (make_calibration(),)
    assert len(kept.remarks) == 1
    assert told in kept.remarks[0]
    assert "ViT-L-14-NVIDIA-GeForce-RTX-3090-" in kept.remarks[0]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"schema": "fsgr-tui/calibration/1"}'])
def test_a_file_cut_off_or_of_something_else_is_never_fatal(body):
    keep(make_calibration())
    (service.calibrations_dir() / "cut.json").write_bytes(body)

    assert service.latest(make_machine("NVIDIA GeForce RTX 3090"), "ViT-B/16") == make_calibration()
    assert "cut.json" in service.kept().remarks[0]


def test_a_folder_among_them_is_never_fatal():
    (service.calibrations_dir() / "folder.json").mkdir(parents=True)

    assert service.latest(make_machine(), "ViT-B/16") is None
    assert "folder.json cannot be read" in service.kept().remarks[0]


def test_forgetting_deletes_the_damaged_ones_too_and_says_how_many():
    keep(make_calibration())
    (service.calibrations_dir() / "cut.json").write_bytes(b"{")

    assert service.forget() == 2
    assert service.kept() == service.Kept()
    assert service.forget() == 0


def test_one_name_for_each_machine_device_and_model():
    names = {
        make_calibration(**changes).file_name
        for changes in ({}, {"machine": "node8, EPYC 7763"}, {"device": "cpu"}, {"clip_model": "ViT-L-14"})
    }

    assert len(names) == 4
    assert make_calibration(workers=3, encode=rate(1, 2, 3)).file_name in names


def test_memory_follows_the_line():
    assert MemoryLine(1000, 10).bytes_for(64) == 1640


def test_looking_up_a_calibration_imports_nothing_heavy():
    heavy = ("torch", "h5py", "numpy", "textual", "rich", "psutil", "PIL")
    look = f"import sys, fsgr_tui.service.calibration as c; c.kept(); print([n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", look], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
