"""What a training run is asked to do: the document that the training child reads."""

from __future__ import annotations

from typing import Literal

import msgspec

from fsgr_tui.core.extraction import ModelChoice, Precision

Mode = Literal["realtime", "precomputed"]
MODES: tuple[Mode, ...] = ("realtime", "precomputed")


class CaptionerSize(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the reference captioner; the defaults are those of M2 Transformer's published code."""

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
        model: the vision tower; needed when realtime. Its own device is passed over for the run's.
        output: folder for checkpoints.
        exp_name: names the checkpoints.
        epochs: passes over the training captions.
        max_steps: ends the run earlier; None for no limit.
        learning_rate: peak of the schedule; warmup: steps until it is reached.
        min_word_count: rarer words of the training captions become "unknown" (5 in M2 Transformer's published code).
        max_val_batches: looks at the first so many batches of the validation captions only; None for all.
        workers: loader processes (precomputed) or decoding threads (realtime); 0 loads between the steps.
        precision: arithmetic of the captioner on a GPU; auto is bf16 where the GPU has it, else fp16. A CPU takes fp32.
        device: "auto", "cpu", "cuda" or "cuda:N".
        resume: goes on from `{exp_name}_last.pth` where there is one.
        overwrite: starts anew although there is one.
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
    min_word_count: int = 5
    max_val_batches: int | None = None
    workers: int = 2
    seed: int = 0
    precision: Precision = "auto"
    device: str = "auto"
    resume: bool = False
    overwrite: bool = False
