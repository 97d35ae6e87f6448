"""Where the children compute."""

from __future__ import annotations

import torch

from fsgr_tui.core.device import gpu_number, no_such_device


def chosen_device(name: str) -> torch.device:
    """The device of that name; auto is a GPU where there is one.

    Raises:
        BadRequest: the name is no device of a kind that training runs on.
        MachineCannot: there is no such GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    number = gpu_number(name)
    if number is not None and number >= torch.cuda.device_count():
        raise no_such_device(name, f"PyTorch sees {torch.cuda.device_count()} GPUs")
    return torch.device(name)
