"""How far the rows of two files are apart, image by image, and what would explain it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.extraction import RECOMPUTE_COSINE, RECOMPUTE_LIMIT
from fsgr_tui.features.checkable import Checkable

ALIKE_ABOVE = RECOMPUTE_COSINE
"""Rows of the same features agree by at least so much, whatever arithmetic made them."""

NORM_WITHIN = RECOMPUTE_LIMIT["bf16"]
"""The norms of such rows differ by no larger share; features that were scaled or normalised agree by cosine alone."""

WORST = 5
EXPLAINED = 50
"""Rows apart that are looked at for an explanation."""

_BATCH = 64

Tell = Callable[[int, int], None]
Numbers = NDArray[np.float64]


class Distances(msgspec.Struct, frozen=True):
    """How the rows of two files agree.

    Attributes:
        labels: whether rows hold class indices, whose agreement is the share of equal ones; else it is the cosine of whole
            rows.
        rows: how many were compared; identical: of those, equal in every value.
        least, median: agreement, -1..1.
        largest: the largest absolute difference of one value.
        norm_ratio: (least, median, most) of B's norm by A's; rows of zeros left out.
        apart: image ids of the rows that are not the same features, ascending.
        other_shape: image ids whose rows have two shapes; they are not among `rows`.
        worst: (image id, agreement), the worst first.
    """

    labels: bool
    rows: int
    identical: int
    least: float
    median: float
    largest: float
    norm_ratio: tuple[float, float, float]
    apart: tuple[int, ...]
    other_shape: tuple[int, ...]
    worst: tuple[tuple[int, float], ...]

    @property
    def same(self) -> bool:
        """Whether every row that was looked at holds the same features in both files."""
        return self.rows > 0 and not self.apart and not self.other_shape


class _Row(msgspec.Struct, frozen=True):
    image_id: int
    agreement: float
    largest: float
    norm_ratio: float
    identical: bool

    @property
    def same(self) -> bool:
        return self.identical or (self.agreement >= ALIKE_ABOVE and abs(self.norm_ratio - 1) <= NORM_WITHIN)


def measure(a: Checkable, b: Checkable, ids: Sequence[int], tell: Tell | None = None) -> Distances:
    """Compare the rows of these images; memory does not grow with the rows' size times their number.

    Args:
        ids: images that both files have, ascending.
        tell: called with (rows read, rows to read).

    Raises:
        FoundFaults: a row cannot be read.
    """
    labels = a.dtype.kind in "iu" and len(a.row_shape) == 1
    found: list[_Row] = []
    other_shape: list[int] = []
    for start, some, ours, theirs in _batches(a, b, ids):
        if ours.shape == theirs.shape:
            found += _rows(some, ours, theirs, labels=labels)
        else:
            other_shape += some
        if tell:
            tell(start + len(some), len(ids))
    agreements = np.array([row.agreement for row in found])
    ratios = np.array([row.norm_ratio for row in found])
    ratios = ratios[np.isfinite(ratios)]
    worst = sorted(found, key=lambda row: row.agreement)[:WORST]
    return Distances(
        labels=labels,
        rows=len(found),
        identical=sum(row.identical for row in found),
        least=float(agreements.min()) if found else 0.0,
        median=float(np.median(agreements)) if found else 0.0,
        largest=max((row.largest for row in found), default=0.0),
        norm_ratio=(float(ratios.min()), float(np.median(ratios)), float(ratios.max())) if ratios.size else (1.0, 1.0, 1.0),
        apart=tuple(row.image_id for row in found if not row.same),
        other_shape=tuple(other_shape),
        worst=tuple((row.image_id, row.agreement) for row in worst if not row.identical),
    )  # fmt: skip


def shuffled(a: Checkable, b: Checkable, ids: Sequence[int]) -> list[int]:
    """Those of the images whose patches are the same in both files, but in another order."""
    found = []
    for image_id in ids:
        ours, theirs = (np.asarray(file[image_id]).astype(np.float16) for file in (a, b))
        if ours.ndim == 2 and ours.shape == theirs.shape:
            # Sorted by their values, the same tokens meet whatever their order was.
            sorted_rows = [row[np.lexsort(row.T[::-1])][None] for row in (ours, theirs)]
            if _rows([image_id], *sorted_rows, labels=False)[0].same:
                found.append(image_id)
    return found


def mixed_up(a: Checkable, b: Checkable, ids: Sequence[int]) -> list[tuple[int, int]]:
    """(image, other image) where B has at an image what A has at another: one of `ids`, or the next id up or down.

    Args:
        ids: images with rows of one shape in both files.
    """
    places = {image_id: number for number, image_id in enumerate(a.ids.tolist())}
    near = {int(a.ids[(places[image_id] + step) % len(a)]) for image_id in ids for step in (-1, 1)}
    shape = np.asarray(a[ids[0]]).shape if ids else ()
    candidates = [image_id for image_id in sorted({*ids, *near}) if np.asarray(a[image_id]).shape == shape]
    if not candidates:
        return []
    known = _units(a, candidates)
    pairs = []
    for image_id in ids:
        likeness = known @ _units(b, [image_id])[0]
        at = int(likeness.argmax())
        if candidates[at] != image_id and likeness[at] >= ALIKE_ABOVE:
            pairs.append((image_id, candidates[at]))
    return pairs


def _batches(
    a: Checkable, b: Checkable, ids: Sequence[int]
) -> Iterator[tuple[int, list[int], NDArray[np.generic], NDArray[np.generic]]]:
    """(start, ids, A's rows, B's rows): many at once where all rows of a file have one shape."""
    size = _BATCH if a.layout.uniform and b.layout.uniform and a.row_shape == b.row_shape else 1
    for start in range(0, len(ids), size):
        some = list(ids[start : start + size])
        if size > 1:
            yield start, some, a.read(some), b.read(some)
        else:
            yield start, some, np.asarray(a[some[0]])[None], np.asarray(b[some[0]])[None]


def _rows(ids: Sequence[int], a: NDArray[np.generic], b: NDArray[np.generic], *, labels: bool) -> list[_Row]:
    """Each row of two arrays (images, ...) of one shape compared."""
    ours, theirs = (rows.reshape(len(ids), -1).astype(np.float64) for rows in (a, b))
    # What is not finite is found and counts as apart; it is no reason for warnings.
    with np.errstate(all="ignore"):
        away = np.abs(ours - theirs)
        norms = np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1)
        agreement = (
            (ours == theirs).mean(1)
            if labels
            else np.einsum("ij,ij->i", ours, theirs) / np.where(norms[0] * norms[1] > 0, norms[0] * norms[1], 1)
        )
        ratio = norms[1] / norms[0] if not labels else np.ones(len(ids))
    identical = ((ours == theirs) | (np.isnan(ours) & np.isnan(theirs))).all(1)
    agreement = np.where(identical, 1.0, np.where(np.isfinite(agreement), agreement, 0.0))
    largest = np.where(identical, 0.0, away.max(1, initial=0.0))
    return [
        _Row(image_id, float(agreement[at]), float(largest[at]), float(ratio[at]), bool(identical[at]))
        for at, image_id in enumerate(ids)
    ]


def _units(file: Checkable, ids: Sequence[int]) -> Numbers:
    """Whole rows of length one, (images, values); rows of zeros stay zeros."""
    rows = np.stack([np.nan_to_num(np.asarray(file[image_id]).astype(np.float64)).ravel() for image_id in ids])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units: Numbers = rows / np.where(norms > 0, norms, 1)
    return units
