"""What features will be, before a model is loaded: the settings that an unfinished or finished file is held against."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from fsgr_tui.core.extraction import ANTIALIAS, INTERPOLATION, ModelChoice
from fsgr_tui.core.tower import FeatureShape
from fsgr_tui.features.manifest import Manifest

_OF_THE_MODEL = frozenset({"weights_sha256", "activation", "mean", "std", "classes_sha256"})
"""Identity fields that the weights decide; a file of them tells its digest without being loaded."""


def planned_manifest(shape: FeatureShape, choice: ModelChoice, precision: str) -> Manifest:
    """The manifest of what a choice gives, but for what its weights decide: their digest, activation, mean, deviation.

    Args:
        precision: the arithmetic; that of a choice may be auto.
    """
    of_pixels = shape.stage == "pixels"
    return Manifest(
        # A picture belongs to no model: only its size and how it was made count.
        clip_model="" if of_pixels else shape.tower.name,
        weights="" if of_pixels else choice.weights,
        weights_sha256="",
        activation="",
        image_px=shape.input_px,
        resize=choice.resize,
        interpolation=INTERPOLATION,
        antialias=ANTIALIAS,
        decoder=choice.backend,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        stage=shape.stage if of_pixels or shape.tower.family == "vit" else "last stage",
        grid="" if of_pixels else shape.grid,
        pooling="" if of_pixels else shape.pooling,
        tokens=0 if of_pixels else shape.tokens,
        width=0 if of_pixels else shape.width,
        global_width=shape.global_width,
        dtype=shape.stored_dtype,
        precision=precision,
    )


def known_identity(shape: FeatureShape, choice: ModelChoice) -> dict[str, Any]:
    """The identity fields that are known before any model is loaded; files of weights and classes are read for theirs."""
    identity = planned_manifest(shape, choice, choice.precision).identity()
    if shape.stage == "pixels":
        identity["precision"] = "none"
        return identity
    for name in _OF_THE_MODEL:
        del identity[name]
    if choice.precision == "auto":
        del identity["precision"]
    if choice.activation != "auto":
        identity["activation"] = choice.activation
    if Path(choice.weights).is_file():
        identity["weights_sha256"] = file_digest(Path(choice.weights))
    identity["classes_sha256"] = file_digest(Path(choice.classes)) if choice.classes else ""
    return identity


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
