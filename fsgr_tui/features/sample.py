"""One image's row looked at: its patches as a map, and how its values are distributed."""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import BadRequest, FoundFaults
from fsgr_tui.core.language import tr
from fsgr_tui.features.joint import TextDirection
from fsgr_tui.features.reader import FeatureFile

SAMPLE_SCHEMA = "fsgr-tui/sample/1"
BINS = 24
THUMBNAIL = 14

MapKind = Literal["norm", "similarity", "difference", "text", "labels", "brightness"]


class Distribution(msgspec.Struct, frozen=True):
    """How the finite values of a row are distributed.

    Attributes:
        counts: of values in equal bins from `low` to `high`.
        not_finite: how many values are NaN or infinite.
        zeros: share of values that are zero, 0..1.
    """

    low: float
    high: float
    mean: float
    std: float
    counts: tuple[int, ...]
    zeros: float
    not_finite: int


class Sample(msgspec.Struct, frozen=True):
    """One image's row.

    Attributes:
        shape, dtype: of the row as it is stored.
        kind: what `patches` holds: the norm of each token; its cosine to the chosen patch; its relative L2 distance to
            the same patch of another file; its cosine to a text; class indices; or the brightness of a cached picture.
        patches: the map, row by row from the top; None for a value that is not finite and behind the last token.
        position: place of the image among the file's ids, ascending, 0 first; images: how many there are.
        patch: (row, column) that `similarity` is measured to, or that was chosen in a map of `text`.
        against: the other file of `difference`.
        text: what `text` is measured to; remarks: what a person should know before believing that map.
        remark: what is odd about the row's shape; empty for a square grid.
    """

    path: str
    image_id: int
    shape: tuple[int, ...]
    dtype: str
    kind: MapKind
    patches: tuple[tuple[float | None, ...], ...]
    values: Distribution
    position: int = 0
    images: int = 1
    patch: tuple[int, int] | None = None
    against: str = ""
    text: str = ""
    remarks: tuple[str, ...] = ()
    remark: str = ""
    schema: str = SAMPLE_SCHEMA

    @property
    def span(self) -> tuple[float, float]:
        """The smallest and the largest value of the map; (0, 0) when none is finite."""
        known = [value for row in self.patches for value in row if value is not None]
        return (min(known), max(known)) if known else (0.0, 0.0)


def look_at(
    file: FeatureFile,
    image_id: int | None = None,
    *,
    position: int = 0,
    patch: tuple[int, int] | None = None,
    against: FeatureFile | None = None,
    text: TextDirection | None = None,
) -> Sample:
    """Look at one image.

    Args:
        image_id: which one; None for the one at `position`.
        position: place among the file's ids; it wraps around at both ends.
        patch: (row, column) from the top left, 0 first: show the other patches' cosine to it.
        against: another file: show how far its patches are from this one's.
        text: show how alike the patches are to a text; a chosen patch is kept beside it.

    Raises:
        MissingIds: a file has no such image.
        BadRequest: the patch lies outside the grid, or two maps were asked for at once.
        FoundFaults: the file is empty, or the two rows have different shapes.
    """
    if against is not None and (patch is not None or text is not None):
        raise BadRequest(
            tr("A map shows either similarity to a patch or text, or the difference to another file."),
            tr("Ask for one."),
        )
    if not len(file):
        raise FoundFaults(tr("{path} holds no rows.", path=file.path), tr("Extract it again."))
    chosen = int(file.ids[position % len(file)]) if image_id is None else image_id
    row = np.asarray(file[chosen])
    kind, values = _map_of(file, row, chosen, patch, against, text)
    side = math.isqrt(values.size)
    columns = side if side * side == values.size else math.ceil(math.sqrt(values.size))
    return Sample(
        path=str(file.path),
        image_id=chosen,
        shape=tuple(row.shape),
        dtype=str(row.dtype),
        kind=kind,
        patches=_rows(values, columns),
        values=_distribution(row),
        position=int(np.searchsorted(file.ids, chosen)),
        images=len(file),
        patch=patch,
        against=str(against.path) if against else "",
        text=text.text if text else "",
        remarks=text.remarks if text else (),
        remark=""
        if columns == side
        else tr("{n} tokens are no square grid; shown {columns} to a line", n=values.size, columns=columns),
    )


def _map_of(
    file: FeatureFile,
    row: NDArray[np.generic],
    image_id: int,
    patch: tuple[int, int] | None,
    against: FeatureFile | None,
    text: TextDirection | None,
) -> tuple[MapKind, NDArray[np.float64]]:
    if file.layout.suffix == "pixels":
        return "brightness", _thumbnail(row)
    if row.ndim == 1:
        return "labels", row.astype(np.float64)
    tokens = row.reshape(-1, row.shape[-1]).astype(np.float64)
    # Infinite and very large values are what this map has to show, not a reason for warnings.
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(tokens, axis=-1)
        if against is not None:
            other = np.asarray(against[image_id])
            if other.shape != row.shape:
                raise FoundFaults(
                    tr(
                        "Image {image_id} is {shape} in {path} and {shape2} in {path2}.",
                        image_id=image_id,
                        shape=row.shape,
                        path=file.path,
                        shape2=other.shape,
                        path2=against.path,
                    ),
                    tr("Only rows of one shape can be compared; `fsgr-tui check --like` tells how the files differ."),
                )
            away = np.linalg.norm(other.reshape(tokens.shape).astype(np.float64) - tokens, axis=-1)
            return "difference", away / np.where(norms > 0, norms, 1)
        at = None if patch is None else _index(patch, len(tokens))
        if text is not None:
            return "text", text.similarity(tokens)
        if at is None:
            return "norm", norms
        scale = np.where(norms > 0, norms, 1)
        return "similarity", (tokens / scale[:, None]) @ (tokens[at] / scale[at])


def _index(patch: tuple[int, int], tokens: int) -> int:
    side = math.isqrt(tokens)
    row, column = patch
    if side * side != tokens:
        raise BadRequest(
            tr("{tokens} tokens are no square grid, so no patch has a row and a column.", tokens=tokens),
            tr("Leave --patch out."),
        )
    if not (0 <= row < side and 0 <= column < side):
        raise BadRequest(
            tr("There is no patch {row},{column} in a grid of {side} x {side}.", row=row, column=column, side=side),
            tr("Count from 0,0 to {last},{last}.", last=side - 1),
        )
    return row * side + column


def _thumbnail(picture: NDArray[np.generic]) -> NDArray[np.float64]:
    """Brightness of a (px, px, 3) picture in 14 x 14 blocks."""
    grey = picture.astype(np.float64).mean(axis=-1)
    side = len(grey) // THUMBNAIL * THUMBNAIL
    blocks = grey[:side, :side].reshape(THUMBNAIL, side // THUMBNAIL, THUMBNAIL, side // THUMBNAIL)
    brightness: NDArray[np.float64] = blocks.mean(axis=(1, 3)).ravel()
    return brightness


def _rows(values: NDArray[np.float64], columns: int) -> tuple[tuple[float | None, ...], ...]:
    shown: list[float | None] = [float(value) if math.isfinite(value) else None for value in values]
    shown += [None] * (-len(shown) % columns)
    return tuple(tuple(shown[start : start + columns]) for start in range(0, len(shown), columns))


def _distribution(row: NDArray[np.generic]) -> Distribution:
    values = row.astype(np.float64).ravel()
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Distribution(0.0, 0.0, 0.0, 0.0, (0,) * BINS, 0.0, int(values.size))
    counts, _ = np.histogram(finite, BINS)
    return Distribution(
        low=float(finite.min()),
        high=float(finite.max()),
        mean=float(finite.mean()),
        std=float(finite.std()),
        counts=tuple(counts.tolist()),
        zeros=float((finite == 0).mean()),
        not_finite=int(values.size - finite.size),
    )
