"""Whatever can be checked, seen in one way: HDF5 with an array per image, and the formats that `convert` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import mark, tr
from fsgr_tui.features.formats import catalogue
from fsgr_tui.features.formats.packed import PackedRows, is_packed
from fsgr_tui.features.formats.rows import Rows
from fsgr_tui.features.manifest import GLOBAL, Manifest, read_manifest
from fsgr_tui.features.opening import NotAFeatureFile, open_hdf5
from fsgr_tui.features.reader import FeatureFile, Layout


class Checkable(Protocol):
    """Rows with what is known of them; `FeatureFile` is one."""

    path: Path
    ids: NDArray[np.int64]
    layout: Layout
    manifest: Manifest | None

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Storage type of the rows."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, image_id: int) -> NDArray[np.generic]: ...

    def read(self, ids: Sequence[int]) -> NDArray[np.generic]:
        """Rows in the order of `ids`."""
        ...

    def close(self) -> None:
        """Let the file go."""
        ...


class _Converted:
    """Rows in another format than an array per image."""

    def __init__(self, path: Path, rows: Rows, layout: Layout) -> None:
        self.path, self.layout = path, layout
        self.ids = np.array(rows.content.ids, np.int64)
        self.manifest = rows.content.manifest
        self.row_shape = rows.content.row_shape
        self.dtype = np.dtype(rows.content.dtype)
        self.rows = rows

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, image_id: int) -> NDArray[np.generic]:
        row: NDArray[np.generic] = self.rows.read([image_id])[0]
        return row

    def read(self, ids: Sequence[int]) -> NDArray[np.generic]:
        return self.rows.read(ids)

    def close(self) -> None:
        self.rows.close()


class _ClassTokens(_Converted):
    """The class tokens of such rows."""

    def __init__(self, path: Path, rows: Rows, layout: Layout) -> None:
        super().__init__(path, rows, layout)
        self.row_shape = (rows.content.global_width,)

    def read(self, ids: Sequence[int]) -> NDArray[np.generic]:
        return self.rows.read_class_tokens(ids)

    def close(self) -> None:
        """The rows are closed by themselves."""


def open_checkable(path: Path) -> Checkable:
    """Open whatever lies at a path.

    Raises:
        Problem: it is not there, no features, damaged, or it may not be read.
    """
    if path.name.endswith(".part") and path.with_name(path.name.removesuffix(".part") + ".ledger").exists():
        raise NotAFeatureFile(
            tr("{path} is an unfinished extraction: rows that are not done read as zeros.", path=path),
            tr("Finish it with `fsgr-tui extract --resume`, then check the file."),
        )
    if path.is_dir() or _holds_one_array(path):
        return _Converted(path, *_rows(path))
    return FeatureFile(path)


def manifest_at(path: Path) -> Manifest | None:
    """The manifest of whatever lies at a path, without an index of its rows where that can be spared.

    Raises:
        Problem: as `open_checkable`.
    """
    if path.is_dir():
        file = open_checkable(path)
        file.close()
        return file.manifest
    with open_hdf5(path) as hdf5:
        return read_manifest(hdf5)


def open_class_tokens(file: Checkable) -> Checkable:
    """The class tokens beside the rows of a file.

    Raises:
        NotAFeatureFile: there are none.
    """
    if not isinstance(file, _Converted):
        return FeatureFile(file.path, GLOBAL)
    if not file.rows.content.global_width:
        raise NotAFeatureFile(tr("{path} has no class tokens.", path=file.path), tr("Convert it again."))
    return _ClassTokens(file.path, file.rows, file.layout)


def _holds_one_array(path: Path) -> bool:
    with open_hdf5(path) as file:
        return is_packed(file)


def _rows(path: Path) -> tuple[Rows, Layout]:
    name = catalogue.source_format(path)
    if name == "pt":
        raise BadRequest(
            tr("{path} holds tensor files, which are not checked as they are.", path=path),
            tr(
                "Convert them and check that: fsgr-tui convert {path} {name}",
                path=path,
                name=path.with_suffix(".hdf5").name,
            ),
        )
    rows = catalogue.FORMATS[name].open(path)
    content = rows.content
    suffix = content.manifest.suffix if content.manifest else "grids"
    kept_as = {"packed": mark("one array for all images"), "lmdb": "LMDB", "npz": mark("a file per image")}[name]
    layout = Layout(suffix, contiguous=True, shape=content.row_shape, dtype=content.dtype, kept_as=kept_as)
    return rows, rows.layout(layout) if isinstance(rows, PackedRows) else layout
