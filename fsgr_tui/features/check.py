"""The check: may these features be trained on? Ours and everybody else's files, without the model.

Every row of a report says what was looked at, what was expected, what was found, and how that is judged.
"""

from __future__ import annotations

import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Literal

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.tower import KNOWN, FeatureShape
from fsgr_tui.features.images import ids_digest
from fsgr_tui.features.manifest import ROW_CRC32, ROW_IDS, Manifest
from fsgr_tui.features.reader import FeatureFile, open_hdf5

CHECK_SCHEMA = "fsgr-tui/check/1"
SAMPLE_ROWS = 1000
FLOAT16_LARGEST = 65504.0

NOISE_BELOW = 0.02
"""Mean cosine of neighbouring tokens, channel means removed: independent random numbers give 0 +- 0.001 for a sample
of this size; trained and untrained towers alike give 0.2 and more, since neighbouring patches look alike."""

SLOW_ROWS_PER_S = 1000.0
"""Below this a loader of a few workers is slower than a training step on a modern GPU (about 1,000 pairs/s)."""

Judgement = Literal["ok", "note", "bad"]
Tell = Callable[[int, int], None]


class CheckRow(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    expected: str
    found: str
    judgement: Judgement
    detail: str = ""


class CheckReport(msgspec.Struct, frozen=True):
    """What is known of a file.

    Attributes:
        good: whether no row is bad.
        looked_at: rows whose values were read; rows: all of them.
        missing, extra: image ids (the first 1000).
    """

    path: str
    good: bool
    headline: str
    rows: tuple[CheckRow, ...]
    images: int
    looked_at: int
    depth: str
    missing: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    manifest: Manifest | None = None
    recompute: dict[str, object] | None = None
    schema: str = CHECK_SCHEMA


class Expected(msgspec.Struct, frozen=True):
    """What the file is held against; None where nothing was given.

    Attributes:
        ids: the image ids that must be there.
        source: where they come from, in words.
        annotation_ids: ids of captions, to tell the two kinds apart.
    """

    ids: frozenset[int] | None = None
    source: str = ""
    annotation_ids: frozenset[int] = frozenset()


def check_file(
    path: Path, expected: Expected, *, deep: bool = False, tell: Tell | None = None, seed: int = 0
) -> CheckReport:
    """Check one file.

    Args:
        expected: what must be in it.
        deep: read every row and compare its CRC32; otherwise a random sample of 1000 rows.
        tell: called with (rows read, rows to read).
        seed: of the sample.

    Raises:
        NotAFeatureFile: it cannot be read as features at all; the message says what it is.
        BadRequest, MachineCannot: it is not there, or may not be read.
    """
    file = FeatureFile(path)
    ids = file.ids.tolist()
    sample = ids if deep or len(ids) <= SAMPLE_ROWS else sorted(random.Random(seed).sample(ids, SAMPLE_ROWS))
    rows = [_layout_row(file), _shape_row(file), _dtype_row(file), *_count_rows(file)]
    id_rows, missing, extra = _id_rows(file, expected)
    rows += id_rows
    rows += _shapes_row(path, file) if not file.layout.uniform else []
    if file.layout.uniform:
        values = _Values(file, deep=deep)
        for start in range(0, len(sample), 64):
            values.add(sample[start : start + 64])
            if tell:
                tell(min(start + 64, len(sample)), len(sample))
        rows += values.rows(len(ids))
    rows.append(_manifest_row(file))
    file.close()
    bad = [row for row in rows if row.judgement == "bad"]
    depth = "deep: every row" if deep else f"quick: {len(sample):,} of {len(ids):,} rows, chosen at random"
    return CheckReport(
        path=str(path),
        good=not bad,
        headline=_headline(file, bad),
        rows=tuple(rows),
        images=len(ids),
        looked_at=len(sample),
        depth=depth,
        missing=tuple(missing[:1000]),
        extra=tuple(extra[:1000]),
        manifest=file.manifest,
    )


def _headline(file: FeatureFile, bad: Sequence[CheckRow]) -> str:
    shape = " x ".join(map(str, file.row_shape))
    if not bad:
        return f"good: {len(file):,} images, {shape} {file.dtype.name}"
    return f"{len(bad)} fault{'s' if len(bad) > 1 else ''}: {'; '.join(row.detail or row.what for row in bad)}"


def _layout_row(file: FeatureFile) -> CheckRow:
    layout = file.layout
    if layout.contiguous:
        return CheckRow(
            "layout", "one contiguous array per image", f"{layout.words}, keys like {file.ids[0]}_{layout.suffix}", "ok"
        )
    return CheckRow(
        "layout", "one contiguous array per image", f"{layout.words}, keys like {file.ids[0]}_{layout.suffix}", "note",
        "Usable, but random reads are slow; `fsgr-tui extract` writes files that read 10-60 times faster.",
    )  # fmt: skip


def _shape_row(file: FeatureFile) -> CheckRow:
    found = file.row_shape
    manifest = file.manifest
    if manifest is not None:
        promised = (manifest.tokens, manifest.width)
        judgement: Judgement = "ok" if found == promised else "bad"
        detail = "" if found == promised else "The rows are not what the manifest promises."
        return CheckRow(
            "shape", f"{promised[0]} x {promised[1]} (manifest)", " x ".join(map(str, found)), judgement, detail
        )
    reason = shape_fault(found)
    known = known_shape(found)
    return CheckRow(
        "shape", "tokens x width of a CLIP grid", " x ".join(map(str, found)) + (f" ({known})" if known else ""),
        "bad" if reason else "ok" if known else "note", reason or ("" if known else "No grid of a known CLIP tower."),
    )  # fmt: skip


def known_shape(shape: tuple[int, ...]) -> str:
    """Which towers give rows of this shape; empty when none that is known does."""
    names = [
        f"{tower.name} {'native' if grid == 'native' else grid}"
        for tower in KNOWN.values()
        for grid in ("native", "7x7", "8x8")
        if shape == (FeatureShape(tower, grid).tokens, tower.width) and FeatureShape(tower, grid).side <= tower.side
    ]
    return ", ".join(names[:3])


def shape_fault(shape: tuple[int, ...]) -> str:
    """The usual mistakes in a row's shape; empty when it is none of them."""
    grids = {tower.tokens for tower in KNOWN.values()} | {49, 64}
    widths = {tower.width for tower in KNOWN.values() if not tower.name.startswith("fsgr-")}
    projected = {tower.embed_dim for tower in KNOWN.values() if not tower.name.startswith("fsgr-")} - widths
    if len(shape) == 3 and shape[0] == 1:
        return f"An extra batch axis: {shape} instead of {shape[1:]}."
    if len(shape) == 1:
        return f"One pooled vector of {shape[0]} per image, not a grid."
    if len(shape) != 2:
        return f"{len(shape)} axes instead of two (tokens, width)."
    tokens, width = shape
    if tokens in widths and width in grids:
        return f"Transposed: {width} tokens of width {tokens} are stored as {tokens} x {width}."
    if tokens - 1 in grids and width in widths | projected:
        return f"{tokens} tokens = {tokens - 1} + the class token, which should have been left out."
    if tokens in grids and width in projected:
        return f"Width {width} is that of projected features; grid features are taken before the projection."
    return ""


def _dtype_row(file: FeatureFile) -> CheckRow:
    name = file.dtype.name
    wanted = file.manifest.dtype if file.manifest else "float16 or float32"
    good = name == wanted if file.manifest else name in ("float16", "float32")
    return CheckRow(
        "dtype", wanted, name, "ok" if good else "bad", "" if good else f"{name} is not what training code reads."
    )


def _count_rows(file: FeatureFile) -> list[CheckRow]:
    manifest = file.manifest
    if manifest is None:
        return [CheckRow("images", "-", f"{len(file):,}", "ok")]
    rows = [
        CheckRow(
            "images", f"{manifest.images:,} (manifest)", f"{len(file):,}", "ok" if manifest.images == len(file) else "bad",
            "" if manifest.images == len(file) else "Keys were removed or added after the file was published.",
        )
    ]  # fmt: skip
    if manifest.refused:
        rows.append(
            CheckRow(
                "refused images",
                "0",
                f"{manifest.refused:,}",
                "note",
                "They have no key; extract with --resume once they are mended.",
            )
        )
    elif manifest.ids_sha256 and manifest.ids_sha256 != ids_digest(file.ids.tolist()):
        rows.append(
            CheckRow(
                "id list", "digest of the manifest", "another", "bad", "The ids are not those that were extracted."
            )
        )
    return rows


def _id_rows(file: FeatureFile, expected: Expected) -> tuple[list[CheckRow], list[int], list[int]]:
    if expected.ids is None:
        return [], [], []
    here = set(file.ids.tolist())
    missing, extra = sorted(expected.ids - here), sorted(here - expected.ids)
    if missing and expected.annotation_ids and len(here & expected.annotation_ids) > len(here & expected.ids):
        row = CheckRow(
            "ids", f"image ids ({expected.source})", f"{len(here & expected.annotation_ids):,} of {len(here):,} are annotation ids",
            "bad", "The keys are annotation (caption) ids, not image ids.",
        )  # fmt: skip
        return [row], missing, extra
    rows = [
        CheckRow(
            "missing ids", f"0 of {len(expected.ids):,} ({expected.source})", f"{len(missing):,}", "bad" if missing else "ok",
            f"Without features: {_few(missing)}." if missing else "",
        )
    ]  # fmt: skip
    if extra:
        rows.append(CheckRow("extra ids", "0", f"{len(extra):,}", "note", f"Not in {expected.source}: {_few(extra)}."))
    return rows, missing, extra


def _few(ids: Collection[int]) -> str:
    shown = ", ".join(map(str, list(ids)[:10]))
    return f"{shown}, ... ({len(ids):,} in all)" if len(ids) > 10 else shown


def _shapes_row(path: Path, file: FeatureFile) -> list[CheckRow]:
    """Rows of several shapes in one file, counted."""
    with open_hdf5(path) as hdf5:
        shapes = Counter(tuple(hdf5[f"{image_id}_{file.layout.suffix}"].shape) for image_id in file.ids.tolist())
    told = "; ".join(f"{count:,} of {shape}" for shape, count in shapes.most_common(5))
    return [CheckRow("shapes", "one", str(len(shapes)), "bad", f"Mixed shapes: {told}.")]


def _manifest_row(file: FeatureFile) -> CheckRow:
    manifest = file.manifest
    if manifest is None:
        return CheckRow(
            "manifest", "how it was made", "none", "note",
            "Made by another program: model, weights, activation and preprocessing cannot be told from the file.",
        )  # fmt: skip
    weights = f"{manifest.weights}, sha256 {manifest.weights_sha256[:12]}"
    found = (
        f"{manifest.clip_model} ({weights}), {manifest.activation}, {manifest.image_px} px {manifest.resize}, "
        f"{manifest.stage}, pooling {manifest.pooling}, {manifest.precision}"
    )
    if manifest.weights.startswith("random:"):
        return CheckRow(
            "manifest",
            "trained weights",
            found,
            "note",
            "The weights are random: fit for trying things out, not for training.",
        )
    return CheckRow("manifest", "how it was made", found, "ok")


class _Values:
    """What the values of the rows are like; nothing grows with the number of rows but one number per row."""

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
        self._read_s = 0.0
        self._torn: list[int] = []
        self._crc32 = _stored_crc32(file) if deep else {}
        self._checked = 0

    def add(self, ids: Sequence[int]) -> None:
        began = time.perf_counter()
        stored = self._file.read(ids)
        self._read_s += time.perf_counter() - began
        for image_id, row in zip(ids, stored, strict=True):
            self._note_bytes(image_id, zlib.crc32(np.ascontiguousarray(row).data))
        values = stored.astype(np.float32, copy=False).reshape(len(ids), -1)
        self._note_values(ids, values)
        if stored.ndim == 3:
            self._note_structure(stored.astype(np.float32, copy=False))

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

    def _note_structure(self, rows: NDArray[np.float32]) -> None:
        """Mean cosine between tokens that are neighbours in a row of the grid, channel means removed."""
        side = round(rows.shape[1] ** 0.5)
        if side**2 != rows.shape[1] or side < 2 or not np.isfinite(rows).all():
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
        rows = [self._range_row()]
        for name, ids in self._faults.items():
            rows.append(
                CheckRow(
                    name, "0", f"{len(ids):,}", "bad" if ids else "ok", f"{name} in images {_few(ids)}." if ids else ""
                )
            )
        rows.append(
            CheckRow(
                "equal rows", "0", f"{len(self._twins):,}", "note" if self._twins else "ok",
                f"Images with the very same features: {', '.join(f'{a} and {b}' for a, b in self._twins[:5])}." if self._twins else "",
            )
        )  # fmt: skip
        if self._neighbours:
            mean = float(np.mean(self._neighbours))
            noise = mean < NOISE_BELOW and not self._faults["all-zero rows"]
            rows.append(
                CheckRow(
                    "structure", f"neighbouring tokens alike (cosine above {NOISE_BELOW})", f"{mean:.3f}", "bad" if noise else "ok",
                    "The values look like random numbers: no patch resembles its neighbour." if noise else "",
                )
            )  # fmt: skip
        if self._crc32:
            rows.append(
                CheckRow(
                    "checksums", f"{len(self._crc32):,} of {total:,}", f"{self._checked - len(self._torn):,} hold", "bad" if self._torn else "ok",
                    f"Changed since they were written: images {_few(self._torn)}." if self._torn else "",
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
