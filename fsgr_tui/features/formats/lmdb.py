"""LMDB: a folder with `data.mdb`.

The key of a row is its image id as a decimal number in ASCII; the value is the row's bytes, C order, little-endian. A class
token has the key `{id}_global`. What the rows are stands as JSON (`rows.RowsDocument`: shape, dtype, global_width, manifest)
under the key `__meta__`. To read a row:

    txn.get(b"9") -> numpy.frombuffer(value, dtype).reshape(shape)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import FoundFaults, MachineCannot, MissingExtra
from fsgr_tui.core.language import tr
from fsgr_tui.features.formats.rows import Content, Format, content_of, describe, described
from fsgr_tui.features.opening import NotAFeatureFile
from fsgr_tui.features.reader import MissingIds
from fsgr_tui.features.writer import sync_path

META_KEY = b"__meta__"
GLOBAL_KEY = b"%d_global"
DATA_FILE = "data.mdb"
_MAP_BYTES_LEAST = 1 << 26


class LmdbRows:
    """Rows of an LMDB folder."""

    def __init__(self, path: Path) -> None:
        lmdb = _library()
        self.crc32: Mapping[int, int] = {}
        self.remarks: Sequence[str] = ()
        self._path = path
        try:
            # Without locks the folder may be read-only; a finished target has no writer.
            self._environment = lmdb.open(str(path), readonly=True, lock=False, readahead=False, create=False)
        except lmdb.Error as error:
            raise NotAFeatureFile(
                tr("{path} is no LMDB folder, or is damaged: {error}.", path=path, error=error), tr("Get it again.")
            ) from None
        try:
            self._require_whole()
            self._transaction = self._environment.begin(buffers=True)
            self.content = self._content()
        except BaseException:
            self._environment.close()
            raise
        self._stored = np.dtype(self.content.dtype).newbyteorder("<")

    def read(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Rows in the order of `ids`."""
        return self._read(ids, b"%d", self.content.row_shape)

    def read_class_tokens(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Class tokens in the order of `ids`."""
        return self._read(ids, GLOBAL_KEY, (self.content.global_width,))

    def close(self) -> None:
        """Close the folder."""
        self._environment.close()

    def _read(self, ids: Sequence[int], key: bytes, shape: tuple[int, ...]) -> NDArray[np.generic]:
        values = [self._transaction.get(key % image_id) for image_id in ids]
        if absent := [image_id for image_id, value in zip(ids, values, strict=True) if value is None]:
            raise MissingIds(self._path, absent)
        out = np.empty((len(ids), *shape), self.content.dtype)
        row_bytes = out.nbytes // max(1, len(ids))
        for number, (image_id, value) in enumerate(zip(ids, values, strict=True)):
            if len(value) != row_bytes:
                raise FoundFaults(
                    tr(
                        "{path}: {decode} has {n:,} bytes, others {row_bytes:,}.",
                        path=self._path,
                        decode=(key % image_id).decode(),
                        n=len(value),
                        row_bytes=row_bytes,
                    ),
                    tr("Convert it again."),
                )
            out[number] = np.frombuffer(value, self._stored).reshape(shape)
        return out

    def _require_whole(self) -> None:
        """Refuse a truncated file: its missing pages are mapped all the same, and touching them kills the process."""
        promised = (self._environment.info()["last_pgno"] + 1) * self._environment.stat()["psize"]
        size = (self._path / DATA_FILE).stat().st_size
        if size < promised:
            raise NotAFeatureFile(
                tr(
                    "{path} is truncated: it has {size:,} bytes of {promised:,}.",
                    path=self._path / DATA_FILE,
                    size=size,
                    promised=promised,
                ),
                tr("Get it again."),
            )

    def _content(self) -> Content:
        meta = self._transaction.get(META_KEY)
        if meta is None:
            raise NotAFeatureFile(
                tr(
                    "{path} has no key {decode}, so shape and type of its rows are not known.",
                    path=self._path,
                    decode=META_KEY.decode(),
                ),
                tr("Only LMDB folders that fsgr-tui wrote can be converted."),
            )
        document = described(bytes(meta), f"{self._path}: {META_KEY.decode()}")
        keys = (bytes(key) for key in self._transaction.cursor().iternext(keys=True, values=False))
        ids = [int(key) for key in keys if key.isdigit()]
        return content_of(ids, document, f"{self._path}: {META_KEY.decode()}")


class LmdbSink:
    """Writes an LMDB folder, one transaction a batch."""

    def __init__(self, path: Path, content: Content) -> None:
        lmdb = _library()
        self._path, self._content, self._error = path, content, lmdb.Error
        self._stored = np.dtype(content.dtype).newbyteorder("<")
        # The map's size is only a limit on addresses. Pages of rows and keys stay far below it.
        limit = _MAP_BYTES_LEAST + 3 * (content.raw_bytes + 2 * 4096 * len(content.ids)) + 4 * len(describe(content))
        path.mkdir()
        self._environment = lmdb.open(str(path), map_size=limit, lock=False, sync=False)

    def write(
        self, ids: Sequence[int], rows: NDArray[np.generic], class_tokens: NDArray[np.generic] | None = None
    ) -> None:
        """Put rows and class tokens."""
        given = [(b"%d", rows)] if class_tokens is None else [(b"%d", rows), (GLOBAL_KEY, class_tokens)]
        for key, arrays in given:
            little = np.ascontiguousarray(arrays, self._stored)
            self._put([(key % image_id, array.tobytes()) for image_id, array in zip(ids, little, strict=True)])

    def finish(self) -> None:
        """Put the description and bring the folder to the disk."""
        self._put([(META_KEY, describe(self._content))])
        self._environment.sync(True)
        self.close()
        sync_path(self._path)

    def close(self) -> None:
        """Close the folder."""
        self._environment.close()

    def _put(self, pairs: list[tuple[bytes, bytes]]) -> None:
        try:
            with self._environment.begin(write=True) as transaction:
                for key, value in pairs:
                    transaction.put(key, value)
        except self._error as error:
            raise MachineCannot(
                tr("{path} cannot be written: {error}.", path=self._path, error=error),
                tr("Look at the space that is free there, and convert again."),
            ) from None


LMDB = Format("lmdb", LmdbRows, LmdbSink)


def _library() -> Any:
    try:
        import lmdb
    except ModuleNotFoundError:
        raise MissingExtra("convert", "convert", "lmdb") from None
    return lmdb
