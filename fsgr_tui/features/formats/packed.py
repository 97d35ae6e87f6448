"""Packed HDF5: all rows in one contiguous dataset `features` (N, *row_shape), their image ids in `ids` (N,) int64.

Class tokens, where there are any, are the dataset `global` (N, width).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.language import tr
from fsgr_tui.features.formats.keyed import PlainHdf5Sink
from fsgr_tui.features.formats.rows import Content, Format
from fsgr_tui.features.manifest import GLOBAL, read_manifest, read_refused
from fsgr_tui.features.opening import NotAFeatureFile, open_hdf5
from fsgr_tui.features.reader import Layout, MissingIds

FEATURES, IDS = "features", "ids"


class _Column:
    """A dataset with a row per image, and where its bytes lie when they can be read past HDF5."""

    def __init__(self, data: h5py.Dataset) -> None:
        plain = data.chunks is None and data.external is None and data.dtype.isnative
        self.data = data
        self.offset: int | None = data.id.get_offset() if plain else None


class PackedRows:
    """Rows of one large dataset."""

    def __init__(self, path: Path) -> None:
        self.crc32: Mapping[int, int] = {}
        self._path = path
        self._file = open_hdf5(path)
        try:
            self._features = _Column(self._file[FEATURES])
            ids = self._file[IDS][()].tolist()
            count = len(self._features.data)
            if count != len(ids) or len(set(ids)) != len(ids):
                raise NotAFeatureFile(
                    tr("{path} has {n:,} rows and {total:,} different ids.", path=path, n=count, total=len(set(ids))),
                    tr("It takes one id a row."),
                )
            self._class_tokens, self.remarks = self._class_token_column(count)
            self._position = {image_id: row for row, image_id in enumerate(ids)}
            self.content = Content(
                ids=tuple(sorted(ids)),
                row_shape=self._features.data.shape[1:],
                dtype=self._features.data.dtype.name,
                manifest=read_manifest(self._file),
                refused=tuple(read_refused(self._file)),
                global_width=self._class_tokens.data.shape[1] if self._class_tokens else 0,
            )
        except BaseException:
            self._file.close()
            raise
        self._raw = path.open("rb", buffering=0)

    def read(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Rows in the order of `ids`."""
        return self._read(self._features, ids)

    def read_class_tokens(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Class tokens in the order of `ids`."""
        if self._class_tokens is None:
            raise MissingIds(self._path, ids)
        return self._read(self._class_tokens, ids)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()

    def layout(self, known: Layout) -> Layout:
        """How the rows are kept; chunks of many rows make random reads slow."""
        data = self._features.data
        return msgspec.structs.replace(
            known,
            contiguous=self._features.offset is not None,
            chunks=data.chunks,
            compression=data.compression and f"{data.compression} {data.compression_opts}",
        )

    def _class_token_column(self, count: int) -> tuple[_Column | None, Sequence[str]]:
        found = self._file.get(GLOBAL)
        if not isinstance(found, h5py.Dataset):
            return None, ()
        if found.ndim == 2 and len(found) == count and found.dtype == self._features.data.dtype:
            return _Column(found), ()
        why = tr(
            "it is {shape} {found}, beside {n:,} rows in {dtype}",
            shape=found.shape,
            found=found.dtype,
            n=count,
            dtype=self._features.data.dtype,
        )
        return None, (tr("`{name}` in {path} is not converted: {why}.", name=GLOBAL, path=self._path, why=why),)

    def _read(self, column: _Column, ids: Sequence[int]) -> NDArray[np.generic]:
        if absent := [image_id for image_id in ids if image_id not in self._position]:
            raise MissingIds(self._path, absent)
        places = [self._position[image_id] for image_id in ids]
        out = np.empty((len(ids), *column.data.shape[1:]), self.content.dtype)
        if column.offset is None:
            # All at once: a chunk is then unpacked once, not for every row in it.
            different, back = np.unique(places, return_inverse=True)
            out[:] = column.data[different][back]
            return out
        row_bytes = out.nbytes // max(1, len(ids))
        for number, place in enumerate(places):
            self._read_at(column.offset + place * row_bytes, out[number], ids[number])
        return out

    def _read_at(self, offset: int, row: NDArray[np.generic], image_id: int) -> None:
        """Read past HDF5, which takes several times as long to find the same bytes."""
        if os.preadv(self._raw.fileno(), [row.reshape(-1).view(np.uint8).data], offset) != row.nbytes:
            raise FoundFaults(
                tr("{path} ends within the features of image {image_id}.", path=self._path, image_id=image_id),
                tr("Get it again."),
            )


class PackedSink(PlainHdf5Sink):
    """Writes one large dataset, row behind row, and one of class tokens."""

    def __init__(self, path: Path, content: Content) -> None:
        super().__init__(path, content)
        self._written = 0
        count, kind = len(content.ids), np.dtype(content.dtype).newbyteorder("<")
        self._features = self._file.create_dataset(FEATURES, (count, *content.row_shape), kind)
        self._ids = self._file.create_dataset(IDS, (count,), "<i8")
        self._class_tokens = (
            self._file.create_dataset(GLOBAL, (count, content.global_width), kind) if content.global_width else None
        )

    def write(
        self, ids: Sequence[int], rows: NDArray[np.generic], class_tokens: NDArray[np.generic] | None = None
    ) -> None:
        """Append rows."""
        place = slice(self._written, self._written + len(ids))
        self._features[place] = rows
        self._ids[place] = ids
        if self._class_tokens is not None:
            self._class_tokens[place] = class_tokens
        self._written += len(ids)


PACKED = Format("packed", PackedRows, PackedSink)


def is_packed(file: h5py.File) -> bool:
    """Whether an open file holds rows in this format."""
    features, ids = file.get(FEATURES), file.get(IDS)
    return isinstance(features, h5py.Dataset) and isinstance(ids, h5py.Dataset) and ids.ndim == 1 and features.ndim > 1
