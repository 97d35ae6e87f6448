"""Folders with a file per image, `{id}.npz` or `{id}.pt`, and `manifest.json` (`rows.RowsDocument`) beside them.

Where a file holds one array only (`.pt`), class tokens have files of their own, `{id}_global.pt`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.language import tr
from fsgr_tui.features.formats.rows import Content, RowsDocument, content_of, describe, described
from fsgr_tui.features.manifest import GLOBAL
from fsgr_tui.features.opening import NotAFeatureFile
from fsgr_tui.features.reader import MissingIds
from fsgr_tui.features.writer import sync_path

MANIFEST_FILE = "manifest.json"


class FileKind(msgspec.Struct, frozen=True):
    """How the arrays of one image are kept in files.

    Attributes:
        suffix: of the images' files.
        load: the row in a file; raises FoundFaults when there is none.
        load_class_token: the class token of the image whose row is in a file; None when it has none.
        save: writes row and class token (or None) of an image, given the path of its file.
    """

    suffix: str
    load: Callable[[Path], NDArray[np.generic]]
    load_class_token: Callable[[Path], NDArray[np.generic] | None]
    save: Callable[[Path, NDArray[np.generic], NDArray[np.generic] | None], None]


def class_token_path(path: Path) -> Path:
    """The file of the class token beside the file of a row: `9.pt` and `9_global.pt`."""
    return path.with_name(f"{path.stem}_{GLOBAL}{path.suffix}")


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
            named = stem != entry.name
            if named and _is_id(stem):
                ids.append(int(stem))
            elif entry.name != MANIFEST_FILE and not (named and _is_id(stem.removesuffix(f"_{GLOBAL}"))):
                others.append(entry.name)
    told = folder / MANIFEST_FILE
    document = described(told.read_bytes(), str(told)) if told.is_file() else None
    return FolderIndex(tuple(sorted(ids)), tuple(others), document)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and str(int(text)) == text


class FolderRows:
    """Rows of a folder with a file per image."""

    def __init__(self, folder: Path, kind: FileKind) -> None:
        self.crc32: Mapping[int, int] = {}
        self._folder, self._kind = folder, kind
        index = index_folder(folder, kind.suffix)
        if not index.ids:
            raise NotAFeatureFile(
                tr("{folder} holds no files like 9{suffix}.", folder=folder, suffix=kind.suffix),
                tr("Look whether this is the right folder."),
            )
        self.content = self._content(index)
        self._known = frozenset(index.ids)
        self.remarks: Sequence[str] = ()
        if index.others:
            shown = ", ".join(index.others[:3])
            self.remarks = (
                tr(
                    "{folder} holds {n:,} other files (such as {shown}), which are not converted.",
                    folder=folder,
                    n=len(index.others),
                    shown=shown,
                ),
            )

    def read(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Rows in the order of `ids`."""
        self._require_known(ids)
        out = np.empty((len(ids), *self.content.row_shape), self.content.dtype)
        for number, image_id in enumerate(ids):
            path = self._path(image_id)
            out[number] = self._alike(self._kind.load(path), out.shape[1:], path)
        return out

    def read_class_tokens(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Class tokens in the order of `ids`."""
        self._require_known(ids)
        out = np.empty((len(ids), self.content.global_width), self.content.dtype)
        for number, image_id in enumerate(ids):
            path = self._path(image_id)
            token = self._kind.load_class_token(path)
            if token is None:
                raise FoundFaults(
                    tr("There is no class token of image {image_id} at {path}.", image_id=image_id, path=path),
                    tr("Make it again."),
                )
            out[number] = self._alike(token, out.shape[1:], path)
        return out

    def close(self) -> None:
        """Nothing is held open between reads."""

    def _path(self, image_id: int) -> Path:
        return self._folder / f"{image_id}{self._kind.suffix}"

    def _require_known(self, ids: Sequence[int]) -> None:
        if absent := [image_id for image_id in ids if image_id not in self._known]:
            raise MissingIds(self._folder, absent)

    def _alike(self, array: NDArray[np.generic], shape: tuple[int, ...], path: Path) -> NDArray[np.generic]:
        if array.shape != shape or array.dtype.name != self.content.dtype:
            raise FoundFaults(
                tr(
                    "{path} holds {shape} {dtype}, others {shape2} {dtype2}.",
                    path=path,
                    shape=array.shape,
                    dtype=array.dtype,
                    shape2=shape,
                    dtype2=self.content.dtype,
                ),
                tr("Make it again."),
            )
        return array

    def _content(self, index: FolderIndex) -> Content:
        if index.document is not None:
            return content_of(index.ids, index.document, str(self._folder / MANIFEST_FILE))
        path = self._path(index.ids[0])
        first, token = self._kind.load(path), self._kind.load_class_token(path)
        beside = token is not None and token.ndim == 1 and token.dtype == first.dtype
        return Content(
            index.ids, first.shape, first.dtype.name, global_width=len(token) if beside and token is not None else 0
        )


class FolderSink:
    """Writes a folder with a file per image; makes the folder."""

    def __init__(self, folder: Path, content: Content, kind: FileKind) -> None:
        self._folder, self._content, self._kind = folder, content, kind
        folder.mkdir()

    def write(
        self, ids: Sequence[int], rows: NDArray[np.generic], class_tokens: NDArray[np.generic] | None = None
    ) -> None:
        """Write a file per row."""
        for number, image_id in enumerate(ids):
            token = None if class_tokens is None else class_tokens[number]
            self._kind.save(self._folder / f"{image_id}{self._kind.suffix}", rows[number], token)

    def finish(self) -> None:
        """Write `manifest.json`, and bring all files to the disk."""
        (self._folder / MANIFEST_FILE).write_bytes(describe(self._content))
        # One sync of everything costs less than one for each of 100,000 files.
        os.sync()
        sync_path(self._folder)

    def close(self) -> None:
        """Nothing is held open between writes."""
