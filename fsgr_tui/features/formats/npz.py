"""A folder of `{id}.npz`, each with the array `feat`, as loaders descended from M2's read them.

A class token is the array `global` beside it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.language import tr
from fsgr_tui.features.formats.files import FileKind, FolderRows, FolderSink
from fsgr_tui.features.formats.rows import Content, Format
from fsgr_tui.features.manifest import GLOBAL

SUFFIX = ".npz"
ARRAY = "feat"


def load_row(path: Path) -> NDArray[np.generic]:
    """The array `feat` of a file; the zip's own checksum is verified on the way.

    Raises:
        FoundFaults: the file is damaged, or has no such array.
    """
    row, names = _array(path, ARRAY)
    if row is None:
        raise FoundFaults(
            tr(
                "{path} has no array {array!r} (its arrays: {names}).",
                path=path,
                array=ARRAY,
                names=", ".join(names) or tr("none"),
            ),
            tr("Loaders of this kind read {array!r}.", array=ARRAY),
        )
    return row


def load_class_token(path: Path) -> NDArray[np.generic] | None:
    """The array `global` of a file; None when it has none.

    Raises:
        FoundFaults: the file is damaged.
    """
    return _array(path, GLOBAL)[0]


def save(path: Path, row: NDArray[np.generic], class_token: NDArray[np.generic] | None) -> None:
    """Write a file; not compressed, since features gain 2-6 % by it and lose most of their speed."""
    arrays: dict[str, Any] = {ARRAY: row} if class_token is None else {ARRAY: row, GLOBAL: class_token}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _array(path: Path, name: str) -> tuple[NDArray[np.generic] | None, list[str]]:
    """The array of a name, if there is one, and the names of all."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays.get(name), list(arrays)
    # A truncated file shows as any of these, depending on where it ends.
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, AttributeError) as error:
        raise FoundFaults(tr("{path} cannot be read: {error}.", path=path, error=error), tr("Make it again.")) from None


KIND = FileKind(SUFFIX, load_row, load_class_token, save)


def _open(path: Path) -> FolderRows:
    return FolderRows(path, KIND)


def _create(path: Path, content: Content) -> FolderSink:
    return FolderSink(path, content, KIND)


NPZ = Format("npz", _open, _create)
