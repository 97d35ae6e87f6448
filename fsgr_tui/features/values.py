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

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import few
from fsgr_tui.features.checkable import Checkable
from fsgr_tui.features.manifest import FIELD_WORDS, read_checksums
from fsgr_tui.features.reader import FeatureFile

FLOAT16_LARGEST = 65504.0

EQUAL_ABOVE = 0.05
"""COCO holds a few dozen pictures twice; where more rows than this share are equal, the same image was read again and again."""

NOISE_BELOW = 0.02
"""Mean cosine of neighbouring tokens, channel means removed: independent random numbers give 0 +- 0.001 for a sample
of this size; trained and untrained towers alike give 0.2 and more, since neighbouring patches look alike."""

CHANNELS_BELOW = 0.005
"""Share of the variance between channel means, less what chance alone gives: 0 for random numbers, some percent for any
features."""

SLOW_ROWS_PER_S = 1000.0
"""Below this a loader of a few workers is slower than a training step on a modern GPU (about 1,000 pairs/s)."""

_FAULTS = {
    mark("NaN"): mark("NaN in the values"),
    mark("Inf"): mark("Inf in the values"),
    mark("all-zero rows"): mark("Nothing but zeros"),
    mark("constant rows"): mark("One value everywhere"),
    mark("equal tokens"): mark("One vector at every token, as a pooled feature that was repeated"),
    mark("zero tokens"): mark("Some tokens are zero"),
}
"""What can be wrong with a row's values, in words."""

Judgement = Literal["ok", "note", "bad"]
JUDGEMENT_WORDS: dict[Judgement, str] = {"ok": mark("ok"), "note": mark("note"), "bad": mark("BAD")}

SAME = "same "
"""Begins the names of rows that hold a field of the manifest against another's."""


class CheckRow(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        what: its English name, which programs may look for; `label` is for people.
        expected, found, detail: in the user's language.
    """

    what: str
    expected: str
    found: str
    judgement: Judgement
    detail: str = ""

    @property
    def label(self) -> str:
        """`what` in the user's language."""
        field = self.what.removeprefix(SAME)
        return tr("same {field}", field=tr(field)) if field in FIELD_WORDS.values() else tr(self.what)


def few_ids(ids: Collection[int]) -> str:
    """Ids for a sentence: the first ten, and how many there are."""
    shown = ", ".join(map(str, list(ids)[:10]))
    return tr("{shown}, ... ({n:,} in all)", shown=shown, n=len(ids)) if len(ids) > 10 else shown


class RowValues:
    """Collects what rows hold; one checksum a row is all that is kept.

    Args:
        file: the file.
        class_tokens: those beside the rows, where the manifest promises them and they are there.
        deep: compare the rows' checksums with those of the manifest.
    """

    def __init__(self, file: Checkable, *, class_tokens: Checkable | None = None, deep: bool) -> None:
        self._file = file
        self._class_tokens = class_tokens
        self._least, self._most = float("inf"), float("-inf")
        self._sum = self._squares = 0.0
        self._count = 0
        self._faults: dict[str, list[int]] = {name: [] for name in _FAULTS}
        self._unreadable: list[int] = []
        self._bad_tokens: list[int] = []
        self._by_crc32: dict[int, int] = {}
        self._twins: list[tuple[int, int]] = []
        self._neighbours: list[float] = []
        self._mean: NDArray[np.float32] | None = None
        self._channel_sum: NDArray[np.float64] | None = None
        self._channel_squares = 0.0
        self._tokens = 0
        self._read_s = 0.0
        self._torn: list[int] = []
        self._crc32 = _stored_crc32(file, beside=class_tokens is not None) if deep else {}
        self._checked = 0

    def add(self, ids: Sequence[int]) -> None:
        """Read and look at the rows of these ids."""
        if self._file.layout.uniform:
            began = time.perf_counter()
            try:
                stored = self._file.read(ids)
            except FoundFaults:
                # One of them; each is then read by itself, so that the others are looked at all the same.
                pass
            else:
                self._look(ids, stored, time.perf_counter() - began)
                return
        for image_id in ids:
            began = time.perf_counter()
            try:
                row = self._file[image_id]
            except FoundFaults:
                self._unreadable.append(image_id)
                continue
            self._look([image_id], row[None], time.perf_counter() - began)

    def _look(self, ids: Sequence[int], stored: NDArray[np.generic], read_s: float) -> None:
        self._read_s += read_s
        beside = self._class_tokens.read(ids) if self._class_tokens else None
        for number, image_id in enumerate(ids):
            crc32 = zlib.crc32(np.ascontiguousarray(stored[number]).data)
            self._note_twins(image_id, crc32, stored[number])
            if beside is not None:
                crc32 = zlib.crc32(np.ascontiguousarray(beside[number]).data, crc32)
            self._note_bytes(image_id, crc32)
        if beside is not None:
            unusable = ~np.isfinite(beside).all(1) | ~beside.any(1)
            self._bad_tokens += [ids[number] for number in np.flatnonzero(unusable).tolist()]
        values = stored.astype(np.float32, copy=False)
        if values.size:
            self._note_values(ids, values)
        if values.ndim == 3 and values.size and np.isfinite(values).all():
            self._note_channels(values)
            self._note_structure(values)

    def _note_bytes(self, image_id: int, crc32: int) -> None:
        if image_id in self._crc32:
            self._checked += 1
            if self._crc32[image_id] != crc32:
                self._torn.append(image_id)

    def _note_twins(self, image_id: int, crc32: int, row: NDArray[np.generic]) -> None:
        twin = self._by_crc32.setdefault(crc32, image_id)
        # Among a hundred thousand rows, one or two pairs have the same checksum by chance.
        if twin != image_id and np.array_equal(self._file[twin], row, equal_nan=row.dtype.kind == "f"):
            self._twins.append((twin, image_id))

    def _note_values(self, ids: Sequence[int], rows: NDArray[np.float32]) -> None:
        values = rows.reshape(len(ids), -1)
        nan, inf = np.isnan(values).any(1), np.isinf(values).any(1)
        finite = values[~(nan | inf)]
        some: NDArray[np.bool_] = (rows if rows.ndim == 3 else values[:, None]).any(axis=-1)  # type: ignore[assignment]
        zero = ~some.any(1)
        constant = (values == values[:, :1]).all(1) & ~zero
        alike = _same_vector(rows) & ~zero & ~constant
        # Region features are often padded with rows of zeros.
        gaps = ~some.all(1) & ~zero & (self._file.layout.suffix != "features")
        found = (nan, inf, zero, constant, alike, gaps)
        for name, mask in zip(_FAULTS, found, strict=True):
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
        """Share of all variance that lies between the channels' means, less the 1/tokens that random numbers have by chance."""
        if self._channel_sum is None or self._tokens < 2:
            return 1.0
        means = self._channel_sum / self._tokens
        variance = self._channel_squares / (self._tokens * len(means)) - means.mean() ** 2
        return float(means.var() / variance) - 1 / self._tokens if variance > 0 else 1.0

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
            told = tr("{fault}: images {ids}.", fault=tr(_FAULTS[name]), ids=few_ids(ids)) if ids else ""
            rows.append(CheckRow(name, "0", f"{len(ids):,}", "bad" if ids else "ok", told))
        if self._unreadable:
            told = tr("Damaged, or their data is elsewhere: images {unreadable}.", unreadable=few_ids(self._unreadable))
            rows.append(CheckRow(mark("unreadable rows"), "0", f"{len(self._unreadable):,}", "bad", told))
        rows.append(self._twins_row())
        if self._class_tokens is not None:
            told = tr(
                "NaN, Inf or nothing but zeros in the class tokens of images {bad_tokens}.",
                bad_tokens=few_ids(self._bad_tokens),
            )
            bad = bool(self._bad_tokens)
            rows.append(
                CheckRow(
                    mark("class tokens"), tr("finite"), tr("{n:,} are not", n=len(self._bad_tokens)) if bad else tr("finite"),
                    "bad" if bad else "ok", told if bad else "",
                )
            )  # fmt: skip
        if self._tokens:
            rows.append(self._structure_row())
        if self._crc32:
            rows.append(
                CheckRow(
                    mark("checksums"), tr("{n:,} of {total:,}", n=len(self._crc32), total=total), tr("{checked:,} hold", checked=self._checked - len(self._torn)), "bad" if self._torn else "ok",
                    tr("Changed since they were written: images {torn}.", torn=few_ids(self._torn)) if self._torn else "",
                )
            )  # fmt: skip
        if self._read_s > 0:
            rate = len(self._by_crc32) / self._read_s
            slow = rate < SLOW_ROWS_PER_S
            rows.append(
                CheckRow(mark("read rate"), tr("above {slow_rows_per_s:,.0f} rows/s", slow_rows_per_s=SLOW_ROWS_PER_S), tr("{rate:,.0f} rows/s", rate=rate), "note" if slow else "ok",
                         tr("One process reads slower than a training step on a modern GPU consumes.") if slow else "")
            )  # fmt: skip
        return rows

    def _twins_row(self) -> CheckRow:
        if not self._twins:
            return CheckRow(mark("equal rows"), "0", "0", "ok")
        # A picture of one class, or of one colour, has the labels and pixels of many others.
        many = len(self._twins) > EQUAL_ABOVE * len(self._by_crc32) and self._file.dtype.kind == "f"
        shown = few([tr("{a} and {b}", a=a, b=b) for a, b in self._twins], 5)
        return CheckRow(
            mark("equal rows"), tr("few (up to {equal_above:.0%})", equal_above=EQUAL_ABOVE), f"{len(self._twins):,}", "bad" if many else "note",
            tr("Images with the very same features: {shown}.", shown=shown),
        )  # fmt: skip

    def _structure_row(self) -> CheckRow:
        """Random placeholders have neither channels of their own nor neighbours that are alike; regions have no neighbours."""
        share = self._channel_share()
        grids = self._neighbours and self._file.layout.suffix != "features"
        alike = float(np.mean(self._neighbours)) if grids else None
        noise = share < CHANNELS_BELOW and (alike is None or alike < NOISE_BELOW)
        found = (
            tr("channels {share:.3f}", share=share)
            if alike is None
            else tr("channels {share:.3f}, neighbours {alike:.3f}", share=share, alike=alike)
        )
        detail = tr("The values look like random numbers: no channel and no patch stands out.") if noise else ""
        expected = tr("channels > {share} or neighbours > {alike}", share=CHANNELS_BELOW, alike=NOISE_BELOW)
        return CheckRow(mark("structure"), expected, found, "bad" if noise else "ok", detail)

    def _range_row(self) -> CheckRow:
        if not self._count:
            return CheckRow(mark("range"), tr("finite values"), tr("none"), "bad", tr("No row holds finite values."))
        mean = self._sum / self._count
        deviation = max(0.0, self._squares / self._count - mean**2) ** 0.5
        found = tr(
            "{low:.3g} to {high:.3g}, mean {mean:.3g}, deviation {deviation:.3g}",
            low=self._least, high=self._most, mean=mean, deviation=deviation,
        )  # fmt: skip
        limit = max(abs(self._least), abs(self._most))
        if self._file.dtype.name == "float16" and limit >= FLOAT16_LARGEST:
            return CheckRow(
                mark("range"), tr("within float16"), found, "bad", tr("Values reached the end of float16's range.")
            )
        return CheckRow(mark("range"), tr("finite values"), found, "ok")


def _same_vector(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows hold one vector at all their tokens."""
    alike = np.zeros(len(rows), bool)
    if rows.ndim == 3 and rows.shape[1] > 1:
        # The first two tokens differ nearly always, and spare the look at the rest.
        for number in np.flatnonzero((rows[:, 0] == rows[:, 1]).all(1)).tolist():
            alike[number] = (rows[number] == rows[number, :1]).all()
    return alike


def _stored_crc32(file: Checkable, *, beside: bool) -> dict[int, int]:
    """CRC32 by image id as the manifest's arrays keep them; empty for other files.

    Args:
        beside: whether the class tokens are at hand, which an image's checksum covers too.
    """
    if file.manifest is None or not isinstance(file, FeatureFile) or bool(file.manifest.global_width) != beside:
        return {}
    with h5py.File(file.path, "r") as hdf5:
        return read_checksums(hdf5)
