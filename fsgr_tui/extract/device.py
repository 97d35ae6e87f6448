"""Where the children compute."""

from __future__ import annotations

import re

import torch

from fsgr_tui.core.errors import BadRequest, MachineCannot


def chosen_device(name: str) -> torch.device:
    """The device of that name; auto is a GPU where there is one.

    Raises:
        BadRequest: the name is no device of a kind that training runs on.
        MachineCannot: there is no such GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise BadRequest(f"{name!r} is no device.", "Use auto, cpu, cuda or cuda:1.")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MachineCannot(
            f"There is no device {name} here: PyTorch sees {torch.cuda.device_count()} GPUs.",
            "Use --device cpu, look at CUDA_VISIBLE_DEVICES, or install a PyTorch that fits the driver.",
        )
    return device
