"""How long things take: published rates, scaled where there are none, replaced by a measurement where there is one."""

from __future__ import annotations

import msgspec

from fsgr_tui.core.machine import Gpu, Machine
from fsgr_tui.core.tower import Tower
from fsgr_tui.core.units import Basis, Estimate

DECODE_IMAGES_PER_S_PER_CPU = 330.0
"""JPEG decode, bicubic 224 and normalisation with Pillow on one core (measured on a two-core server, COCO images)."""

CPU_IMAGES_PER_S_PER_CPU = (2.75, 11.0)
"""ViT-B/16 on one core: fp32, and bf16 where the CPU has the instructions (measured: 5.5 and 22 on two cores)."""

A100_PAIRS_PER_S = (211.0, 224.0, 237.0)
"""Way A with trained adapters on an A100 40 GB, batch 32: a lab's public log (39:54 and 44:45 for 17,710 steps)."""

SUSPICIOUS_IMAGES_PER_S = 50.0
"""An extraction below this on a GPU is held up by something (batch 1, one loader, a slow disk)."""


class GpuPrior(msgspec.Struct, frozen=True):
    """Published figures of one GPU: dense fp16 TFLOPS, and images/s of ViT-B/32, ViT-B/16, ViT-L/14 where known."""

    match: str
    tflops: float
    base32: float | None = None
    base16: float | None = None
    large14: float | None = None


# TFLOPS: the makers' data sheets. Rates: DeiT's table (V100, fp32), clip-retrieval's notes (A100, resizing included),
# timm's result tables (3090, 4090, the model alone).
GPU_PRIORS = (
    GpuPrior("V100", 125, None, 292, 63),
    GpuPrior("A100", 312, 2500, 1100, 312),
    GpuPrior("3090", 71, 5090, 1387, 360),
    GpuPrior("4090", 165, 10128, 2270, 658),
    GpuPrior("H200", 989),
    GpuPrior("H100", 989),
    GpuPrior("A6000", 155),
    GpuPrior("L40", 181),
    GpuPrior("A10", 125),
    GpuPrior("T4", 65),
    GpuPrior("2080 Ti", 54),
)

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


def prior_of(gpu: Gpu) -> GpuPrior | None:
    """The published figures of a GPU, by its name."""
    return next((prior for prior in GPU_PRIORS if prior.match.lower() in gpu.name.lower()), None)


def encode_rate(tower: Tower, gpu: Gpu | None, cpus: int) -> Estimate:
    """Images per second of the tower alone, on a GPU or, without one, on so many CPUs."""
    if gpu is None:
        scale = cpus * _B16_GMACS / gmacs(tower)
        fp32, bf16 = CPU_IMAGES_PER_S_PER_CPU
        return Estimate(0.7 * fp32 * scale, fp32 * scale, bf16 * scale, "images/s", "guess")
    prior = prior_of(gpu)
    if prior is None:
        # A GPU of unknown make: anything from a small old card to a large new one.
        return Estimate(150, 600, 3000, "images/s", "guess").times(_B16_GMACS / gmacs(tower))
    key = {"ViT-B-32": prior.base32, "ViT-B-16": prior.base16, "ViT-L-14": prior.large14}
    published = key.get(tower.name.removesuffix("-quickgelu"))
    if published:
        return Estimate.around(published, 0.4, "images/s", "table")
    # 0.5 to 0.7 of the peak is what the published rates reach.
    peak = prior.tflops * 1000 / (2 * gmacs(tower))
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


def extraction_rate(tower: Tower, machine: Machine, workers: int) -> Estimate:
    """Images per second of an extraction on one GPU (or the CPUs): encoding and decoding overlap."""
    gpu = best_gpu(machine)
    encode = encode_rate(tower, gpu, machine.host.cpus.count)
    return slower(encode, decode_rate(workers)) if gpu else encode


def pair_rates(tower: Tower, machine: Machine, workers: int, *, adapters: bool) -> tuple[Estimate, Estimate]:
    """Caption pairs per second of training: realtime and precomputed.

    Realtime encodes one image a pair (three times the forward pass when adapters are trained inside the tower) and
    cannot outrun the decoding. The caption model's own share is scaled from the A100 log; all of it is a guess until
    it is measured here.
    """
    gpu = best_gpu(machine)
    encode = encode_rate(tower, gpu, machine.host.cpus.count)
    model_s = _caption_model_s(gpu, machine.host.cpus.count)
    passes = 3 if adapters else 1
    realtime = Estimate(
        1 / (model_s.high + passes / encode.low),
        1 / (model_s.likely + passes / encode.likely),
        1 / (model_s.low + passes / encode.high),
        "pairs/s",
        "guess",
    )
    decode = decode_rate(workers)
    realtime = msgspec.structs.replace(slower(realtime, decode), unit="pairs/s", basis="guess")
    precomputed = Estimate(1 / model_s.high, 1 / model_s.likely, 1 / model_s.low, "pairs/s", "guess")
    return realtime, precomputed


def _caption_model_s(gpu: Gpu | None, cpus: int) -> Estimate:
    """Seconds of the caption model for one pair: what the A100 log leaves after three passes through ViT-B/16."""
    on_a100_s = 1 / A100_PAIRS_PER_S[1] - 3 / 1100
    if gpu is None:
        # Some 25 GFLOP a pair, at 30 to 100 GFLOPS a core.
        return Estimate(0.25 / cpus, 0.5 / cpus, 0.9 / cpus, "s", "guess")
    prior = prior_of(gpu)
    scale = 312 / prior.tflops if prior else 2.0
    return Estimate(on_a100_s * scale * 0.4, on_a100_s * scale, on_a100_s * scale * 2.5, "s", "guess")


def best_gpu(machine: Machine) -> Gpu | None:
    """The GPU with the most free memory; the first one when no reading came back."""

    def free(gpu: Gpu) -> int:
        return gpu.memory_free_bytes if isinstance(gpu.memory_free_bytes, int) else 0

    return max(machine.gpus, key=free, default=None)


def steps_per_epoch(captions: int, batch_size: int) -> int:
    """Steps of an epoch over caption pairs; the last, smaller batch is dropped, as the field's loaders do."""
    return captions // batch_size


def break_even_epochs(
    extraction_s: Estimate, realtime_epoch_s: Estimate, precomputed_epoch_s: Estimate
) -> Estimate | None:
    """Epochs after which the extraction has paid for itself; None when precomputing saves nothing."""
    saved = [
        realtime_epoch_s.low - precomputed_epoch_s.high,
        realtime_epoch_s.likely - precomputed_epoch_s.likely,
        realtime_epoch_s.high - precomputed_epoch_s.low,
    ]
    if saved[1] <= 0:
        return None
    likely = extraction_s.likely / saved[1]
    low = min(likely, extraction_s.low / saved[2]) if saved[2] > 0 else likely
    high = max(likely, extraction_s.high / saved[0]) if saved[0] > 0 else likely * 4
    return Estimate(low, likely, high, "count", "guess")
