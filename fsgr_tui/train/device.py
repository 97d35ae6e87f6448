"""With which arithmetic a training run computes, and how much memory that takes."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from fsgr_tui.core.extraction import Precision

GPU_MEMORY = "GPU allocated"
HOST_MEMORY = "process RSS"

_TORCH_TYPE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def arithmetic(precision: Precision, device: torch.device) -> torch.dtype:
    """The type that the captioner computes in; on a CPU always fp32, which is the fastest exact choice there."""
    if device.type != "cuda":
        return torch.float32
    if precision == "auto":
        # Volta and Turing emulate bf16, which is slower than their fp16.
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return _TORCH_TYPE[precision]


class MemoryGauge:
    """The peak of memory since the gauge was made.

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


def _status_bytes(field: str) -> int:
    """A memory reading of this process.

    getrusage's ru_maxrss is not used: over an exec it keeps the peak of the program that started this one.
    """
    match = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
