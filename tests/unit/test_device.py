"""A GPU that is not here is refused before a job starts, where the driver is certain of it."""

from __future__ import annotations

import pytest

from fsgr_tui.core.device import refuse_absent_gpus
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.machine import Gpu, GpuReport
from fsgr_tui.core.units import GIB
from fsgr_tui.service import model_choice
from fsgr_tui.service.model_choice import require_device

TWO = GpuReport("ok", tuple(Gpu(n, f"GPU-{n}", "A100", 40 * GIB, 40 * GIB, 0, 0) for n in range(2)), "550")
MISMATCH = GpuReport("driver_mismatch", message="The driver was updated under the running kernel; reboot.")


@pytest.mark.parametrize("asked", ["auto", "cpu", "cuda", "cuda:1", "cuda:0,cuda:1", "cpu, cuda", "all"])
def test_devices_that_are_here_are_taken(asked):
    refuse_absent_gpus(asked, TWO)


@pytest.mark.parametrize(
    ("asked", "report", "words"),
    [
        ("cuda:2", TWO, "There is no device cuda:2 here: the driver offers 2 GPUs."),
        ("cuda:0,cuda:7", TWO, "There is no device cuda:7 here: the driver offers 2 GPUs."),
        ("cuda", MISMATCH, "There is no device cuda here: The driver was updated under the running kernel; reboot."),
        ("all", GpuReport("none", message="no GPU"), "--device all: there is no GPU here: no GPU."),
        ("cuda", GpuReport("hidden", message="CUDA_VISIBLE_DEVICES is empty"), "There is no device cuda here: CUDA_VISIBLE_DEVICES is empty."),
    ],
)  # fmt: skip
def test_gpus_that_the_driver_does_not_offer_are_refused_with_its_reason(asked, report, words):
    with pytest.raises(MachineCannot) as refusal:
        require_device(asked, lambda: report)
    assert refusal.value.what == words
    assert refusal.value.fix


@pytest.mark.parametrize("asked", ["mps", "gpu", "cuda:x", "cuda,tpu"])
def test_a_name_of_no_device_is_a_bad_request(asked):
    with pytest.raises(BadRequest, match="is no device"):
        require_device(asked, lambda: TWO)


@pytest.mark.parametrize("asked", ["auto", "cpu", "cpu,cpu"])
def test_the_driver_is_not_asked_when_no_gpu_was(asked):
    require_device(asked, lambda: pytest.fail("the driver was asked"))


def test_a_driver_that_does_not_answer_leaves_the_judgement_to_pytorch():
    require_device("cuda", lambda: GpuReport("error", message="no answer within 3 s"))


def test_amds_gpus_are_left_to_pytorch(monkeypatch, tmp_path):
    nothing = GpuReport("no_driver", message="no NVIDIA driver here")
    monkeypatch.setattr(model_choice, "_AMD", tmp_path / "kfd")
    with pytest.raises(MachineCannot):
        require_device("cuda", lambda: nothing)
    (tmp_path / "kfd").touch()
    require_device("cuda", lambda: nothing)
