"""The extraction pipeline: decode, encode, write, overlapped, with every stage timed.

Decoding runs on threads (Pillow releases the interpreter lock), encoding in the caller's thread, writing on one
thread of its own. Pixels travel through a small ring of buffers, so memory does not grow with the number of images.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsgr_tui.core.event import RateWindow
from fsgr_tui.core.extraction import Backend, Resize
from fsgr_tui.core.language import tr
from fsgr_tui.extract.encoder import AnyEncoder, Pending
from fsgr_tui.extract.pixels import Picture, UnreadableImage, load_picture
from fsgr_tui.features.images import Image

COMMIT_S = 2.0
TELL_S = 0.5
STALL_S = 60.0
RING = 3


class StageClock:
    """Seconds that each stage was busy, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy_s: dict[str, float] = {"decode": 0.0, "encode": 0.0, "write": 0.0}
        self._seen: deque[tuple[float, dict[str, float]]] = deque()

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds of work."""
        with self._lock:
            self._busy_s[stage] += seconds

    def shares(self, decoders: int, window_s: float = 10.0) -> dict[str, float]:
        """Share of the recent window that each stage was busy, 0..1; decoding counts against all its threads."""
        now = time.monotonic()
        with self._lock:
            busy = dict(self._busy_s)
        self._seen.append((now, busy))
        while len(self._seen) > 2 and self._seen[1][0] <= now - window_s:
            self._seen.popleft()
        then, before = self._seen[0]
        if now <= then:
            return {}
        lanes = {"decode": max(1, decoders), "encode": 1, "write": 1}
        return {stage: min(1.0, (busy[stage] - before[stage]) / (now - then) / lanes[stage]) for stage in busy}


def bottleneck(shares: dict[str, float], decoders: int, on_gpu: bool) -> str:
    """One sentence that names the stage which holds the rate down, and what to do about it."""
    if not shares or max(shares.values()) < 0.3:
        return ""
    stage = max(shares, key=lambda name: shares[name])
    where = "GPU" if on_gpu else "CPU"
    if stage == "encode":
        return tr(
            "encode-bound: the {where} is busy {busy:.0%} of the time, as it should be",
            where=where,
            busy=shares["encode"],
        )
    if stage == "decode":
        return tr(
            "decode-bound: {decoders} workers keep the {where} at {busy:.0%}; more --workers help while cores are free",
            decoders=decoders,
            where=where,
            busy=shares["encode"],
        )
    return tr("write-bound: the disk is busy {busy:.0%} of the time; a faster disk would help", busy=shares["write"])


class RowStore(Protocol):
    """Where rows go: a build of this process, or of the process that started it."""

    @property
    def missing(self) -> list[int]:
        """Rows to extract."""

    @property
    def done_count(self) -> int:
        """Rows that are confirmed."""

    def write(
        self, rows: Sequence[int], features: NDArray[np.generic], class_tokens: NDArray[np.generic] | None = None
    ) -> None:
        """Write rows."""

    def refuse(self, row: int, path: str, reason: str) -> None:
        """Note an image that cannot be used."""

    def commit(self) -> None:
        """Confirm what was written."""


class Teller(Protocol):
    """Who is told how a run goes; `EventWriter` is one."""

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """A phase begins."""

    def progress(
        self,
        step: int,
        total: int | None = None,
        rate: float | None = None,
        stages: dict[str, float] | None = None,
        bottleneck: str = "",
    ) -> None:
        """How far the phase is."""

    def warning(self, text: str) -> None:
        """Something may be wrong."""

    def refused(self, path: str, image_id: int, reason: str) -> None:
        """An image cannot be used."""


@dataclass
class Tally:
    """What the pictures of a run were like."""

    rotated: int = 0
    mislabelled: list[str] = field(default_factory=list)
    huge: list[str] = field(default_factory=list)
    refused: int = 0


@dataclass
class _Batch:
    rows: Sequence[int]
    pixels: Tensor
    pictures: list[Future[Picture]]


class Extraction:
    """One run over the missing rows of a store.

    Attributes:
        tally: what the pictures were like.
        done: rows written by this run.
    """

    def __init__(
        self,
        store: RowStore,
        images: Sequence[Image],
        encoder: AnyEncoder,
        *,
        resize: Resize,
        backend: Backend = "pillow",
        batch_size: int,
        workers: int,
        events: Teller,
        stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._images = images
        self._encoder = encoder
        self._resize: Resize = resize
        self._backend: Backend = backend
        self._batch_size = batch_size
        self._workers = workers
        self._events = events
        self._stopping = stopping
        self._clock = StageClock()
        self._window = RateWindow()
        self._before = store.done_count
        self._failure: BaseException | None = None
        self._stalled = False
        self.tally = Tally()
        self.done = 0

    def run(self) -> bool:
        """Extract what is missing.

        Returns:
            Whether everything was done; False when it was told to stop, with every finished batch confirmed.

        Raises:
            Problem: the disk or the device failed; what was confirmed is kept.
        """
        rows = self._store.missing
        self._events.phase("extract", len(self._images), "images")
        self._window.add(0)
        self._tell()
        written: queue.Queue[tuple[_Batch, Pending, list[int]] | None] = queue.Queue(maxsize=RING - 1)
        ring = self._ring(min(self._batch_size, len(rows) or 1))
        ended = threading.Event()
        writer = threading.Thread(target=self._write_all, args=(written, ring), name="write", daemon=True)
        teller = threading.Thread(target=self._tell_all, args=(ended,), name="tell", daemon=True)
        writer.start()
        teller.start()
        try:
            complete = self._encode_all(rows, ring, written)
        finally:
            written.put(None)
            writer.join()
            ended.set()
            teller.join()
        if self._failure is not None:
            raise self._failure
        self._store.commit()
        self._tell()
        return complete

    def _ring(self, size: int) -> queue.Queue[Tensor]:
        px = self._encoder.shape.input_px
        ring: queue.Queue[Tensor] = queue.Queue()
        for _ in range(RING):
            ring.put(torch.zeros((size, px, px, 3), dtype=torch.uint8, pin_memory=self._encoder.device.type == "cuda"))
        return ring

    def _encode_all(
        self,
        rows: list[int],
        ring: queue.Queue[Tensor],
        written: queue.Queue[tuple[_Batch, Pending, list[int]] | None],
    ) -> bool:
        starts = deque(range(0, len(rows), self._batch_size))
        ahead: deque[_Batch] = deque()
        with ThreadPoolExecutor(max(1, self._workers), "decode") as pool:
            try:
                while (starts or ahead) and not self._stopping() and self._failure is None:
                    # One buffer is being encoded or written, the others are filled ahead of it.
                    while starts and len(ahead) < RING - 1:
                        ahead.append(self._decode(rows[starts[0] : starts[0] + self._batch_size], ring.get(), pool))
                        starts.popleft()
                    batch = ahead.popleft()
                    good = self._settle(batch)
                    began = time.perf_counter()
                    pending = self._encoder.encode(batch.pixels[: len(batch.rows)])
                    if self._encoder.device.type != "cuda":
                        self._clock.add("encode", time.perf_counter() - began)
                    written.put((batch, pending, good))
            finally:
                for batch in ahead:
                    for future in batch.pictures:
                        future.cancel()
        return not starts and not ahead

    def _decode(self, rows: Sequence[int], pixels: Tensor, pool: ThreadPoolExecutor) -> _Batch:
        target = pixels.numpy()
        return _Batch(rows, pixels, [pool.submit(self._load, row, target[slot]) for slot, row in enumerate(rows)])

    def _load(self, row: int, target: NDArray[np.uint8]) -> Picture:
        began = time.perf_counter()
        try:
            picture = load_picture(self._images[row].path, self._encoder.shape.input_px, self._resize, self._backend)
            target[:] = picture.pixels
            # The picture's own pixels go at once: kept until the batch is written, they would double the ring.
            return replace(picture, pixels=target)
        finally:
            self._clock.add("decode", time.perf_counter() - began)

    def _settle(self, batch: _Batch) -> list[int]:
        """Wait for a batch's pictures; returns the slots that hold one.

        A refused picture keeps its slot, so that no neighbour moves.
        """
        good = []
        for slot, (row, future) in enumerate(zip(batch.rows, batch.pictures, strict=True)):
            image = self._images[row]
            try:
                picture = future.result()
            except UnreadableImage as refusal:
                self.tally.refused += 1
                self._store.refuse(row, image.path, str(refusal))
                self._events.refused(image.path, image.id, str(refusal))
                continue
            good.append(slot)
            self.tally.rotated += picture.rotated
            if picture.mislabelled:
                self.tally.mislabelled.append(tr("{path} is {kind}", path=image.path, kind=picture.mislabelled))
            if picture.huge_px:
                self.tally.huge.append(tr("{path} has {pixels:,} pixels.", path=image.path, pixels=picture.huge_px))
        return good

    def _write_all(
        self, written: queue.Queue[tuple[_Batch, Pending, list[int]] | None], ring: queue.Queue[Tensor]
    ) -> None:
        committed_at = time.monotonic()
        while (item := written.get()) is not None:
            batch, pending, good = item
            try:
                if self._failure is None:
                    features, class_tokens = pending.result()
                    if (device_s := pending.device_s()) is not None:
                        self._clock.add("encode", device_s)
                    began = time.perf_counter()
                    if len(good) < len(batch.rows):
                        features = features[good]
                        class_tokens = None if class_tokens is None else class_tokens[good]
                    self._store.write([batch.rows[slot] for slot in good], features, class_tokens)
                    if time.monotonic() - committed_at >= COMMIT_S:
                        self._store.commit()
                        committed_at = time.monotonic()
                    self._clock.add("write", time.perf_counter() - began)
                    self.done += len(good)
                    self._window.add(self.done + self.tally.refused)
            except BaseException as error:  # noqa: BLE001 - raised again by `run`, in the caller's thread
                self._failure = error
            finally:
                ring.put(batch.pixels)

    def _tell_all(self, ended: threading.Event) -> None:
        last, since = -1, time.monotonic()
        while not ended.wait(TELL_S):
            self._tell()
            if self.done + self.tally.refused != last:
                last, since, self._stalled = self.done + self.tally.refused, time.monotonic(), False
            elif time.monotonic() - since > STALL_S and not self._stalled:
                self._stalled = True
                self._events.warning(
                    tr("No image was finished for {stall_s:.0f} s: the disk or the device may hang.", stall_s=STALL_S)
                )

    def _tell(self) -> None:
        shares = self._clock.shares(self._workers)
        self._events.progress(
            self._before + self.done + self.tally.refused,
            len(self._images),
            self._window.rate(),
            shares,
            # Before the first batch is through, only decoding could have been busy.
            bottleneck(shares, self._workers, self._encoder.device.type == "cuda") if self.done else "",
        )
