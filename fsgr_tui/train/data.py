"""The data paths behind one interface: rows of a feature file, or pictures through the tower.

Pictures are decoded in the step's shadow, or come undecoded from a pixel cache.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import torch
from torch import Tensor

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.language import tr
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.extract.encoder import Encoder, make_encoder, manifest_of
from fsgr_tui.features.images import Image, read_image_list
from fsgr_tui.features.manifest import Manifest
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.train.adapters import AdaptedTower
from fsgr_tui.train.device import precision_name
from fsgr_tui.train.loaders import PictureLoader, RowLoader
from fsgr_tui.train.ranks import Ranks


class GridSource(Protocol):
    """Grid features by image id.

    Attributes:
        width: channels of a token.
        identity: what decides the numbers, as JSON values; a run may only go on with the same.
        adapted: the tower, where adapters are trained in it.
    """

    width: int
    identity: dict[str, Any]
    adapted: AdaptedTower | None

    def require(self, ids: Iterable[int]) -> None:
        """Make sure that all images are there.

        Raises:
            Problem: some are not; it lists their ids.
        """

    def batches(self, ids: Iterable[Sequence[int]]) -> Generator[Tensor, None, None]:
        """Load batches ahead of their use; close the iterator to end the loading early.

        Args:
            ids: image ids of each batch; repeats are loaded again, as every caption pair brings its image.

        Returns:
            One tensor per batch, for `grids`.

        Raises:
            Problem: an image cannot be loaded.
        """

    def grids(self, batch: Tensor) -> Tensor:
        """Grid features of a loaded batch, float32 (images, tokens, width), on the training device."""

    def shared_by(self, ranks: Ranks) -> None:
        """Train together with other processes what the source trains itself."""


class PrecomputedGrids:
    """Way B: grid features from a file.

    Args:
        path: the feature file.
        device: where the features are needed.
        workers: loader processes; 0 reads between the steps.

    Raises:
        Problem: see `FeatureFile`; also when its rows are no grids of one shape.
    """

    adapted: AdaptedTower | None = None

    def __init__(self, path: Path, device: torch.device, workers: int) -> None:
        file = FeatureFile(path)
        layout = file.layout
        if len(layout.shape) != 2 or not layout.uniform:
            raise BadRequest(
                tr("{path} holds rows of shape {shape}.", path=path, shape=layout.shape)
                if layout.uniform
                else tr("{path} holds rows of different shapes.", path=path),
                tr("Training needs one (tokens, width) array per image."),
            )
        self._loader = RowLoader(file, device, workers)
        self._device = device
        self.require, self.batches = self._loader.require, self._loader.batches
        self.width = layout.shape[1]
        foreign = {"file": path.name, "shape": list(layout.shape), "dtype": layout.dtype, "rows": len(file)}
        self.identity: dict[str, Any] = file.manifest.identity() if file.manifest else foreign

    def grids(self, batch: Tensor) -> Tensor:
        """See `GridSource`."""
        return batch.to(self._device, non_blocking=True).float()

    def shared_by(self, ranks: Ranks) -> None:
        """See `GridSource`; nothing is trained here."""


class RealtimeGrids:
    """Way A: pictures encoded by the tower within the training step.

    Args:
        images: all images, by id; without a cache.
        encoder: the tower on the training device.
        choice: what the tower was made from.
        workers: threads that decode, or loader processes of the cache; 0 loads between the steps.
        cache: pixels from which the pictures come undecoded.
        adapted: the tower with its adapters, where they are trained.
    """

    def __init__(
        self,
        images: Sequence[Image],
        encoder: Encoder,
        choice: ModelChoice,
        workers: int,
        *,
        cache: FeatureFile | None = None,
        adapted: AdaptedTower | None = None,
    ) -> None:
        made = manifest_of(encoder, choice)
        self._loader: RowLoader | PictureLoader
        if cache is None:
            self._loader = PictureLoader(images, encoder.shape.input_px, choice.resize, encoder.device, workers)
        else:
            _refuse_other_pixels(cache, made)
            self._loader = RowLoader(cache, encoder.device, workers)
        self.require, self.batches = self._loader.require, self._loader.batches
        self.adapted = adapted
        self._tower: Callable[[Tensor], Tensor] = encoder if adapted is None else adapted
        self._stored = torch.float16 if encoder.shape.dtype == "float16" else torch.float32
        self.width = encoder.shape.tower.width
        self.identity: dict[str, Any] = made.identity()

    def grids(self, batch: Tensor) -> Tensor:
        """See `GridSource`.

        From a frozen tower the features take the storage type on the way, so that both data paths train on the same
        numbers. With adapters there is no other path, and nothing is rounded.
        """
        if self.adapted is not None:
            return self._tower(batch).float()
        # What leaves inference mode cannot be kept for the backward pass; a copy can.
        grids: Tensor = self._tower(batch).to(self._stored, copy=True)
        return grids.float()

    def shared_by(self, ranks: Ranks) -> None:
        """See `GridSource`."""
        if self.adapted is not None:
            self._tower = ranks.together(self.adapted)


class ShuffledGrids:
    """A control: every image gets the features of another one, always the same.

    Args:
        source: where the features come from.
        ids: all images; at least two.
        seed: chooses the exchange.
    """

    def __init__(self, source: GridSource, ids: Iterable[int], seed: int) -> None:
        self._source = source
        self.grids, self.require, self.shared_by = source.grids, source.require, source.shared_by
        self.width, self.adapted = source.width, source.adapted
        self.identity: dict[str, Any] = {**source.identity, "images": f"exchanged, seed {seed}"}
        order = random.Random(seed).sample(known := sorted(set(ids)), len(known))
        # In one ring, so that none keeps its own.
        self._other = dict(zip(order, [*order[1:], order[0]], strict=True))

    def batches(self, ids: Iterable[Sequence[int]]) -> Generator[Tensor, None, None]:
        """See `GridSource`."""
        return self._source.batches([self._other[image_id] for image_id in members] for members in ids)


def open_source(spec: TrainSpec, device: torch.device, events: EventWriter) -> GridSource:
    """The data path that a run asks for.

    Raises:
        BadRequest: the spec does not say where the features or the pictures are, or asks for what does not go together.
        Problem: see `FeatureFile` and `make_encoder`.
    """
    if spec.mode == "precomputed":
        if not spec.features:
            raise BadRequest(
                tr("Training on precomputed features needs a feature file."), tr("Name it, or train in realtime.")
            )
        return PrecomputedGrids(Path(spec.features), device, spec.workers)
    if not (spec.images_file or spec.pixels) or spec.model is None:
        raise BadRequest(tr("Training in realtime needs the pictures and a CLIP model."), tr("Name both."))
    choice = msgspec.structs.replace(spec.model, device=str(device))
    if spec.adapters is not None:
        # Gradients pass through the tower, so it computes as the captioner does.
        choice = msgspec.structs.replace(choice, precision=precision_name(spec.precision, device))
    images = () if spec.pixels else read_image_list(Path(spec.images_file))
    cache = FeatureFile(spec.pixels, "pixels") if spec.pixels else None
    encoder = make_encoder(choice)
    for notice in encoder.loaded.notices:
        events.notice(notice)
    adapted = None if spec.adapters is None else AdaptedTower(encoder, spec.adapters, spec.seed)
    return RealtimeGrids(images, encoder, choice, spec.workers, cache=cache, adapted=adapted)


_PIXEL_FIELDS = ("image_px", "resize", "interpolation", "antialias", "decoder")


def _refuse_other_pixels(cache: FeatureFile, made: Manifest) -> None:
    """Make sure that a cache holds the pictures that decoding would give."""
    theirs = cache.manifest
    if theirs is None or theirs.stage != "pixels":
        raise BadRequest(
            tr("{path} is no pixel cache of this program.", path=cache.path),
            tr("Make one with `fsgr-tui extract --stage pixels`."),
        )
    differing = [
        tr(
            "{name}: {theirs} there, {needed} needed",
            name=name,
            theirs=getattr(theirs, name),
            needed=getattr(made, name),
        )
        for name in _PIXEL_FIELDS
        if getattr(theirs, name) != getattr(made, name)
    ]
    if differing:
        raise BadRequest(
            tr(
                "{path} holds other pictures than the tower takes ({differences}).",
                path=cache.path,
                differences=tr("; ").join(differing),
            ),
            tr("Make the cache with the flags of this training, or give the flags that it was made with."),
        )
