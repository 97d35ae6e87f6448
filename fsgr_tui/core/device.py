"""What `--device` may say, and what is said where there is no such device."""

from __future__ import annotations

import re

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import GpuReport

ALL = "all"
_NAME = re.compile(r"auto|cpu|cuda(?::(\d+))?")


def gpu_number(name: str) -> int | None:
    """The number of the GPU that a device's name means, 0 for `cuda`; None for `auto` and `cpu`.

    Raises:
        BadRequest: the name is no device of a kind that is computed on here.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadRequest(tr("{name} is no device.", name=repr(name)), tr("Use auto, cpu, cuda or cuda:1."))
    return int(match[1] or 0) if name.startswith("cuda") else None


def device_names(asked: str) -> tuple[str, ...]:
    """The single devices of `--device cuda:0,cuda:1`."""
    return tuple(part.strip() for part in asked.split(",") if part.strip())


def no_such_device(name: str, why: str) -> MachineCannot:
    """The refusal of a GPU that is not there."""
    return MachineCannot(
        tr("There is no device {name} here: {why}.", name=name, why=why),
        tr("Use --device cpu, look at CUDA_VISIBLE_DEVICES, or install a PyTorch that fits the driver."),
    )


def no_gpu_at_all(why: str = "") -> MachineCannot:
    """The refusal of `--device all` without any GPU."""
    return MachineCannot(
        tr("--device all: there is no GPU here: {why}.", why=why) if why else tr("--device all: there is no GPU here."),
        tr("Use --device auto, or look at CUDA_VISIBLE_DEVICES."),
    )


def refuse_absent_gpus(asked: str, report: GpuReport) -> None:
    """Refuse a request for GPUs that the driver certainly does not offer; where it says nothing certain, PyTorch will tell.

    Args:
        asked: the value of `--device`.

    Raises:
        BadRequest: a name is no device.
        MachineCannot: there is no such GPU.
    """
    if report.status == "error":
        return
    why = report.message.rstrip(".。") if report.status != "ok" else ""
    if asked == ALL:
        if not report.gpus:
            raise no_gpu_at_all(why)
        return
    for name in device_names(asked):
        number = gpu_number(name)
        if number is not None and number >= len(report.gpus):
            raise no_such_device(name, why or tr("the driver offers {gpus} GPUs", gpus=len(report.gpus)))
