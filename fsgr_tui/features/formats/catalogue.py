"""Which formats there are, which one lies at a path, and what each will take of a disk."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.extraction import FormatName
from fsgr_tui.core.language import tr
from fsgr_tui.core.storage import temporary_bytes
from fsgr_tui.core.tower import HDF5_BYTES_PER_KEY
from fsgr_tui.features.formats.files import MANIFEST_FILE, FolderIndex, class_token_path, index_folder
from fsgr_tui.features.formats.keyed import HDF5, LEGACY
from fsgr_tui.features.formats.lmdb import DATA_FILE, LMDB
from fsgr_tui.features.formats.npz import NPZ
from fsgr_tui.features.formats.packed import PACKED, is_packed
from fsgr_tui.features.formats.rows import Format
from fsgr_tui.features.opening import NotAFeatureFile, open_hdf5
from fsgr_tui.features.reader import FeatureFile

FORMATS: dict[FormatName, Format] = {each.name: each for each in (HDF5, LEGACY, PACKED, LMDB, NPZ)}
"""Those that need no torch; the child process adds `pt`."""

SUFFIXES: dict[str, FormatName] = {
    ".packed.hdf5": "packed", ".packed.h5": "packed", ".hdf5": "hdf5", ".h5": "hdf5", ".lmdb": "lmdb", ".npz": "npz", ".pt": "pt",
}  # fmt: skip
"""A target's format by the end of its name, the longest first; `legacy` has to be asked for."""

# Measured with h5py 3.16, NumPy 2.4, torch 2.14 and LMDB 0.9 pages; each is the upper end.
_LEGACY_BYTES_PER_ROW = 3300
_GZIP_WORST = 1.02
_PT_BYTES = 1500
_NPZ_BYTES_PER_ARRAY = 270
_BLOCK_BYTES = 4096
_LMDB_IN_PAGE = 2000
_FEW_INODES = 8
_BASE_BYTES = 1 << 20


class Survey(msgspec.Struct, frozen=True):
    """How much there is to convert.

    Attributes:
        row_bytes: of one row's values (of a `.pt` folder without manifest: of its first file, an upper bound).
        global_bytes: of the class token beside it; 0 for none.
    """

    format: FormatName
    rows: int
    row_bytes: int
    dtype: str | None
    global_bytes: int = 0


class Need(msgspec.Struct, frozen=True):
    """What a target takes of a disk, at the most."""

    bytes: int
    inodes: int


def source_format(path: Path) -> FormatName:
    """The format of what lies at a path, by its content.

    Raises:
        BadRequest: nothing is there.
        NotAFeatureFile: it is none of the formats; the message says what it is.
    """
    if path.is_dir():
        return _folder_format(path)
    with open_hdf5(path) as file:
        if is_packed(file):
            return "packed"
    return "hdf5" if FeatureFile(path).layout.contiguous else "legacy"


def target_format(path: Path, asked: FormatName | None) -> FormatName:
    """The format of a target: what was asked for, else by its name.

    Raises:
        BadRequest: the name tells nothing.
    """
    if asked is not None:
        return asked
    for suffix, name in SUFFIXES.items():
        if path.name.endswith(suffix):
            return name
    raise BadRequest(
        tr("The name {name} does not tell the format.", name=path.name),
        tr("Add --to, or end the name in {suffixes}.", suffixes=", ".join(SUFFIXES)),
    )


def survey(path: Path, name: FormatName) -> Survey:
    """Count what a source holds, without torch.

    Raises:
        Problem: of the format's reader, when it cannot be read.
    """
    if name == "pt":
        return _survey_tensors(path)
    rows = FORMATS[name].open(path)
    rows.close()
    found = rows.content
    return Survey(name, len(found.ids), found.row_bytes, found.dtype, found.global_bytes)


def need(name: FormatName, rows: int, row_bytes: int, global_bytes: int = 0) -> Need:
    """What a target will take, at the most; the draft becomes the target, so nothing is needed twice.

    Args:
        row_bytes, global_bytes: of one row's values, and of the class token beside it (0 for none).
    """
    raw = rows * (row_bytes + global_bytes)
    keys = rows * 2 if global_bytes else rows
    match name:
        case "hdf5":
            return Need(raw + HDF5_BYTES_PER_KEY * keys + temporary_bytes(keys) + _BASE_BYTES, _FEW_INODES)
        case "legacy":
            return Need(math.ceil(raw * _GZIP_WORST) + _LEGACY_BYTES_PER_ROW * keys + _BASE_BYTES, _FEW_INODES)
        case "packed":
            return Need(raw + 8 * rows + _BASE_BYTES, _FEW_INODES)
        case "lmdb":
            per_image = sum(_lmdb_bytes(size) for size in (row_bytes, global_bytes) if size)
            return Need(rows * per_image + _BASE_BYTES, _FEW_INODES)
        case "npz":
            arrays = _NPZ_BYTES_PER_ARRAY * (2 if global_bytes else 1)
            return Need(rows * _in_blocks(row_bytes + global_bytes + arrays) + _BASE_BYTES, rows + _FEW_INODES)
        case "pt":
            per_image = sum(_in_blocks(size + _PT_BYTES) for size in (row_bytes, global_bytes) if size)
            return Need(rows * per_image + _BASE_BYTES, keys + _FEW_INODES)


def _lmdb_bytes(size: int) -> int:
    """Larger values get pages of their own; smaller ones share pages that are at least half full."""
    return _in_blocks(size + 16) + 64 if size > _LMDB_IN_PAGE else 2 * (size + 32)


def of_features_only(folder: Path) -> bool:
    """Whether a folder holds nothing but the rows of one of the formats, so that it may be replaced."""
    names = {entry.name for entry in folder.iterdir()}
    if names <= {DATA_FILE, "lock.mdb"}:
        return True
    return any(not index_folder(folder, suffix).others for suffix in (".npz", ".pt"))


def _in_blocks(count: int) -> int:
    return -(-count // _BLOCK_BYTES) * _BLOCK_BYTES


def _folder_format(folder: Path) -> FormatName:
    if (folder / DATA_FILE).is_file():
        return "lmdb"
    names: tuple[FormatName, ...] = ("npz", "pt")
    for name in names:
        if index_folder(folder, f".{name}").ids:
            return name
    raise NotAFeatureFile(
        tr(
            "{folder} holds no features: no {data_file}, no files like 9.npz or 9.pt.",
            folder=folder,
            data_file=DATA_FILE,
        ),
        tr("Name the folder or file with them."),
    )


def _survey_tensors(folder: Path) -> Survey:
    index: FolderIndex = index_folder(folder, ".pt")
    if not index.ids:
        raise NotAFeatureFile(
            tr("{folder} holds no files like 9.pt.", folder=folder), tr("Look whether this is the right folder.")
        )
    if index.document is None:
        first = folder / f"{index.ids[0]}.pt"
        token = class_token_path(first)
        return Survey("pt", len(index.ids), first.stat().st_size, None, token.stat().st_size if token.is_file() else 0)
    told = index.document
    if told.rows != len(index.ids):
        raise NotAFeatureFile(
            tr(
                "{folder} promises {rows:,} rows, {n:,} are there.",
                folder=folder / MANIFEST_FILE,
                rows=told.rows,
                n=len(index.ids),
            ),
            tr("Copy them again."),
        )
    itemsize = np.dtype(told.dtype).itemsize
    return Survey("pt", told.rows, math.prod(told.shape) * itemsize, told.dtype, told.global_width * itemsize)
