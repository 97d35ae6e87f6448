"""GPUs for jobs: a lock per GPU, so that two jobs do not land on one card by accident.

A lock is a file of the GPU's uuid beside the run folders. The runner and the pump of its job hold it, so that it is
free when nothing of the job is left, and not before.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.job import GpuWish
from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import Gpu, GpuReport
from fsgr_tui.core.units import Unknown, format_gib
from fsgr_tui.jobs import life

ASK_S = 20.0
"""How long the driver may take to answer; the probe itself gives up sooner."""

FREE_SHARE = 0.8
"""A GPU counts as free when this share of its memory is: a display or a forgotten context takes less than the rest."""


class Seats(NamedTuple):
    """GPUs that are held, with the descriptors of their locks; or none, and why."""

    uuids: tuple[str, ...] = ()
    locks: tuple[int, ...] = ()
    why_not: str = ""
    never: bool = False


def ask(command: tuple[str, ...], environ: Mapping[str, str]) -> GpuReport:
    """Ask for the GPUs; a report with status "error" when there is no answer."""
    try:
        done = subprocess.run(
            command, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_S, check=False
        )
        return jsontext.decode(done.stdout, GpuReport)
    except subprocess.TimeoutExpired:
        return GpuReport("error", message=tr("the NVIDIA driver gave no answer within {seconds:g} s", seconds=ASK_S))
    except (OSError, msgspec.MsgspecError) as error:
        return GpuReport("error", message=tr("the GPUs cannot be asked: {error}", error=error))


def wanted(report: GpuReport, wish: GpuWish) -> tuple[Gpu, ...]:
    """The GPUs that the wish leaves, those with the most free memory first."""
    units = [gpu for gpu in report.gpus if not wish.named or any(_is_named(gpu, name) for name in wish.named)]
    return tuple(sorted(units, key=lambda gpu: -_free_bytes(gpu)))


def impossible(report: GpuReport, wish: GpuWish) -> str:
    """Why no wait will ever fulfil the wish; empty when it may."""
    if report.status in ("none", "hidden", "no_driver", "driver_mismatch"):
        return tr("There is no GPU to be had here: {reason}.", reason=report.message)
    if report.status == "error":
        return ""
    units = wanted(report, wish)
    here = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in report.gpus)
    absent = [name for name in wish.named if not any(_is_named(gpu, name) for gpu in report.gpus)]
    if absent:
        return tr("There is no GPU {absent} here; there are: {here}.", absent=", ".join(absent), here=here)
    if len(units) < wish.count:
        return tr(
            "{asked} GPUs are asked for, and there are {there}: {here}.", asked=wish.count, there=len(units), here=here
        )
    return ""


def filled(gpu: Gpu) -> str:
    """Why other programs leave a GPU no room; empty when they do."""
    total, free = gpu.memory_total_bytes, gpu.memory_free_bytes
    if isinstance(total, Unknown) or isinstance(free, Unknown) or free >= FREE_SHARE * total:
        return ""
    return tr(
        "GPU {index}: other programs use {used} of {total}",
        index=gpu.index,
        used=format_gib(total - free),
        total=format_gib(total),
    )


def take(report: GpuReport, wish: GpuWish, folder: Path, job: str) -> Seats:
    """Take as many GPUs as are asked for, or none.

    Args:
        folder: where the locks are.
        job: the name that others see who find a GPU taken.
    """
    if report.status == "error":
        return Seats(why_not=report.message)
    if why := impossible(report, wish):
        return Seats(why_not=why, never=True)
    folder.mkdir(parents=True, exist_ok=True)
    uuids: list[str] = []
    locks: list[int] = []
    reasons: list[str] = []
    for gpu in wanted(report, wish):
        if len(uuids) == wish.count:
            break
        if held := holder(gpu, folder):
            reasons.append(held)
        elif full := filled(gpu):
            reasons.append(full)
        elif (lock := _lock(gpu, folder, job)) is None:
            reasons.append(tr("GPU {index}: another job has just taken it", index=gpu.index))
        else:
            uuids.append(gpu.uuid)
            locks.append(lock)
    if len(uuids) == wish.count:
        return Seats(tuple(uuids), tuple(locks))
    for lock in locks:
        os.close(lock)
    return Seats(why_not="; ".join(reasons))


def holder(gpu: Gpu, folder: Path) -> str:
    """Which job holds a GPU, in words; empty when none does."""
    name = life.name_in(_path(gpu, folder))
    return tr("GPU {index}: held by {name}", index=gpu.index, name=name) if name else ""


def _lock(gpu: Gpu, folder: Path, job: str) -> int | None:
    try:
        lock = life.take(_path(gpu, folder), wait_s=0)
    except BlockingIOError:
        return None
    life.sign_name(lock, job)
    return lock


def _path(gpu: Gpu, folder: Path) -> Path:
    return folder / f"gpu-{re.sub(r'[^A-Za-z0-9-]', '_', gpu.uuid)}"


def _is_named(gpu: Gpu, name: str) -> bool:
    return str(gpu.index) == name or (len(name) >= 4 and gpu.uuid.startswith(name))


def _free_bytes(gpu: Gpu) -> int:
    return gpu.memory_free_bytes if isinstance(gpu.memory_free_bytes, int) else 0
