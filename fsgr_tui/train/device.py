"""With which arithmetic a training run computes, and how much memory that takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fsgr_tui.core.extraction import Precision

GPU_MEMORY = "GPU allocated"
HOST_MEMORY = "process RSS"

_TORCH_TYPE: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def arithmetic(precision: Precision, device: torch.device) -> torch.dtype:
    """The type that the captioner computes in; on a CPU always fp32, which is the fastest exact choice there."""
    if device.type != "cuda":
        return torch.float32
    if precision == "auto":
        # Volta and Turing emulate bf16, which is slower than their fp16.
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return _TORCH_TYPE[precision]


def precision_name(precision: Precision, device: torch.device) -> Precision:
    """The same type by the name that a tower's precision has."""
    wanted = arithmetic(precision, device)
    return next(name for name, kind in _TORCH_TYPE.items() if kind == wanted)


class Memory:
    """The peak of memory since this was made, and how large a batch it leaves room for.

    Attributes:
        kind: "GPU allocated" (by PyTorch on the device) or "process RSS" (loader processes not counted).
        baseline_bytes: what was taken before; the peak contains it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_gpu = device.type == "cuda"
        self.kind = GPU_MEMORY if self._on_gpu else HOST_MEMORY
        if self._on_gpu:
            torch.cuda.init()  # type: ignore[no-untyped-call]  # torch's own annotation is missing
            torch.cuda.reset_peak_memory_stats(device)
            self.baseline_bytes = torch.cuda.memory_allocated(device)
        else:
            self.baseline_bytes = _status_bytes("VmRSS")

    def peak_bytes(self) -> int:
        """The highest reading so far; the baseline included."""
        return torch.cuda.max_memory_allocated(self._device) if self._on_gpu else _status_bytes("VmHWM")

    def facts(self, batch_size: int, processes: int) -> dict[str, Any]:
        """What a result tells of memory.

        Args:
            batch_size: of each process.
            processes: how many there are, each with a device of its own.
        """
        largest = None
        if self._on_gpu:
            # Between steps there are weights, gradients and the optimizer's memory: what no smaller batch saves.
            fixed = torch.cuda.memory_allocated(self._device)
            free, _total = torch.cuda.mem_get_info(self._device)
            room = free + torch.cuda.memory_reserved(self._device)
            largest = largest_batch(batch_size, fixed, self.peak_bytes(), room)
        return {
            "peak_memory_bytes": self.peak_bytes(),
            "baseline_memory_bytes": self.baseline_bytes,
            "memory_kind": self.kind,
            "largest_batch": None if largest is None else largest * processes,
        }


_FILL = 0.95
"""Share of a GPU's memory that is counted on: fragments and the libraries' work areas take the rest."""


def largest_batch(batch_size: int, fixed_bytes: int, peak_bytes: int, room_bytes: int) -> int | None:
    """The batch that would fill the memory, if what a step takes grows with the batch; None where nothing can be said.

    Args:
        batch_size: of the steps that were measured.
        fixed_bytes: held between the steps.
        peak_bytes: the highest reading within them.
        room_bytes: what this process may take in all.
    """
    per_pair = (peak_bytes - fixed_bytes) / batch_size
    return max(0, int((_FILL * room_bytes - fixed_bytes) / per_pair)) if per_pair > 0 else None


def fitting_batch(fits: Callable[[int], bool], failed: int) -> int:
    """The largest batch that fits, within an eighth; 0 when not even 1 does.

    Args:
        fits: tries a batch size.
        failed: one that did not fit.
    """
    low, high = 0, failed
    while high - low > max(1, low // 8):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _status_bytes(field: str) -> int:
    """A memory reading of this process.

    getrusage's ru_maxrss is not used: over an exec it keeps the peak of the program that started this one.
    """
    match = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
