"""What the values of a file's rows are like: one pass, whose memory does not grow with their number."""

from __future__ import annotations

import time
import zlib
from collections.abc import Collection, Sequence
from typing import Literal

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.features.manifest import GLOBAL, ROW_CRC32, ROW_IDS
from fsgr_tui.features.reader import FeatureFile

FLOAT16_LARGEST = 65504.0

NOISE_BELOW = 0.02
"""Mean cosine of neighbouring tokens, channel means removed: independent random numbers give 0 +- 0.001 for a sample
of this size; trained and untrained towers alike give 0.2 and more, since neighbouring patches look alike."""

CHANNELS_BELOW = 0.005
"""Share of the variance between channel means: 1/tokens looked at for random numbers, some percent for any features."""

SLOW_ROWS_PER_S = 1000.0
"""Below this a loader of a few workers is slower than a training step on a modern GPU (about 1,000 pairs/s)."""

Judgement = Literal["ok", "note", "bad"]


class CheckRow(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    expected: str
    found: str
    judgement: Judgement
    detail: str = ""


def few(ids: Collection[int]) -> str:
    """Ids for a sentence: the first ten, and how many there are."""
    shown = ", ".join(map(str, list(ids)[:10]))
    return f"{shown}, ... ({len(ids):,} in all)" if len(ids) > 10 else shown


class RowValues:
    """Collects what rows hold; one checksum a row is all that is kept.

    Args:
        file: the file.
        deep: compare the rows' checksums with those of the manifest.
    """

    def __init__(self, file: FeatureFile, *, deep: bool) -> None:
        self._file = file
        self._least, self._most = float("inf"), float("-inf")
        self._sum = self._squares = 0.0
        self._count = 0
        self._faults: dict[str, list[int]] = {"NaN": [], "Inf": [], "all-zero rows": [], "constant rows": []}
        self._overflow: list[int] = []
        self._by_crc32: dict[int, int] = {}
        self._twins: list[tuple[int, int]] = []
        self._neighbours: list[float] = []
        self._mean: NDArray[np.float32] | None = None
        self._channel_sum: NDArray[np.float64] | None = None
        self._channel_squares = 0.0
        self._tokens = 0
        self._read_s = 0.0
        self._torn: list[int] = []
        self._crc32 = _stored_crc32(file) if deep else {}
        self._checked = 0
        # An image's checksum covers all of its arrays.
        both = bool(self._crc32) and file.manifest is not None and file.manifest.global_width > 0
        self._class_tokens = FeatureFile(file.path, GLOBAL) if both else None

    def add(self, ids: Sequence[int]) -> None:
        """Read and look at the rows of these ids."""
        if not self._file.layout.uniform:
            # Region features: every image has as many rows as it has regions.
            for image_id in ids:
                began = time.perf_counter()
                row = self._file[image_id]
                self._look([image_id], row[None], time.perf_counter() - began)
            return
        began = time.perf_counter()
        stored = self._file.read(ids)
        self._look(ids, stored, time.perf_counter() - began)

    def _look(self, ids: Sequence[int], stored: NDArray[np.generic], read_s: float) -> None:
        self._read_s += read_s
        beside = self._class_tokens.read(ids) if self._class_tokens else None
        for number, image_id in enumerate(ids):
            crc32 = zlib.crc32(np.ascontiguousarray(stored[number]).data)
            if beside is not None:
                crc32 = zlib.crc32(np.ascontiguousarray(beside[number]).data, crc32)
            self._note_bytes(image_id, crc32)
        values = stored.astype(np.float32, copy=False)
        self._note_values(ids, values.reshape(len(ids), -1))
        if values.ndim == 3 and np.isfinite(values).all():
            self._note_channels(values)
            self._note_structure(values)

    def _note_bytes(self, image_id: int, crc32: int) -> None:
        if image_id in self._crc32:
            self._checked += 1
            if self._crc32[image_id] != crc32:
                self._torn.append(image_id)
        twin = self._by_crc32.setdefault(crc32, image_id)
        if twin != image_id:
            self._twins.append((twin, image_id))

    def _note_values(self, ids: Sequence[int], values: NDArray[np.float32]) -> None:
        nan, inf = np.isnan(values).any(1), np.isinf(values).any(1)
        finite = values[~(nan | inf)]
        zero = (values == 0).all(1)
        constant = (values == values[:, :1]).all(1) & ~zero
        found = {"NaN": nan, "Inf": inf, "all-zero rows": zero, "constant rows": constant}
        for name, mask in found.items():
            self._faults[name] += [ids[number] for number in np.flatnonzero(mask).tolist()]
        if len(finite):
            self._least, self._most = min(self._least, float(finite.min())), max(self._most, float(finite.max()))
            self._sum += float(finite.sum(dtype=np.float64))
            self._squares += float(np.square(finite, dtype=np.float64).sum())
            self._count += finite.size

    def _note_channels(self, rows: NDArray[np.float32]) -> None:
        tokens = rows.reshape(-1, rows.shape[-1])
        if self._channel_sum is None:
            self._channel_sum = np.zeros(rows.shape[-1])
        if len(self._channel_sum) == rows.shape[-1]:
            self._channel_sum += tokens.sum(0, dtype=np.float64)
            self._channel_squares += float(np.square(tokens, dtype=np.float64).sum())
            self._tokens += len(tokens)

    def _channel_share(self) -> float:
        """Share of all variance that lies between the channels' means; 0 for independent random numbers."""
        if self._channel_sum is None or not self._tokens:
            return 1.0
        means = self._channel_sum / self._tokens
        variance = self._channel_squares / (self._tokens * len(means)) - means.mean() ** 2
        return float(means.var() / variance) if variance > 0 else 1.0

    def _note_structure(self, rows: NDArray[np.float32]) -> None:
        """Mean cosine between tokens that are neighbours in a row of the grid, channel means removed."""
        side = round(rows.shape[1] ** 0.5)
        if side**2 != rows.shape[1] or side < 2:
            return
        if self._mean is None:
            self._mean = rows.mean((0, 1))
        grid = (rows - self._mean).reshape(len(rows), side, side, -1)
        left, right = grid[:, :, :-1], grid[:, :, 1:]
        norms = np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1)
        products = (left * right).sum(-1)
        cosines = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
        self._neighbours += cosines.mean((1, 2)).tolist()

    def rows(self, total: int) -> list[CheckRow]:
        """The findings; `total` is the number of rows in the file."""
        rows = [self._range_row()]
        # A picture of one colour, or of one class, is rare but no fault of the file.
        features = self._file.dtype.kind == "f"
        for name, ids in self._faults.items() if features else ():
            rows.append(
                CheckRow(
                    name, "0", f"{len(ids):,}", "bad" if ids else "ok", f"{name} in images {few(ids)}." if ids else ""
                )
            )
        rows.append(
            CheckRow(
                "equal rows", "0", f"{len(self._twins):,}", "note" if self._twins else "ok",
                f"Images with the very same features: {', '.join(f'{a} and {b}' for a, b in self._twins[:5])}." if self._twins else "",
            )
        )  # fmt: skip
        if self._tokens:
            rows.append(self._structure_row())
        if self._crc32:
            rows.append(
                CheckRow(
                    "checksums", f"{len(self._crc32):,} of {total:,}", f"{self._checked - len(self._torn):,} hold", "bad" if self._torn else "ok",
                    f"Changed since they were written: images {few(self._torn)}." if self._torn else "",
                )
            )  # fmt: skip
        if self._read_s > 0:
            rate = len(self._by_crc32) / self._read_s
            slow = rate < SLOW_ROWS_PER_S
            rows.append(
                CheckRow("read rate", f"above {SLOW_ROWS_PER_S:,.0f} rows/s", f"{rate:,.0f} rows/s", "note" if slow else "ok",
                         "One process reads slower than a training step on a modern GPU consumes." if slow else "")
            )  # fmt: skip
        return rows

    def _structure_row(self) -> CheckRow:
        """Random placeholders have neither channels of their own nor neighbours that are alike; regions have no neighbours."""
        share = self._channel_share()
        grids = self._neighbours and self._file.layout.suffix != "features"
        alike = float(np.mean(self._neighbours)) if grids else None
        noise = share < CHANNELS_BELOW and (alike is None or alike < NOISE_BELOW)
        found = f"channels {share:.3f}" + ("" if alike is None else f", neighbours {alike:.3f}")
        detail = "The values look like random numbers: no channel and no patch stands out." if noise else ""
        expected = f"channels differ (above {CHANNELS_BELOW}) or neighbours are alike (above {NOISE_BELOW})"
        return CheckRow("structure", expected, found, "bad" if noise else "ok", detail)

    def _range_row(self) -> CheckRow:
        if not self._count:
            return CheckRow("range", "finite values", "none", "bad", "No row holds finite values.")
        mean = self._sum / self._count
        deviation = max(0.0, self._squares / self._count - mean**2) ** 0.5
        found = f"{self._least:.3g} to {self._most:.3g}, mean {mean:.3g}, deviation {deviation:.3g}"
        limit = max(abs(self._least), abs(self._most))
        if self._file.dtype.name == "float16" and limit >= FLOAT16_LARGEST:
            return CheckRow("range", "within float16", found, "bad", "Values reached the end of float16's range.")
        return CheckRow("range", "finite values", found, "ok")


def _stored_crc32(file: FeatureFile) -> dict[int, int]:
    """CRC32 by image id as the manifest's arrays keep them; empty for other files."""
    if file.manifest is None:
        return {}
    with h5py.File(file.path, "r") as hdf5:
        if ROW_IDS not in hdf5.attrs or ROW_CRC32 not in hdf5.attrs:
            return {}
        return dict(zip(hdf5.attrs[ROW_IDS].tolist(), hdf5.attrs[ROW_CRC32].tolist(), strict=True))
