"""What an extraction and a recomputation are asked to do: the documents that the child processes read."""

from __future__ import annotations

from typing import Literal

import msgspec

from fsgr_tui.core.tower import Dtype, Grid

Resize = Literal["squash", "crop"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Activation = Literal["auto", "quick-gelu", "gelu"]

RESIZES: tuple[Resize, ...] = ("squash", "crop")
PRECISIONS: tuple[Precision, ...] = ("auto", "fp32", "bf16", "fp16")
ACTIVATIONS: tuple[Activation, ...] = ("auto", "quick-gelu", "gelu")


class ModelChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what features an image gets.

    Attributes:
        clip_model: open_clip's spelling.
        weights: an open_clip tag, a file, or `random:SEED`.
        resize: "squash" (FSGR's own: both edges to the input size) or "crop" (short edge, then centre crop).
        precision: arithmetic of the tower; auto is fp16 on a GPU, bf16 on a CPU that has it, else fp32.
        activation: of a local weights file that does not tell; auto asks the file.
        device: "auto", "cpu", "cuda" or "cuda:N".
    """

    clip_model: str
    weights: str
    grid: Grid = "7x7"
    dtype: Dtype = "float16"
    resize: Resize = "squash"
    precision: Precision = "auto"
    activation: Activation = "auto"
    device: str = "auto"


class ExtractSpec(msgspec.Struct, frozen=True, kw_only=True, tag="extract"):
    """One extraction.

    Attributes:
        images_file: the list of images, row by row (`features.images`).
        output: the finished file's name.
        workers: threads that decode; 0 decodes between batches.
        dataset, splits: for the manifest.
        command: the command line as typed, for the manifest.
    """

    model: ModelChoice
    images_file: str
    output: str
    batch_size: int = 64
    workers: int = 4
    resume: bool = False
    overwrite: bool = False
    dataset: str = ""
    splits: tuple[str, ...] = ()
    command: str = ""


class RecomputeSpec(msgspec.Struct, frozen=True, kw_only=True, tag="recompute"):
    """Extract some images again and compare with what a file holds.

    Attributes:
        features: the file.
        images_file: the images to extract again.
    """

    model: ModelChoice
    features: str
    images_file: str
    workers: int = 4


ChildSpec = ExtractSpec | RecomputeSpec

# Relative L2 that a new extraction may differ by. Measured with open_clip 3.3 against fp32: fp16 arithmetic 1.2e-3, bf16
# 9.6e-3, float16 storage alone 2e-4; each limit leaves a factor of about four for batch size and device.
RECOMPUTE_LIMIT: dict[str, float] = {"fp32": 1e-3, "fp16": 5e-3, "bf16": 4e-2}
RECOMPUTE_COSINE = 0.999
