"""Packed HDF5: all rows in one contiguous dataset `features` (N, *row_shape), their image ids in `ids` (N,) int64."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.features.formats.keyed import PlainHdf5Sink
from fsgr_tui.features.formats.rows import Content, Format
from fsgr_tui.features.manifest import Manifest, read_manifest, read_refused
from fsgr_tui.features.reader import MissingIds, NotAFeatureFile, open_hdf5

FEATURES, IDS = "features", "ids"


class PackedRows:
    """Rows of one large dataset."""

    def __init__(self, path: Path) -> None:
        self.crc32: Mapping[int, int] = {}
        self.remarks: Sequence[str] = ()
        self._path = path
        self._file = open_hdf5(path)
        try:
            self._features: h5py.Dataset = self._file[FEATURES]
            ids = self._file[IDS][()].tolist()
            if len(self._features) != len(ids) or len(set(ids)) != len(ids):
                raise NotAFeatureFile(
                    f"{path} has {len(self._features):,} rows and {len(set(ids)):,} different ids.",
                    "It takes one id a row.",
                )
            contiguous = self._features.chunks is None and self._features.external is None
            native = self._features.dtype.isnative
            self._offset: int | None = self._features.id.get_offset() if contiguous and native else None
            self._position = {image_id: row for row, image_id in enumerate(ids)}
            self.content = Content(
                ids=tuple(sorted(ids)),
                row_shape=self._features.shape[1:],
                dtype=self._features.dtype.name,
                manifest=_manifest(self._file, path),
                refused=tuple(read_refused(self._file)),
            )
        except BaseException:
            self._file.close()
            raise
        self._raw = path.open("rb", buffering=0)

    def read(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Rows in the order of `ids`."""
        if absent := [image_id for image_id in ids if image_id not in self._position]:
            raise MissingIds(self._path, absent)
        out = np.empty((len(ids), *self.content.row_shape), self.content.dtype)
        for number, image_id in enumerate(ids):
            if self._offset is None:
                out[number] = self._features[self._position[image_id]]
            else:
                self._read_at(self._offset + self._position[image_id] * self.content.row_bytes, out[number], image_id)
        return out

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()

    def _read_at(self, offset: int, row: NDArray[np.generic], image_id: int) -> None:
        """Read past HDF5, which takes several times as long to find the same bytes."""
        if os.preadv(self._raw.fileno(), [row.reshape(-1).view(np.uint8).data], offset) != row.nbytes:
            raise FoundFaults(f"{self._path} ends within the features of image {image_id}.", "Get it again.")


class PackedSink(PlainHdf5Sink):
    """Writes one large dataset, row behind row."""

    def __init__(self, path: Path, content: Content) -> None:
        super().__init__(path, content)
        self._written = 0
        shape = (len(content.ids), *content.row_shape)
        self._features = self._file.create_dataset(FEATURES, shape, np.dtype(content.dtype).newbyteorder("<"))
        self._ids = self._file.create_dataset(IDS, (len(content.ids),), "<i8")

    def write(self, ids: Sequence[int], rows: NDArray[np.generic]) -> None:
        """Append rows."""
        place = slice(self._written, self._written + len(ids))
        self._features[place] = rows
        self._ids[place] = ids
        self._written += len(ids)


PACKED = Format("packed", PackedRows, PackedSink)


def is_packed(file: h5py.File) -> bool:
    """Whether an open file holds rows in this format."""
    features, ids = file.get(FEATURES), file.get(IDS)
    return isinstance(features, h5py.Dataset) and isinstance(ids, h5py.Dataset) and ids.ndim == 1 and features.ndim > 1


def _manifest(file: h5py.File, path: Path) -> Manifest | None:
    try:
        return read_manifest(file)
    except msgspec.ValidationError as error:
        raise NotAFeatureFile(f"The attributes of {path} are no manifest: {error}.", "Convert it again.") from None
