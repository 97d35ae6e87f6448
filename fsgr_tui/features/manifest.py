"""What a feature file says about itself: HDF5 attributes of the root, so that readers which list keys see features only."""

from __future__ import annotations

import json
import math
from typing import Any

import h5py
import msgspec
import numpy as np

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.language import mark, tr

FORMAT_VERSION = 1

ROW_IDS = "row_ids"
ROW_CRC32 = "row_crc32"
GLOBAL = "global"
REFUSED = "refused_images"

IDENTITY = (
    "clip_model", "weights_sha256", "activation", "image_px", "resize", "interpolation", "antialias", "decoder",
    "mean", "std", "stage", "grid", "pooling", "tokens", "width", "global_width", "dtype", "precision", "classes_sha256",
)  # fmt: skip
"""The fields that decide what a row holds: files whose identity differs may not be resumed into or merged."""

FIELD_WORDS = {
    "clip_model": mark("clip model"), "weights_sha256": mark("weights sha256"), "activation": mark("activation"),
    "image_px": mark("image px"), "resize": mark("resize"), "interpolation": mark("interpolation"),
    "antialias": mark("antialias"), "decoder": mark("decoder"), "mean": mark("mean"), "std": mark("std"),
    "stage": mark("stage"), "grid": mark("grid"), "pooling": mark("pooling"), "tokens": mark("tokens"),
    "width": mark("width"), "global_width": mark("global width"), "dtype": mark("dtype"), "precision": mark("precision"),
    "classes_sha256": mark("classes sha256"), "weights": mark("weights"), "dataset": mark("dataset"),
    "splits": mark("splits"), "converted_from": mark("converted from"),
}  # fmt: skip
"""What a person calls the fields that tables show."""

_TEXTS = ("splits", "converted_from")
"""Sequences of texts."""


class Manifest(msgspec.Struct, frozen=True):
    """How the features were made.

    Attributes:
        clip_model: open_clip's spelling.
        weights: tag, path or `random:SEED`, as given.
        weights_sha256: digest of the weights file; for other sources, of the loaded tensors.
        activation: "quick-gelu" or "gelu".
        image_px: edge of the tower's input.
        resize: "squash" (both edges to image_px) or "crop" (short edge, then centre crop).
        interpolation, antialias, decoder: how pixels were made; the decoder by library name, not version.
        mean, std: per-channel normalisation of values in 0..1.
        stage: where in the tower the tokens were taken.
        grid, pooling: the stored grid, and how the native one became it.
        tokens, width, dtype: a row is an array (tokens, width) of dtype; (tokens,) for labels, (px, px, 3) for pixels.
        global_width: channels of the class token that is stored beside each row; 0 for none.
        preprocess_difference: how far pixels and features are from those of the reference preprocessing (Pillow, squash), as
            measured in the run.
        converted_from: storage types that the values had before `convert` changed them, the first one first; empty as
            extracted. Going through a narrower type and back does not bring the lost digits back.
        classes_sha256: for labels, the digest of the text embeddings that they index.
        precision: arithmetic of the tower: fp32, bf16 or fp16.
        dataset, splits: where the images came from.
        images: rows in the file; refused: images that could not be used.
        ids_sha256: digest of the ids that were asked for (`ids_digest`).
    """

    clip_model: str
    weights: str
    weights_sha256: str
    activation: str
    image_px: int
    resize: str
    interpolation: str
    antialias: bool
    decoder: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stage: str
    grid: str
    pooling: str
    tokens: int
    width: int
    dtype: str
    precision: str
    global_width: int = 0
    classes_sha256: str = ""
    preprocess_difference: str = ""
    device: str = ""
    batch_size: int = 0
    dataset: str = ""
    splits: tuple[str, ...] = ()
    images: int = 0
    refused: int = 0
    ids_sha256: str = ""
    versions: dict[str, str] = {}
    started: str = ""
    ended: str = ""
    command: str = ""
    converted_from: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION

    @property
    def suffix(self) -> str:
        """What follows the id in a row's key."""
        return self.stage if self.stage in ("pixels", "labels") else "grids"

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a row's array."""
        if self.stage == "pixels":
            return (self.image_px, self.image_px, 3)
        return (self.tokens,) if self.stage == "labels" else (self.tokens, self.width)

    @property
    def parts(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """(suffix, shape) of the arrays that one image has, as they lie behind each other in the file."""
        main = ((self.suffix, self.row_shape),)
        return (*main, (GLOBAL, (self.global_width,))) if self.global_width else main

    @property
    def row_bytes(self) -> int:
        """Exact bytes of all of one image's arrays."""
        return sum(math.prod(shape) for _, shape in self.parts) * int(np.dtype(self.dtype).itemsize)

    def identity(self) -> dict[str, Any]:
        """The fields that decide what a row holds, as JSON values."""
        built: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return {name: built[name] for name in IDENTITY}


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The identity fields in which two files differ, with both values."""
    return {name: (ours.get(name), theirs.get(name)) for name in IDENTITY if ours.get(name) != theirs.get(name)}


def short_value(value: Any) -> str:
    """A field's value for a table: digests cut, numbers of a list rounded."""
    if isinstance(value, (list, tuple)):
        return ", ".join(f"{each:.4g}" if isinstance(each, float) else str(each) for each in value)
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text


def write_manifest(file: h5py.File, manifest: Manifest) -> None:
    """Set the manifest as attributes of an open file's root; dictionaries as JSON text, texts of a sequence with commas between, numbers as arrays."""
    for name, value in msgspec.to_builtins(manifest).items():
        if isinstance(value, dict):
            file.attrs[name] = json.dumps(value)
        elif name in _TEXTS:
            file.attrs[name] = ",".join(value)
        else:
            file.attrs[name] = value


def read_manifest(file: h5py.File) -> Manifest | None:
    """The manifest of an open file; None when the file carries none (files of other programs).

    Raises:
        FoundFaults: attributes are there, but not those of a manifest this version knows.
    """
    attrs = file.attrs
    if "format_version" not in attrs or "clip_model" not in attrs:
        return None
    values: dict[str, Any] = {}
    for name in Manifest.__struct_fields__:
        if name not in attrs:
            continue
        value = attrs[name]
        if name == "versions":
            values[name] = _json_object(value)
        elif name in _TEXTS:
            values[name] = tuple(part for part in str(value).split(",") if part)
        elif isinstance(value, np.ndarray):
            values[name] = tuple(value.tolist())
        elif isinstance(value, np.generic):
            values[name] = value.item()
        else:
            values[name] = value
    try:
        return msgspec.convert(values, Manifest)
    except msgspec.ValidationError as error:
        raise FoundFaults(
            tr(
                "The attributes of {filename} are no manifest that this version knows: {error}.",
                filename=file.filename,
                error=error,
            ),
            tr("Another program or a newer fsgr-tui wrote them; get the file again, or use a newer version."),
        ) from None


def _json_object(text: Any) -> Any:
    """What a text says; the text itself where it says nothing, which the manifest's types then refuse."""
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def read_checksums(file: h5py.File) -> dict[int, int]:
    """The CRC32 of every row by its image id; empty for a file that keeps none."""
    if ROW_IDS not in file.attrs or ROW_CRC32 not in file.attrs:
        return {}
    return dict(zip(file.attrs[ROW_IDS].tolist(), file.attrs[ROW_CRC32].tolist(), strict=True))


def read_refused(file: h5py.File) -> list[tuple[int, str, str]]:
    """(image id, path, reason) of the images that were refused when the file was made."""
    return [(int(image_id), path, reason) for image_id, path, reason in json.loads(file.attrs.get(REFUSED, "[]"))]
