"""Folders with a file per image, `{id}.npz` or `{id}.pt`, and `manifest.json` (`rows.RowsDocument`) beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.features.formats.rows import Content, RowsDocument, content_of, describe, described
from fsgr_tui.features.reader import MissingIds, NotAFeatureFile
from fsgr_tui.features.writer import sync_path

MANIFEST_FILE = "manifest.json"

Load = Callable[[Path], NDArray[np.generic]]
Save = Callable[[Path, NDArray[np.generic]], None]


class FolderIndex(msgspec.Struct, frozen=True):
    """What a folder holds, by its names alone.

    Attributes:
        ids: of files `{id}SUFFIX`, ascending.
        others: names of everything else but the manifest, the first ones in no order.
        document: what `manifest.json` tells; None when there is none.
    """

    ids: tuple[int, ...]
    others: tuple[str, ...]
    document: RowsDocument | None


def index_folder(folder: Path, suffix: str) -> FolderIndex:
    """List a folder.

    Raises:
        NotAFeatureFile: `manifest.json` describes no rows.
    """
    ids, others = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem = entry.name.removesuffix(suffix)
            if stem != entry.name and stem.isascii() and stem.isdigit() and str(int(stem)) == stem:
                ids.append(int(stem))
            elif entry.name != MANIFEST_FILE:
                others.append(entry.name)
    told = folder / MANIFEST_FILE
    document = described(told.read_bytes(), str(told)) if told.is_file() else None
    return FolderIndex(tuple(sorted(ids)), tuple(others), document)


class FolderRows:
    """Rows of a folder with a file per image.

    Args:
        folder: the folder.
        suffix: of the images' files.
        load: the array in one file; raises FoundFaults when there is none.
    """

    def __init__(self, folder: Path, suffix: str, load: Load) -> None:
        self.crc32: Mapping[int, int] = {}
        self._folder, self._suffix, self._load = folder, suffix, load
        index = index_folder(folder, suffix)
        if not index.ids:
            raise NotAFeatureFile(f"{folder} holds no files like 9{suffix}.", "Look whether this is the right folder.")
        self.content = self._content(index)
        self._known = frozenset(index.ids)
        self.remarks: Sequence[str] = ()
        if index.others:
            shown = ", ".join(index.others[:3])
            self.remarks = (
                f"{folder} holds {len(index.others):,} other files (such as {shown}), which are not converted.",
            )

    def read(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Rows in the order of `ids`."""
        if absent := [image_id for image_id in ids if image_id not in self._known]:
            raise MissingIds(self._folder, absent)
        out = np.empty((len(ids), *self.content.row_shape), self.content.dtype)
        for number, image_id in enumerate(ids):
            row = self._load(self._path(image_id))
            if row.shape != self.content.row_shape or row.dtype.name != self.content.dtype:
                raise FoundFaults(
                    f"{self._path(image_id)} holds {row.shape} {row.dtype}, others {self.content.row_shape} {self.content.dtype}.",
                    "Make it again.",
                )
            out[number] = row
        return out

    def close(self) -> None:
        """Nothing is held open between reads."""

    def _path(self, image_id: int) -> Path:
        return self._folder / f"{image_id}{self._suffix}"

    def _content(self, index: FolderIndex) -> Content:
        if index.document is not None:
            return content_of(index.ids, index.document, str(self._folder / MANIFEST_FILE))
        first = self._load(self._path(index.ids[0]))
        return Content(index.ids, first.shape, first.dtype.name)


class FolderSink:
    """Writes a folder with a file per image.

    Args:
        folder: made here.
        content: what the rows are.
        suffix: of the images' files.
        save: writes one array into one file.
    """

    def __init__(self, folder: Path, content: Content, suffix: str, save: Save) -> None:
        self._folder, self._content, self._suffix, self._save = folder, content, suffix, save
        folder.mkdir()

    def write(self, ids: Sequence[int], rows: NDArray[np.generic]) -> None:
        """Write a file per row."""
        for image_id, row in zip(ids, rows, strict=True):
            self._save(self._folder / f"{image_id}{self._suffix}", row)

    def finish(self) -> None:
        """Write `manifest.json`, and bring all files to the disk."""
        (self._folder / MANIFEST_FILE).write_bytes(describe(self._content))
        # One sync of everything costs less than one for each of 100,000 files.
        os.sync()
        sync_path(self._folder)

    def close(self) -> None:
        """Nothing is held open between writes."""
