"""A calibration and the machine that it was measured on."""

from __future__ import annotations

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.calibration import Calibration, MemoryLine
from fsgr_tui.core.machine import CpuBudget, Gpu, GpuReport, Host, Machine, MemoryBudget
from fsgr_tui.core.units import GIB, Estimate
from fsgr_tui.service.calibration import calibrations_dir


def rate(low: float, likely: float, high: float, unit: str = "images/s") -> Estimate:
    return Estimate(low, likely, high, unit, "measured")


def make_machine(*gpus: str, host: str = "node7", cpu: str = "EPYC 7763", cpus: int = 16) -> Machine:
    found = tuple(
        Gpu(number, f"GPU-{number}", name, 24 * GIB, (24 - number) * GIB, number * GIB, 0)
        for number, name in enumerate(gpus)
    )
    budget = MemoryBudget(64 * GIB, 60 * GIB, "host")
    return Machine(
        (),
        GpuReport("ok" if found else "no_driver", found),
        Host(host, "Linux 6.1", "3.11.9", cpu, CpuBudget(cpus, "host", cpus), budget),
    )


def make_calibration(**changes) -> Calibration:
    values = {
        "machine": "node7, EPYC 7763", "device": "NVIDIA GeForce RTX 3090", "clip_model": "ViT-B-16", "precision": "fp16",
        "measured_at": "2026-11-25T10:00:00+00:00", "workers": 15, "decode": rate(3900, 4000, 4100), "decode_one": rate(300, 310, 320),
        "encode": rate(1300, 1400, 1450), "extract": rate(1200, 1300, 1350), "write_bytes_per_s": rate(4e8, 5e8, 6e8, "bytes/s"),
        "read": rate(8000, 9000, 9500, "rows/s"), "realtime": rate(300, 320, 330, "pairs/s"), "precomputed": rate(900, 960, 1000, "pairs/s"),
        "features_path": "/data/features", "read_cold": True, "realtime_batch": 64, "precomputed_batch": 64,
        "realtime_memory": MemoryLine(2_000_000_000, 50_000_000), "precomputed_memory": MemoryLine(1_500_000_000, 30_000_000),
        "batch_size": 64, "weights": "random:0", "grid": "7x7", "dtype": "float16", "row_bytes": 75_264, "images": 500,
    }  # fmt: skip
    return Calibration(**{**values, **changes})


def keep(calibration: Calibration) -> None:
    """Put a calibration where the program keeps them."""
    calibrations_dir().mkdir(parents=True, exist_ok=True)
    (calibrations_dir() / calibration.file_name).write_bytes(jsontext.encode(calibration))


def keep_damaged(calibration: Calibration, **values) -> None:
    """As `keep`, with values that the program would not write."""
    calibrations_dir().mkdir(parents=True, exist_ok=True)
    built = {**msgspec.to_builtins(calibration), **values}
    (calibrations_dir() / calibration.file_name).write_bytes(jsontext.encode(built))
