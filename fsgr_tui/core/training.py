"""What a training run is asked to do: the document that the training child reads."""

from __future__ import annotations

from typing import Literal

import msgspec

from fsgr_tui.core.extraction import ModelChoice

Mode = Literal["realtime", "precomputed"]
MODES: tuple[Mode, ...] = ("realtime", "precomputed")


class CaptionerSize(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the reference captioner. The defaults are those of M2 Transformer's published code (d_model 512, 3 layers, 8 heads)."""

    d_model: int = 512
    layers: int = 3
    heads: int = 8
    feed_forward: int = 2048
    dropout: float = 0.1


class TrainSpec(msgspec.Struct, frozen=True, kw_only=True, tag="train"):
    """One training run.

    Attributes:
        mode: realtime (frozen CLIP in every step) or precomputed (rows of a feature file).
        annotation_folder: M2-style annotations.
        features: the feature file; needed when precomputed.
        images_file: list of all images (`features.images`); needed when realtime.
        model: the vision tower; needed when realtime.
        output: folder for checkpoints.
        exp_name: names the checkpoints.
        epochs: passes over the training captions.
        max_steps: ends the run earlier; None for no limit.
        learning_rate: peak of the schedule; warmup: steps until it is reached.
        workers: loader processes (precomputed) or decoding threads (realtime).
        device: "auto", "cpu", "cuda" or "cuda:N".
    """

    mode: Mode
    annotation_folder: str
    output: str
    exp_name: str
    features: str = ""
    images_file: str = ""
    model: ModelChoice | None = None
    size: CaptionerSize = CaptionerSize()
    epochs: int = 20
    max_steps: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-4
    warmup: int = 1000
    workers: int = 2
    seed: int = 0
    device: str = "auto"
    resume: bool = False
