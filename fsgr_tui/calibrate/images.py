"""The stages of an extraction: decoding, the tower, and both overlapped."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray

from fsgr_tui.calibrate.cache import evict
from fsgr_tui.calibrate.meter import Meter
from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.event import Silent
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import Estimate, Unknown
from fsgr_tui.extract.encoder import Encoder, Pending
from fsgr_tui.extract.pipeline import Extraction
from fsgr_tui.extract.pixels import UnreadableImage, load_picture
from fsgr_tui.features.build import FeatureBuild
from fsgr_tui.features.images import Image

_AHEAD_PER_WORKER = 4
_WARM_UP_BATCHES = 3
_ROUGH_IMAGES = 4
_CYCLE = 100_000


class Decoded(NamedTuple):
    """What decoding gave.

    Attributes:
        rate: images/s.
        cold: whether the page cache was dropped for each picture, so that all were read from their disk.
        readable: the images that were decoded; refused: (path, reason) of the others.
        pixels: uint8 (some images, px, px, 3).
    """

    rate: Estimate | Unknown
    cold: bool
    readable: list[Image]
    refused: list[tuple[str, str]]
    pixels: NDArray[np.uint8]


def decode(images: Sequence[Image], px: int, choice: ModelChoice, workers: int, keep: int, meter: Meter) -> Decoded:
    """Decode and resize pictures on threads, over and over, as the extraction does.

    Args:
        px: edge of the square result.
        workers: threads; 0 counts as one.
        keep: how many pictures to hand back.

    Raises:
        FoundFaults: not one of them could be read.
    """
    workers = max(1, workers)
    readable: dict[int, Image] = {}
    refused: dict[str, str] = {}
    pixels: list[NDArray[np.uint8]] = []
    ahead: deque[tuple[Image, Future[tuple[NDArray[np.uint8], bool]]]] = deque()
    cold = evict(image.path for image in images)
    with ThreadPoolExecutor(workers, "decode") as pool:
        number, last, seen = 0, meter.clock(), 0
        while meter.open:
            while len(ahead) < _AHEAD_PER_WORKER * workers:
                image = images[number % len(images)]
                ahead.append((image, pool.submit(_pixels, image.path, px, choice)))
                number += 1
            image, future = ahead.popleft()
            try:
                found, dropped = future.result()
            except UnreadableImage as refusal:
                refused[image.path] = str(refusal)
                if len(refused) == len(images):
                    break
                continue
            readable[image.id] = image
            cold &= dropped
            if len(pixels) < keep:
                pixels.append(found)
            now, seen = meter.clock(), seen + 1
            # The first pictures of each worker come while the others still start.
            if seen > workers:
                meter.add(1, now - last)
            last = now
        pool.shutdown(wait=True, cancel_futures=True)
    if refused and not readable:
        path, reason = next(iter(refused.items()))
        raise FoundFaults(
            tr(
                "None of the {n:,} images that were tried could be read; the first: {path}: {reason}.",
                n=len(refused),
                path=path,
                reason=reason,
            ),
            tr("Look at --image-root, or leave it out to measure with generated pictures."),
        )
    rate = meter.rate()
    return Decoded(rate, cold, list(readable.values()), list(refused.items()), np.stack(pixels))


def seconds_per_image(encoder: Encoder, pixels: NDArray[np.uint8]) -> float:
    """Roughly how long the tower takes for an image, from a few of them; for choosing a batch that fits into the time."""
    some = torch.from_numpy(pixels[:_ROUGH_IMAGES])
    encoder.encode(some).result()
    began = time.perf_counter()
    encoder.encode(some).result()
    return (time.perf_counter() - began) / len(some)


def encode(
    encoder: Encoder, pixels: NDArray[np.uint8], batch_size: int, meter: Meter
) -> tuple[Estimate | Unknown, NDArray[np.generic]]:
    """Images/s of the tower alone: pixels to the device, tokens, pooling, and the rows back.

    Args:
        pixels: uint8 (images, px, px, 3); repeated to fill a batch.

    Returns:
        The rate, and the rows of the last batch in their storage type.
    """
    on_gpu = encoder.device.type == "cuda"
    batch = torch.from_numpy(np.resize(pixels, (batch_size, *pixels.shape[1:])))
    batch = batch.pin_memory() if on_gpu else batch
    rows = encoder.encode(batch).result()[0]
    for _ in range(_WARM_UP_BATCHES if on_gpu else 0):
        rows = encoder.encode(batch).result()[0]
    meter.begin()
    # The next batch is launched before the last one is waited for, as the extraction does.
    running: deque[Pending] = deque([encoder.encode(batch)] if on_gpu else [])
    last = meter.clock()
    while meter.open:
        running.append(encoder.encode(batch))
        rows = running.popleft().result()[0]
        now = meter.clock()
        meter.add(batch_size, now - last)
        last = now
    for pending in running:
        pending.result()
    return meter.rate(), rows


def extract(
    build: FeatureBuild,
    encoder: Encoder,
    images: Sequence[Image],
    choice: ModelChoice,
    batch_size: int,
    workers: int,
    meter: Meter,
) -> Estimate | Unknown:
    """Images/s of the whole extraction, its stages overlapped and its rows written and synced.

    Args:
        build: takes the rows, over and over.
        images: readable ones.
    """
    store = _Timed(build, meter)
    Extraction(
        store,
        Cycle(images, _CYCLE),
        encoder,
        resize=choice.resize,
        backend=choice.backend,
        batch_size=batch_size,
        workers=workers,
        events=Silent(),
        stopping=lambda: not meter.open,
    ).run()
    return meter.rate()


class Cycle(Sequence[Image]):
    """A few images as if they were many."""

    def __init__(self, images: Sequence[Image], count: int) -> None:
        self._images = images
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> Image: ...
    @overload
    def __getitem__(self, number: slice) -> list[Image]: ...
    def __getitem__(self, number: int | slice) -> Image | list[Image]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(self._count))]
        if not 0 <= number < self._count:
            raise IndexError(number)
        return self._images[number % len(self._images)]


class _Timed:
    """A build that every batch goes into, from its first row again when it is full, with the time of each batch."""

    def __init__(self, build: FeatureBuild, meter: Meter) -> None:
        self._build = build
        self._meter = meter
        self._rows = len(build.ids)
        self._last: float | None = None
        self.missing = list(range(_CYCLE))
        self.done_count = 0

    def write(
        self, rows: Sequence[int], features: NDArray[np.generic], class_tokens: NDArray[np.generic] | None = None
    ) -> None:
        """Write a batch; the first one only starts the clock, as it comes through an empty pipeline."""
        self._build.write([row % self._rows for row in rows], features, class_tokens)
        now = self._meter.clock()
        if self._last is None:
            self._meter.begin()
        else:
            self._meter.add(len(rows), now - self._last)
        self._last = now

    def refuse(self, row: int, path: str, reason: str) -> None:
        """A picture that was readable before: the batch is smaller by it."""

    def commit(self) -> None:
        """Bring the rows to the disk."""
        self._build.commit()


def _pixels(path: str, px: int, choice: ModelChoice) -> tuple[NDArray[np.uint8], bool]:
    """The pixels, and whether the kernel forgot the file afterwards: a few files would else be read from memory soon."""
    pixels = load_picture(path, px, choice.resize, choice.backend).pixels
    return pixels, evict([path])
