"""Feature files for training loops: a map-style data set, and batches read ahead into buffers that are reused.

Neither imports torch: `torch.utils.data.DataLoader` takes any object with `__len__` and `__getitem__`, and its default
collation turns NumPy arrays into tensors.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fsgr_tui.features.reader import FeatureFile, MissingIds

Allocate = Callable[[tuple[int, ...], "np.dtype[np.generic]"], NDArray[np.generic]]


class FeatureDataset:
    """Rows of a feature file by position; works with fork, spawn and forkserver workers.

    Args:
        file: an open file, or the path of one.
        ids: the images, in the order of their positions, repeats allowed (one per caption, say); None for all.

    Raises:
        MissingIds: the file has no features of some of them.
        Problem: see `FeatureFile`.
    """

    def __init__(self, file: FeatureFile | str, ids: Sequence[int] | None = None) -> None:
        self.file = file if isinstance(file, FeatureFile) else FeatureFile(file)
        self.ids = self.file.ids if ids is None else np.asarray(ids, np.int64)
        if missing := sorted(set(self.ids.tolist()) - set(self.file.ids.tolist())):
            raise MissingIds(self.file.path, missing)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> NDArray[np.generic]:
        """One image's row, (tokens, width), in the file's dtype."""
        return self.file[int(self.ids[position])]

    def __getitems__(self, positions: Sequence[int]) -> list[NDArray[np.generic]]:
        """Rows of a batch, read together; DataLoader calls this where it can."""
        return list(self.file.read(self.ids[list(positions)].tolist()))


def read_ahead(
    file: FeatureFile, batches: Iterable[Sequence[int]], *, ahead: int = 2, allocate: Allocate | None = None
) -> Iterator[NDArray[np.generic]]:
    """Read batches on a thread while the loop computes, into a few buffers that are reused.

    Reading releases the interpreter lock, so one thread keeps up without any loader process.

    Args:
        batches: image ids of each batch; none may be longer than the first.
        ahead: batches that are read before they are asked for.
        allocate: makes a buffer of (shape, dtype); for a GPU, one in pinned memory:
            `lambda shape, dtype: torch.empty(shape, dtype=torch.float16, pin_memory=True).numpy()`.

    Yields:
        Arrays (images, tokens, width) of the file's dtype; each is valid until the next one is asked for.

    Raises:
        MissingIds: an image has no features.
        Problem: the file cannot be read.
    """
    make = allocate or np.empty
    todo = iter(batches)
    first = next(todo, None)
    if first is None:
        return
    free: queue.Queue[NDArray[np.generic]] = queue.Queue()
    for _ in range(ahead + 1):
        free.put(make((len(first), *file.row_shape), file.dtype))
    ready: queue.Queue[tuple[NDArray[np.generic], int] | BaseException | None] = queue.Queue()
    ended = threading.Event()

    def read() -> None:
        try:
            for ids in _chained(first, todo):
                buffer = free.get()
                if ended.is_set():
                    return
                file.read(ids, buffer[: len(ids)])
                ready.put((buffer, len(ids)))
            ready.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the loop's own thread
            ready.put(error)

    reader = threading.Thread(target=read, name="read ahead", daemon=True)
    reader.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            buffer, count = item
            yield buffer[:count]
            free.put(buffer)
    finally:
        ended.set()
        free.put(np.empty(0, file.dtype))
        reader.join()


def _chained(first: Sequence[int], rest: Iterator[Sequence[int]]) -> Iterator[Sequence[int]]:
    yield first
    yield from rest
