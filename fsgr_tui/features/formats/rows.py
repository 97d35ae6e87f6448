"""What all formats have in common: rows that can be read by id, and a sink that takes them in ascending order of ids."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core import jsontext
from fsgr_tui.core.extraction import FormatName
from fsgr_tui.core.language import tr
from fsgr_tui.features.manifest import Manifest
from fsgr_tui.features.opening import NotAFeatureFile

ROWS_SCHEMA = "fsgr-tui/rows/1"

Refused = tuple[int, str, str]
"""Image id, path and reason of an image that could not be used."""


class Content(msgspec.Struct, frozen=True):
    """What a file or folder holds, but for the values.

    Attributes:
        ids: image ids, ascending.
        row_shape: of one row, e.g. (tokens, width).
        dtype: NumPy's name of the storage type.
        manifest: how the rows were made; None in files of other programs.
        refused: images that were asked for and could not be used.
        global_width: channels of the class token that lies beside each row, in the same type; 0 for none.
    """

    ids: tuple[int, ...]
    row_shape: tuple[int, ...]
    dtype: str
    manifest: Manifest | None = None
    refused: tuple[Refused, ...] = ()
    global_width: int = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's values, the class token not counted."""
        return math.prod(self.row_shape) * np.dtype(self.dtype).itemsize

    @property
    def global_bytes(self) -> int:
        """Bytes of one class token."""
        return self.global_width * np.dtype(self.dtype).itemsize

    @property
    def raw_bytes(self) -> int:
        """Bytes of all values: what no uncompressed format can be smaller than."""
        return (self.row_bytes + self.global_bytes) * len(self.ids)


class Rows(Protocol):
    """Random access to the rows of one file or folder."""

    @property
    def content(self) -> Content:
        """What is in it."""
        ...

    @property
    def crc32(self) -> Mapping[int, int]:
        """CRC32 by image id of a row's bytes, those of its class token behind them, where the format keeps it; else empty."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What lies beside the rows and is not read, as sentences for a person."""
        ...

    def read(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Rows in the order of `ids`: an array (len(ids), *row_shape) of the stored dtype.

        Raises:
            MissingIds: there are no such rows.
            FoundFaults: a row is damaged, or not like the others.
        """
        ...

    def read_class_tokens(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Class tokens in the order of `ids`: an array (len(ids), global_width) of the stored dtype.

        Raises:
            MissingIds, FoundFaults: as `read`.
        """
        ...

    def close(self) -> None:
        """Let the file go."""
        ...


class Sink(Protocol):
    """Takes rows; what it writes can be opened once `finish` has returned."""

    def write(
        self, ids: Sequence[int], rows: NDArray[np.generic], class_tokens: NDArray[np.generic] | None = None
    ) -> None:
        """Write rows.

        Args:
            rows: an array (len(ids), *row_shape) of the content's dtype.
            class_tokens: (len(ids), global_width) of the same, where the content has them.

        Raises:
            OSError, MachineCannot: the disk is full or fails.
        """
        ...

    def finish(self) -> None:
        """Write what describes the rows, and bring everything to the disk."""
        ...

    def close(self) -> None:
        """Let the file go, finished or not; may be called twice."""
        ...


class Format(msgspec.Struct, frozen=True):
    """One way to keep rows.

    Attributes:
        open: reads what lies at a path.
        create: begins to write at a path where nothing lies yet.
    """

    name: FormatName
    open: Callable[[Path], Rows]
    create: Callable[[Path, Content], Sink]


class RowsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A content without its ids, as formats without attributes keep it (`manifest.json`, LMDB's `__meta__`)."""

    schema: str
    rows: int
    shape: tuple[int, ...]
    dtype: str
    manifest: Manifest | None = None
    refused: tuple[Refused, ...] = ()
    global_width: int = 0


def describe(content: Content) -> bytes:
    """The JSON document of a content."""
    document = RowsDocument(
        schema=ROWS_SCHEMA,
        rows=len(content.ids),
        shape=content.row_shape,
        dtype=content.dtype,
        manifest=content.manifest,
        refused=content.refused,
        global_width=content.global_width,
    )
    return jsontext.encode(document, indent=2)


def described(text: bytes, place: str) -> RowsDocument:
    """The document in a JSON text.

    Args:
        place: where the text stands, for the message.

    Raises:
        NotAFeatureFile: it is no such document.
    """
    try:
        document = jsontext.decode(text, RowsDocument)
    except msgspec.MsgspecError as error:
        raise NotAFeatureFile(
            tr("{place} does not describe features: {error}.", place=place, error=error),
            tr("Convert or copy them again."),
        ) from None
    if document.schema != ROWS_SCHEMA:
        raise NotAFeatureFile(
            tr(
                "{place} has the schema {schema!r}; this version reads {rows_schema!r}.",
                place=place,
                schema=document.schema,
                rows_schema=ROWS_SCHEMA,
            ),
            tr("Use a newer fsgr-tui."),
        )
    return document


def content_of(ids: Sequence[int], document: RowsDocument, place: str) -> Content:
    """The content that a document and the ids found beside it make.

    Args:
        ids: in any order.

    Raises:
        NotAFeatureFile: rows are missing, or there are more than the document tells.
    """
    if len(ids) != document.rows:
        raise NotAFeatureFile(
            tr("{place} promises {rows:,} rows, {n:,} are there.", place=place, rows=document.rows, n=len(ids)),
            tr("Convert or copy them again."),
        )
    return Content(
        tuple(sorted(ids)), document.shape, document.dtype, document.manifest, document.refused, document.global_width
    )
