"""A folder of `{id}.npz`, each with the array `feat`, as loaders descended from M2's read them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.features.formats.files import FolderRows, FolderSink
from fsgr_tui.features.formats.rows import Content, Format

SUFFIX = ".npz"
ARRAY = "feat"


def load_row(path: Path) -> NDArray[np.generic]:
    """The array `feat` of a file; the zip's own checksum is verified on the way.

    Raises:
        FoundFaults: the file is damaged, or has no such array.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if ARRAY not in arrays:
                raise FoundFaults(
                    f"{path} has no array {ARRAY!r} (its arrays: {', '.join(arrays) or 'none'}).",
                    f"Loaders of this kind read {ARRAY!r}.",
                )
            row: NDArray[np.generic] = arrays[ARRAY]
            return row
    # A truncated file shows as any of these, depending on where it ends.
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, AttributeError) as error:
        raise FoundFaults(f"{path} cannot be read: {error}.", "Make it again.") from None


def save_row(path: Path, row: NDArray[np.generic]) -> None:
    """Write a file; not compressed, since features gain 2-6 % by it and lose most of their speed."""
    with path.open("wb") as file:
        # The keyword is ARRAY spelled out: mypy takes an unpacked dictionary for the flags of `savez`.
        np.savez(file, feat=row)


def _open(path: Path) -> FolderRows:
    return FolderRows(path, SUFFIX, load_row)


def _create(path: Path, content: Content) -> FolderSink:
    return FolderSink(path, content, SUFFIX, save_row)


NPZ = Format("npz", _open, _create)
