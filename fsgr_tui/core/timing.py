"""How long things take: published rates, scaled where there are none, replaced by a measurement where there is one."""

from __future__ import annotations

import msgspec

from fsgr_tui.core.calibration import Calibration
from fsgr_tui.core.gpus import compute_share, model_of
from fsgr_tui.core.guide import GUIDE_PRECOMPUTED_BATCH, GUIDE_REALTIME_BATCH
from fsgr_tui.core.machine import Gpu, Machine
from fsgr_tui.core.tower import Tower
from fsgr_tui.core.units import Basis, Estimate, Unknown

DECODE_IMAGES_PER_S_PER_CPU = 330.0
"""JPEG decode, bicubic 224 and normalisation with Pillow on one core (measured on a two-core server, COCO images)."""

CPU_IMAGES_PER_S_PER_CPU = (2.75, 11.0)
"""ViT-B/16 on one core: fp32, and bf16 where the CPU has the instructions (measured: 5.5 and 22 on two cores)."""

A100_PAIRS_PER_S = (211.0, 224.0, 237.0)
"""Way A with trained adapters on an A100 40 GB, batch 32: a lab's public log (39:54 and 44:45 for 17,710 steps)."""

DECODE_BOUND = 0.8
"""A measured realtime rate from this share of the decoding rate on was held up by decoding."""

SUSPICIOUS_IMAGES_PER_S = 50.0
"""An extraction below this on a GPU is held up by something (batch 1, one loader, a slow disk)."""


# Multiply-accumulates of one image in 10^9, 224 (or 336) pixels: fvcore counts published with open_clip's models.
GMACS = {
    "ViT-B-32": 4.41,
    "ViT-B-16": 17.58,
    "ViT-L-14": 81.08,
    "ViT-L-14-336": 191.1,
    "ViT-H-14": 167.4,
    "RN50": 6.1,
    "RN101": 9.9,
}
_B16_GMACS = 17.58


def gmacs(tower: Tower) -> float:
    """Multiply-accumulates of one image in 10^9; scaled by tokens and squared width for towers not in the table."""
    known = GMACS.get(tower.name.removesuffix("-quickgelu"))
    return known or _B16_GMACS * tower.tokens / 196 * (tower.width / 768) ** 2


def encode_rate(tower: Tower, gpu: Gpu | None, cpus: int) -> Estimate:
    """Images per second of the tower alone, on a GPU or, without one, on so many CPUs."""
    if gpu is None:
        scale = cpus * _B16_GMACS / gmacs(tower)
        fp32, bf16 = CPU_IMAGES_PER_S_PER_CPU
        return Estimate(0.7 * fp32 * scale, fp32 * scale, bf16 * scale, "images/s", "guess")
    model = model_of(gpu)
    if model is None:
        # A GPU of unknown make: anything from a small old card to a large new one.
        return Estimate(150, 600, 3000, "images/s", "guess").times(_B16_GMACS / gmacs(tower))
    key = {"ViT-B-32": model.base32, "ViT-B-16": model.base16, "ViT-L-14": model.large14}
    published = key.get(tower.name.removesuffix("-quickgelu"))
    share = compute_share(gpu)
    if published:
        return Estimate.around(published * share, 0.4, "images/s", "table" if share == 1 else "guess")
    # 0.5 to 0.7 of the peak is what the published rates reach.
    peak = share * model.tflops * 1000 / (2 * gmacs(tower))
    return Estimate(0.3 * peak, 0.5 * peak, 0.7 * peak, "images/s", "guess")


def slower(first: Estimate, second: Estimate) -> Estimate:
    """The rate of two stages that overlap: the slower one holds."""
    basis: Basis = first.basis if first.likely <= second.likely else second.basis
    return Estimate(
        min(first.low, second.low), min(first.likely, second.likely), min(first.high, second.high), first.unit, basis
    )


def decode_rate(workers: int) -> Estimate:
    """Images per second that so many workers decode."""
    return Estimate.around(DECODE_IMAGES_PER_S_PER_CPU * max(1, workers), 0.4, "images/s", "table")


def resized_rate(workers: int) -> Estimate:
    """Images per second that so many workers bring in as stored, resized pictures.

    They skip decoding and resizing, about half of a loader's work; measured for FSGR's own loader.
    """
    return msgspec.structs.replace(decode_rate(workers).times(2), basis="guess")


def extraction_rate(
    tower: Tower, gpu: Gpu | None, cpus: int, workers: int, measured: Calibration | None = None
) -> Estimate:
    """Images per second of an extraction on one GPU (or the CPUs): encoding and decoding overlap."""
    if measured and isinstance(measured.extract, Estimate):
        return measured.extract
    encode = encode_rate(tower, gpu, cpus)
    return slower(encode, decode_rate(workers)) if gpu else encode


class PairRates(msgspec.Struct, frozen=True):
    """Caption pairs per second of training: realtime, on stored features, and realtime from stored pictures."""

    realtime: Estimate
    precomputed: Estimate
    pixels: Estimate


def pair_rates(
    tower: Tower,
    gpu: Gpu | None,
    cpus: int,
    workers: int,
    *,
    adapters: bool,
    measured: Calibration | None = None,
    batches: tuple[int, int] = (GUIDE_REALTIME_BATCH, GUIDE_PRECOMPUTED_BATCH),
) -> PairRates:
    """Caption pairs per second of training in the three ways.

    Realtime encodes one image a pair (three times the forward pass when adapters are trained inside the tower) and
    cannot outrun the decoding. The caption model's own share is scaled from the A100 log; all of it is a guess until
    it is measured here. A measurement holds for a frozen tower; with adapters only its precomputed rate is taken.

    Args:
        batches: of realtime and of precomputed training; measured rates are scaled to them.
    """
    encode = encode_rate(tower, gpu, cpus)
    if measured and isinstance(measured.encode, Estimate):
        encode = measured.encode
    model_s = _caption_model_s(gpu, cpus)
    precomputed = Estimate(1 / model_s.high, 1 / model_s.likely, 1 / model_s.low, "pairs/s", "guess")
    known = measured.precomputed_at(batches[1]) if measured else None
    if isinstance(known, Estimate):
        precomputed = known
        model_s = precomputed.seconds_for(1)
    passes = 3 if adapters else 1
    on_device = Estimate(
        1 / (model_s.high + passes / encode.low),
        1 / (model_s.likely + passes / encode.likely),
        1 / (model_s.low + passes / encode.high),
        "pairs/s",
        "guess",
    )
    decode = decode_rate(workers)
    if measured and isinstance(measured.decode, Estimate):
        decode = measured.decode
    realtime = msgspec.structs.replace(slower(on_device, decode), basis="guess")
    pixels = msgspec.structs.replace(slower(on_device, resized_rate(workers)), basis="guess")
    known = measured.realtime_at(batches[0]) if measured else None
    if isinstance(known, Estimate) and not adapters:
        realtime = known
        pixels = _from_pictures(pixels, realtime, decode)
    return PairRates(realtime, precomputed, pixels)


def _from_pictures(guess: Estimate, realtime: Estimate, decode: Estimate) -> Estimate:
    """The rate of realtime from cached pictures, once realtime itself was measured.

    Where decoding held it up, the guess stands, which leaves decoding out; else nothing is gained.
    """
    if realtime.likely < DECODE_BOUND * decode.likely:
        return msgspec.structs.replace(realtime, basis="guess")
    return Estimate(
        max(guess.low, realtime.low),
        max(guess.likely, realtime.likely),
        max(guess.high, realtime.high),
        guess.unit,
        "guess",
    )


def _caption_model_s(gpu: Gpu | None, cpus: int) -> Estimate:
    """Seconds of the caption model for one pair: what the A100 log leaves after three passes through ViT-B/16."""
    on_a100_s = 1 / A100_PAIRS_PER_S[1] - 3 / 1100
    if gpu is None:
        # Some 25 GFLOP a pair, at 30 to 100 GFLOPS a core.
        return Estimate(0.25 / cpus, 0.5 / cpus, 0.9 / cpus, "s", "guess")
    model = model_of(gpu)
    scale = 312 / (model.tflops * compute_share(gpu)) if model else 2.0
    return Estimate(on_a100_s * scale * 0.4, on_a100_s * scale, on_a100_s * scale * 2.5, "s", "guess")


def usable_bytes(gpu: Gpu, machine: Machine) -> int | Unknown:
    """Memory that a training may take on a GPU now; with unified memory what the host has available."""
    if gpu.shared_memory:
        memory = machine.host.memory
        available = memory.available_bytes if not isinstance(memory, Unknown) else memory
        known = [value for value in (available, gpu.memory_free_bytes) if isinstance(value, int)]
        return min(known) if known else available
    return gpu.memory_free_bytes


def best_gpu(machine: Machine) -> Gpu | None:
    """The GPU with the most free memory; the first one when no reading came back."""

    def free(gpu: Gpu) -> int:
        usable = usable_bytes(gpu, machine)
        return usable if isinstance(usable, int) else 0

    return max(machine.gpus, key=free, default=None)


def steps_per_epoch(captions: int, batch_size: int) -> int:
    """Steps of an epoch over caption pairs; the last, smaller batch is dropped, as the field's loaders do."""
    return captions // batch_size


def break_even_epochs(
    extraction_s: Estimate, realtime_epoch_s: Estimate, precomputed_epoch_s: Estimate
) -> Estimate | None:
    """Epochs after which the extraction has paid for itself; None when precomputing saves nothing.

    Both epochs contain the same caption model, so that their low ends belong together, and their high ends.
    """
    saved = realtime_epoch_s.likely - precomputed_epoch_s.likely
    if saved <= 0:
        return None
    ends = (realtime_epoch_s.low - precomputed_epoch_s.low, saved, realtime_epoch_s.high - precomputed_epoch_s.high)
    # Measured spans may cross; the span of the answer then ends where a tenth of the likely saving is left.
    least, most = max(min(ends), saved / 10), max(ends)
    basis: Basis = "measured" if realtime_epoch_s.basis == precomputed_epoch_s.basis == "measured" else "guess"
    return Estimate(extraction_s.low / most, extraction_s.likely / saved, extraction_s.high / least, "count", basis)
