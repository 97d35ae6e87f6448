"""The two data paths behind one interface: rows of a feature file, or pictures through the frozen tower."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot, Problem
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.extract.encoder import Encoder, make_encoder, manifest_of
from fsgr_tui.extract.pixels import UnreadableImage, load_picture
from fsgr_tui.features.images import Image, read_image_list
from fsgr_tui.features.reader import FeatureFile, MissingIds

_BATCHES_AHEAD = 2


class GridSource(Protocol):
    """Grid features by image id.

    Attributes:
        width: channels of a token.
        identity: what decides the numbers, as JSON values; a run may only go on with the same.
    """

    width: int
    identity: dict[str, Any]

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


class FeatureRows(Dataset[Tensor]):
    """Rows of a feature file, read batch by batch; each loader process opens the file for itself."""

    def __init__(self, file: FeatureFile) -> None:
        self._file = file

    def __getitem__(self, image_id: int) -> Tensor:
        return torch.from_numpy(self._file[image_id])

    def __getitems__(self, ids: Sequence[int]) -> Tensor | Problem:
        # A problem travels as a value: an exception would come out of the loader process as another one, wrapped in a
        # traceback as text.
        try:
            return torch.from_numpy(self._file.read(ids))
        except Problem as problem:
            return FoundFaults(problem.what, problem.fix)
        except OSError as error:
            return FoundFaults(
                f"{self._file.path} cannot be read: {error}.", "Look at the disk, then go on with --resume."
            )


class PrecomputedGrids:
    """Way B: grid features from a file.

    Args:
        path: the feature file.
        device: where the features are needed.
        workers: loader processes; 0 reads between the steps.

    Raises:
        Problem: see `FeatureFile`; also when its rows are no grids of one shape.
    """

    def __init__(self, path: Path, device: torch.device, workers: int) -> None:
        self._file = FeatureFile(path)
        layout = self._file.layout
        if len(layout.shape) != 2 or not layout.uniform:
            found = f"rows of shape {layout.shape}" if layout.uniform else "rows of different shapes"
            raise BadRequest(f"{path} holds {found}.", "Training needs one (tokens, width) array per image.")
        self._rows = FeatureRows(self._file)
        self._device = device
        self._workers = workers
        self.width = layout.shape[1]
        manifest = self._file.manifest
        foreign = {"file": path.name, "shape": list(layout.shape), "dtype": layout.dtype, "rows": len(self._file)}
        self.identity: dict[str, Any] = manifest.identity() if manifest else foreign

    def require(self, ids: Iterable[int]) -> None:
        """See `GridSource`."""
        if missing := sorted(set(ids) - set(self._file.ids.tolist())):
            raise MissingIds(self._file.path, missing)

    def batches(self, ids: Iterable[Sequence[int]]) -> Generator[Tensor, None, None]:
        """See `GridSource`."""
        loader: DataLoader[Tensor] = DataLoader(
            self._rows,
            batch_sampler=ids,  # type: ignore[arg-type]  # any iterable of lists does; the stub asks for a Sampler
            collate_fn=_as_it_is,
            num_workers=self._workers,
            worker_init_fn=_leave_signals_to_parent if self._workers else None,
            pin_memory=self._device.type == "cuda",
            # The loader draws a seed; from the global generator that would shift the dropout of a resumed run.
            generator=torch.Generator(),
        )
        try:
            for batch in loader:
                if isinstance(batch, Problem):
                    raise batch
                yield batch
        except RuntimeError as error:
            raise MachineCannot(
                f"A loader process for {self._file.path} ended: {error}",
                "Mostly shared memory (/dev/shm) or memory ran out; try fewer --workers, or --workers 0.",
            ) from None

    def grids(self, batch: Tensor) -> Tensor:
        """See `GridSource`."""
        return batch.to(self._device, non_blocking=True).float()


class RealtimeGrids:
    """Way A: pictures decoded on threads and encoded by the frozen tower within the training step.

    Args:
        images: all images, by id.
        encoder: the tower on the training device.
        choice: what the tower was made from.
        workers: threads that decode; 0 decodes between the steps.
    """

    def __init__(self, images: Sequence[Image], encoder: Encoder, choice: ModelChoice, workers: int) -> None:
        self._paths = {image.id: image.path for image in images}
        self._encoder = encoder
        self._resize = choice.resize
        self._workers = workers
        self._stored = torch.float16 if encoder.shape.dtype == "float16" else torch.float32
        self.width = encoder.shape.tower.width
        self.identity: dict[str, Any] = manifest_of(encoder, choice).identity()

    def require(self, ids: Iterable[int]) -> None:
        """See `GridSource`."""
        if missing := sorted(set(ids) - self._paths.keys()):
            shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
            raise BadRequest(
                f"{len(missing):,} images of the captions are not among the pictures: {shown}.",
                "Karpathy's split takes its pictures from train2014 and val2014; name both folders.",
            )

    def batches(self, ids: Iterable[Sequence[int]]) -> Generator[Tensor, None, None]:
        """See `GridSource`; a batch is uint8 (images, px, px, 3)."""
        if not self._workers:
            for members in ids:
                yield self._joined([self._pixels(image_id) for image_id in members])
            return
        ahead: deque[list[Future[NDArray[np.uint8]]]] = deque()
        with ThreadPoolExecutor(self._workers, "decode") as pool:
            try:
                for members in ids:
                    ahead.append([pool.submit(self._pixels, image_id) for image_id in members])
                    if len(ahead) > _BATCHES_AHEAD:
                        yield self._joined([future.result() for future in ahead.popleft()])
                while ahead:
                    yield self._joined([future.result() for future in ahead.popleft()])
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def grids(self, batch: Tensor) -> Tensor:
        """See `GridSource`.

        The features take the storage type on the way, so that both data paths train on the same numbers.
        """
        # What leaves inference mode cannot be kept for the backward pass; a copy can.
        grids: Tensor = self._encoder(batch).to(self._stored, copy=True)
        return grids.float()

    def _pixels(self, image_id: int) -> NDArray[np.uint8]:
        path = self._paths[image_id]
        try:
            return load_picture(path, self._encoder.shape.input_px, self._resize).pixels
        except UnreadableImage as refusal:
            raise FoundFaults(
                f"{path} cannot be read as a picture: {refusal}.", "Get it again, then go on with --resume."
            ) from None

    def _joined(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        batch = torch.from_numpy(np.stack(pictures))
        return batch.pin_memory() if self._encoder.device.type == "cuda" else batch


def open_source(spec: TrainSpec, device: torch.device, events: EventWriter) -> GridSource:
    """The data path that a run asks for.

    Raises:
        BadRequest: the spec does not say where the features or the pictures are.
        Problem: see `FeatureFile` and `make_encoder`.
    """
    if spec.mode == "precomputed":
        if not spec.features:
            raise BadRequest("Training on precomputed features needs a feature file.", "Name it, or train in realtime.")
        return PrecomputedGrids(Path(spec.features), device, spec.workers)
    if not spec.images_file or spec.model is None:
        raise BadRequest("Training in realtime needs the pictures and a CLIP model.", "Name both.")
    choice = msgspec.structs.replace(spec.model, device=str(device))
    images = read_image_list(Path(spec.images_file))
    encoder = make_encoder(choice)
    for notice in encoder.loaded.notices:
        events.notice(notice)
    return RealtimeGrids(images, encoder, choice, spec.workers)


def _as_it_is(batch: Any) -> Any:
    return batch


def _leave_signals_to_parent(_worker: int) -> None:
    """A signal to the whole process group must not end a loader process while the parent finishes its step."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
