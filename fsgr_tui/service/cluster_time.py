"""How long work takes on a cluster's nodes, for time limits that are suggested. None of it is measured there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fsgr_tui.core.machine import Gpu
from fsgr_tui.core.slurm_facts import Partition
from fsgr_tui.core.slurm_profile import Profile
from fsgr_tui.core.timing import extraction_rate, pair_rates
from fsgr_tui.core.tower import Tower
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.core.units import Estimate, Unknown
from fsgr_tui.probes.models import find_model

COPY_BYTES_S = 50e6
"""Merging and checking read and write the whole file; so slow is a shared disk that many others use."""

EVALUATION = 0.3
"""What captioning and scoring add to an epoch: some 5,000 images with a beam of five beside 570,000 caption pairs."""

CRITICAL = 3.0
"""A self-critical epoch draws several captions for each image, word by word; a guess, in epochs of cross-entropy."""

FALLBACK_MODEL = "ViT-B/16"


def gpu_of(profile: Profile, partition: Partition) -> Gpu | None:
    """One of the GPUs that a profile asks for, by the type that the site names; None without any."""
    if not profile.gpus:
        return None
    kind = profile.gpu_type or (partition.gpus[0].type if partition.gpus else "")
    return Gpu(0, "", kind, *(Unknown("on a node"),) * 4)


def extraction_time(tower: Tower, profile: Profile, partition: Partition, workers: int, images: int) -> Estimate:
    """Seconds of an extraction on one node."""
    rate = extraction_rate(tower, gpu_of(profile, partition), profile.cpus or 1, workers)
    return rate.seconds_for(images / max(1, profile.gpus or 1))


def training_time(spec: TrainSpec, profile: Profile, partition: Partition, pairs: int) -> Estimate:
    """Seconds of a training by the built-in captioner, scoring included.

    Args:
        pairs: captions of the training images.
    """
    model = spec.model.clip_model if spec.model is not None else FALLBACK_MODEL
    rates = pair_rates(
        find_model(model),
        gpu_of(profile, partition),
        profile.cpus or 1,
        spec.workers,
        adapters=spec.adapters is not None,
    )
    realtime = rates.pixels if spec.pixels else rates.realtime
    rate = realtime if spec.mode == "realtime" else rates.precomputed
    epochs = spec.epochs + CRITICAL * spec.critical.epochs
    if spec.max_steps is not None:
        epochs = min(epochs, spec.max_steps * spec.batch_size / max(1, pairs))
    share = 1 + EVALUATION if spec.evaluate else 1.0
    return rate.seconds_for(pairs * epochs * share / spec.world)


def copying_time(size: float) -> Estimate:
    """Seconds of reading, or of reading and writing, so many bytes on a shared disk."""
    likely = size / COPY_BYTES_S
    return Estimate(likely, 2 * likely, 4 * likely, "s", "guess")


def time_over_files(words: Sequence[str]) -> Estimate | None:
    """Seconds of a command that goes over the files which it names; None while none of them is there."""
    paths = [Path(word) for word in words if not word.startswith("-") and os.path.isfile(word)]  # noqa: PTH113 - words, not paths
    return copying_time(sum(path.stat().st_size for path in paths)) if paths else None
