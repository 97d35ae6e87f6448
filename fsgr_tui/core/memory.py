"""GPU memory of training in both ways. Priors of ViT-B/16 with adapters and prompts, within 40 percent."""

from __future__ import annotations

from fsgr_tui.core.calibration import Calibration, MemoryLine
from fsgr_tui.core.guide import GUIDE_PRECOMPUTED_BATCH, GUIDE_REALTIME_BATCH
from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import Gpu, Machine
from fsgr_tui.core.plan import GpuFit, MemoryPlan
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.timing import best_gpu, usable_bytes
from fsgr_tui.core.tower import Tower
from fsgr_tui.core.units import GB, GIB, Basis, Estimate, Unknown, format_gib

SPREAD = 0.4
MEASURED_SPREAD = 0.05

# Read off a lab's runs of the FSGR code: weights and optimizer, activations of an image in CLIP and in the caption
# model, and what the driver and the allocator take.
_CLIP_FIXED_GB = 1.2
_CLIP_IMAGE_GB = 0.157
_MODEL_FIXED_GB = 0.6
_MODEL_IMAGE_GB = 0.04
_RESERVE_REALTIME_GB = 1.25
_RESERVE_PRECOMPUTED_GB = 1.0

_CONTRAST_COPIES = 5
"""Matrices of (tokens x batch) squared that the patch-label contrast term holds at once, in float32."""

_LARGEST_BATCH = 4096


def _scale(tower: Tower) -> float:
    return tower.tokens * tower.width / (196 * 768)


def contrast_bytes(tower: Tower, batch_size: int) -> int:
    """What the patch-label contrast term adds: it compares every patch of the batch with every other one."""
    return _CONTRAST_COPIES * 4 * (tower.tokens * batch_size) ** 2


def realtime_bytes(
    tower: Tower, batch_size: int, *, labels: bool = False, measured: MemoryLine | Unknown | None = None
) -> Estimate:
    """GPU memory of realtime training in bytes: CLIP resident, its activations kept for the adapters."""
    per_image = _CLIP_IMAGE_GB * _scale(tower) + _MODEL_IMAGE_GB
    prior = _CLIP_FIXED_GB + batch_size * per_image + _RESERVE_REALTIME_GB
    return _with(prior, tower, batch_size, labels, measured)


def precomputed_bytes(
    batch_size: int,
    tower: Tower | None = None,
    *,
    labels: bool = False,
    measured: MemoryLine | Unknown | None = None,
) -> Estimate:
    """GPU memory of training on stored features in bytes."""
    prior = _MODEL_FIXED_GB + batch_size * _MODEL_IMAGE_GB + _RESERVE_PRECOMPUTED_GB
    return _with(prior, tower, batch_size, labels, measured)


def _with(
    prior_gb: float, tower: Tower | None, batch_size: int, labels: bool, measured: MemoryLine | Unknown | None
) -> Estimate:
    basis: Basis = "table" if tower is None or tower.name.startswith("ViT-B-16") else "guess"
    line = Estimate.around(prior_gb * GB, SPREAD, "bytes", basis)
    if isinstance(measured, MemoryLine):
        line = Estimate.around(measured.bytes_for(batch_size), MEASURED_SPREAD, "bytes", "measured")
    if labels and tower is not None:
        line = line.plus(Estimate.around(contrast_bytes(tower, batch_size), SPREAD, "bytes", "table"))
    return line


def largest_batch(
    tower: Tower,
    free_bytes: int,
    *,
    realtime: bool,
    labels: bool = False,
    measured: MemoryLine | Unknown | None = None,
) -> int:
    """Largest batch whose likely need fits into so much free memory; 0 when none does."""

    def fits(batch: int) -> bool:
        need = (
            realtime_bytes(tower, batch, labels=labels, measured=measured)
            if realtime
            else precomputed_bytes(batch, tower, labels=labels, measured=measured)
        )
        return need.likely <= free_bytes

    low, high = 0, _LARGEST_BATCH
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def memory_plan(situation: Situation) -> MemoryPlan:
    """Memory of both ways at the planned batches, and what every GPU holds."""
    intent, tower, machine = situation.intent, situation.tower, situation.machine
    measured = situation.measured_for(tower)
    lines = _lines(measured, adapters=intent.adapters)
    realtime_batch = intent.batch_size or GUIDE_REALTIME_BATCH
    precomputed_batch = intent.batch_size or GUIDE_PRECOMPUTED_BATCH
    realtime = realtime_bytes(tower, realtime_batch, labels=intent.labels, measured=lines[0])
    precomputed = precomputed_bytes(precomputed_batch, tower, labels=intent.labels, measured=lines[1])
    rows = tuple(_fit(gpu, machine, tower, realtime, precomputed, lines, labels=intent.labels) for gpu in machine.gpus)
    best = best_gpu(machine)
    row = rows[machine.gpus.index(best)] if best is not None else None
    none = Unknown(machine.gpu_report.message or tr("no GPU"))
    return MemoryPlan(
        realtime=realtime,
        precomputed=precomputed,
        realtime_batch=realtime_batch,
        precomputed_batch=precomputed_batch,
        free_bytes=row.free_bytes if row else none,
        largest_realtime_batch=row.largest_realtime_batch if row else none,
        largest_precomputed_batch=row.largest_precomputed_batch if row else none,
        gpus=rows,
    )


_Lines = tuple[MemoryLine | Unknown | None, MemoryLine | Unknown | None]


def _lines(measured: Calibration | None, *, adapters: bool) -> _Lines:
    """What was measured of realtime and precomputed; a frozen tower's memory says nothing about trained adapters."""
    if measured is None:
        return None, None
    return None if adapters else measured.realtime_memory, measured.precomputed_memory


def _fit(
    gpu: Gpu,
    machine: Machine,
    tower: Tower,
    realtime: Estimate,
    precomputed: Estimate,
    lines: _Lines,
    *,
    labels: bool,
) -> GpuFit:
    free = usable_bytes(gpu, machine)
    known = isinstance(free, int)
    return GpuFit(
        index=gpu.index,
        name=gpu.name,
        free_bytes=free,
        realtime_fits=realtime.likely <= free if isinstance(free, int) else None,
        precomputed_fits=precomputed.likely <= free if isinstance(free, int) else None,
        largest_realtime_batch=largest_batch(tower, free, realtime=True, labels=labels, measured=lines[0])
        if isinstance(free, int)
        else free,
        largest_precomputed_batch=largest_batch(tower, free, realtime=False, labels=labels, measured=lines[1])
        if isinstance(free, int)
        else free,
        note=_note(gpu, known=known),
    )


def _note(gpu: Gpu, *, known: bool) -> str:
    notes = []
    if gpu.mig:
        notes.append(tr("MIG slice"))
    if gpu.shared_memory and known:
        notes.append(tr("unified memory: what the host has available, shared with the loader"))
    used = gpu.used_elsewhere_bytes
    if isinstance(used, int) and used >= GIB:
        notes.append(tr("{size} used by processes not visible from here", size=format_gib(used)))
    return tr("; ").join(notes)
