"""Batches of pictures or rows, loaded ahead of the step that needs them."""

from __future__ import annotations

import contextlib
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot, Problem
from fsgr_tui.core.extraction import Resize
from fsgr_tui.core.language import tr
from fsgr_tui.extract.pixels import UnreadableImage, load_picture
from fsgr_tui.features.images import Image
from fsgr_tui.features.reader import FeatureFile, MissingIds

_BATCHES_AHEAD = 2
_STOPS = (signal.SIGINT, signal.SIGTERM)


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
                tr("{path} cannot be read: {error}.", path=self._file.path, error=error),
                tr("Look at the disk, then go on with --resume."),
            )


class RowLoader:
    """Batches of a file's rows, read by loader processes.

    Args:
        file: the file.
        device: batches are pinned where it is a GPU.
        workers: loader processes; 0 reads between the steps.
    """

    def __init__(self, file: FeatureFile, device: torch.device, workers: int) -> None:
        self.file = file
        self._rows = FeatureRows(file)
        self._pin = device.type == "cuda"
        self._workers = workers

    def require(self, ids: Iterable[int]) -> None:
        """See `GridSource`."""
        if missing := sorted(set(ids) - set(self.file.ids.tolist())):
            raise MissingIds(self.file.path, missing)

    def batches(self, ids: Iterable[Sequence[int]]) -> Generator[Tensor, None, None]:
        """See `GridSource`."""
        loader: DataLoader[Tensor] = DataLoader(
            self._rows,
            batch_sampler=ids,  # type: ignore[arg-type]  # any iterable of lists does; the stub asks for a Sampler
            collate_fn=_as_it_is,
            num_workers=self._workers,
            worker_init_fn=_leave_signals_to_parent if self._workers else None,
            pin_memory=self._pin,
            # The loader draws a seed; from the global generator that would shift the dropout of a resumed run.
            generator=torch.Generator(),
        )
        try:
            with _stop_signals_held():
                batches = iter(loader)
            for batch in batches:
                if isinstance(batch, Problem):
                    raise batch
                yield batch
        except RuntimeError as error:
            raise MachineCannot(
                tr("A loader process for {path} ended: {error}", path=self.file.path, error=error),
                tr("Mostly shared memory (/dev/shm) or memory ran out; try fewer --workers, or --workers 0."),
            ) from None


class PictureLoader:
    """Batches of pictures, uint8 (images, px, px, 3), decoded on threads.

    Args:
        images: all images, by id.
        px: edge of the tower's input.
        resize: as extracted.
        device: batches are pinned where it is a GPU.
        workers: threads that decode; 0 decodes between the steps.
    """

    def __init__(self, images: Sequence[Image], px: int, resize: Resize, device: torch.device, workers: int) -> None:
        self._paths = {image.id: image.path for image in images}
        self._px, self._resize = px, resize
        self._pin = device.type == "cuda"
        self._workers = workers

    def require(self, ids: Iterable[int]) -> None:
        """See `GridSource`."""
        if missing := sorted(set(ids) - self._paths.keys()):
            shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
            raise BadRequest(
                tr("{n:,} images of the captions are not among the pictures: {shown}.", n=len(missing), shown=shown),
                tr("Karpathy's split takes its pictures from train2014 and val2014; name both folders."),
            )

    def batches(self, ids: Iterable[Sequence[int]]) -> Generator[Tensor, None, None]:
        """See `GridSource`."""
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

    def _pixels(self, image_id: int) -> NDArray[np.uint8]:
        path = self._paths[image_id]
        try:
            return load_picture(path, self._px, self._resize).pixels
        except UnreadableImage as refusal:
            raise FoundFaults(
                tr("{path} cannot be read as a picture: {refusal}.", path=path, refusal=refusal),
                tr("Get it again, then go on with --resume."),
            ) from None

    def _joined(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        batch = torch.from_numpy(np.stack(pictures))
        return batch.pin_memory() if self._pin else batch


def _as_it_is(batch: Any) -> Any:
    return batch


@contextlib.contextmanager
def _stop_signals_held() -> Iterator[None]:
    """Loader processes that are started meanwhile begin with the stop signals held back, until they ignore them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_parent(_worker: int) -> None:
    """A signal to the whole process group must not end a loader process while the parent finishes its step."""
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
