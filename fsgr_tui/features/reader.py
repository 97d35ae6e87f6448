"""Reading feature files: ours by `preadv` at known offsets, everybody else's through h5py.

A `FeatureFile` can be pickled and forked: it carries the index (ids and offsets), and every process opens the file
for itself at its first read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.units import few
from fsgr_tui.features.manifest import Manifest, read_manifest
from fsgr_tui.features.opening import NotAFeatureFile, open_hdf5

KEY_SUFFIXES = ("grids", "features", "pixels", "labels")
_KEY = re.compile(r"(\d+)_([A-Za-z_]+)")


class MissingIds(FoundFaults):
    """Images were asked for that the file has no features of."""

    def __init__(self, path: Path, ids: Sequence[int]) -> None:
        super().__init__(
            trn(
                "{path} has no features for {count:,} image id: {ids}.",
                "{path} has no features for {count:,} image ids: {ids}.",
                len(ids),
                path=path,
                ids=few(ids),
            ),
            tr("Extract them, or look whether these are annotation ids: features are stored by image id."),
        )
        self.ids = tuple(ids)


class Layout(msgspec.Struct, frozen=True):
    """How a file keeps its rows.

    Attributes:
        suffix: what follows the id in a key, e.g. "grids".
        contiguous: whether every row lies uncompressed in one piece, so that it can be read without HDF5.
        chunks, compression: of the first row, when not contiguous.
        shape, dtype: of the first row.
        uniform: whether every row has the same shape and type.
        elsewhere: other files that hold rows' data, where HDF5 looks for them.
        duplicate_ids: ids that several keys carry (9_grids and 09_grids).
        padded_keys: keys with leading zeros, which the field's loaders do not ask for.
        other_keys: keys that are no row of this suffix.
        kept_as: how a person calls this way of keeping rows, marked for translation.
    """

    suffix: str
    contiguous: bool
    shape: tuple[int, ...]
    dtype: str
    uniform: bool = True
    chunks: tuple[int, ...] | None = None
    compression: str | None = None
    elsewhere: tuple[str, ...] = ()
    duplicate_ids: tuple[int, ...] = ()
    padded_keys: tuple[str, ...] = ()
    other_keys: tuple[str, ...] = ()
    kept_as: str = mark("an array per image")

    @property
    def words(self) -> str:
        """The layout in a few words."""
        kept_as = tr(self.kept_as)
        if self.contiguous:
            return tr("{kept_as}, contiguous, uncompressed", kept_as=kept_as)
        if self.chunks:
            return tr(
                "{kept_as}, chunks of {chunks}, {compression}",
                kept_as=kept_as, chunks=self.chunks, compression=self.compression or tr("uncompressed"),
            )  # fmt: skip
        return tr("{kept_as}, stored indirectly", kept_as=kept_as)


class FeatureFile:
    """Random access to the features of one file.

    Args:
        path: the file.
        suffix: which of an image's arrays: "grids", "global" (class tokens), "features", "boxes", ...; None for the
            one that training reads.

    Attributes:
        path: the file.
        ids: image ids, ascending, int64 (rows,).
        layout: how the rows are kept.
        manifest: how they were made; None in files of other programs.

    Raises:
        NotAFeatureFile: missing keys, not HDF5, truncated.
        MachineCannot: another process holds the file's lock, or it may not be read.
        BadRequest: no such file.
    """

    def __init__(self, path: str | os.PathLike[str], suffix: str | None = None) -> None:
        self.path = Path(path)
        with open_hdf5(self.path) as file:
            self.manifest: Manifest | None = read_manifest(file)
            self.layout, self.ids, self._offsets = _index(file, self.path, suffix)
        self._position: dict[int, int] | None = None
        self._row_bytes = int(np.prod(self.layout.shape)) * np.dtype(self.layout.dtype).itemsize
        self._stamp = _stamp(self.path)
        self._pid = -1
        self._fd = -1
        self._hdf5: h5py.File | None = None

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row: (tokens, width)."""
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Storage type of the rows."""
        return np.dtype(self.layout.dtype)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._positions()

    def __getitem__(self, image_id: int) -> NDArray[np.generic]:
        """The features of one image, (tokens, width), in the file's dtype; rows may differ in shape here.

        Raises:
            MissingIds: the file has no such image.
        """
        if self.layout.uniform:
            row: NDArray[np.generic] = self.read([image_id])[0]
            return row
        if image_id not in self._positions():
            raise MissingIds(self.path, [image_id])
        self._open()
        row = self._row(image_id)
        try:
            found: NDArray[np.generic] = row[()]
        except OSError as error:
            raise self._unreadable(image_id, error) from None
        return found

    def read(self, ids: Sequence[int], out: NDArray[np.generic] | None = None) -> NDArray[np.generic]:
        """The features of several images.

        Args:
            ids: image ids, in any order, repeats allowed.
            out: where to put them: (len(ids), tokens, width) of the file's dtype, C-contiguous; made when None.

        Returns:
            `out`, in the order of `ids`.

        Raises:
            MissingIds: some are not in the file; `out` is then unchanged.
            FoundFaults: a row is damaged, its data lies in a file that is not there, or the file is shorter than it
                was when it was opened.
        """
        positions = self._positions()
        if absent := [image_id for image_id in ids if image_id not in positions]:
            raise MissingIds(self.path, absent)
        shape = (len(ids), *self.layout.shape)
        if out is None:
            out = np.empty(shape, self.dtype)
        elif out.shape != shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ValueError(f"out must be a contiguous {shape} {self.dtype}, not {out.shape} {out.dtype}")
        self._open()
        if self._offsets is None:
            self._read_by_hdf5(ids, out)
            return out
        flat = out.reshape(-1).view(np.uint8).data
        for number, image_id in enumerate(ids):
            target = flat[number * self._row_bytes : (number + 1) * self._row_bytes]
            if os.preadv(self._fd, [target], int(self._offsets[positions[image_id]])) != self._row_bytes:
                raise FoundFaults(
                    tr("{path} ends within the features of image {image_id}.", path=self.path, image_id=image_id),
                    tr("Check the file."),
                )
        return out

    def close(self) -> None:
        """Close this process's handles; the next read opens them again."""
        if self._pid == os.getpid():
            if self._fd >= 0:
                os.close(self._fd)
            if self._hdf5 is not None:
                self._hdf5.close()
        self._fd, self._hdf5, self._pid = -1, None, -1

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pid": -1, "_fd": -1, "_hdf5": None, "_position": None}

    def _positions(self) -> dict[int, int]:
        if self._position is None:
            self._position = {image_id: number for number, image_id in enumerate(self.ids.tolist())}
        return self._position

    def _open(self) -> None:
        """Open for this process: a handle that was opened before a fork belongs to the parent."""
        if self._pid == os.getpid():
            return
        if _stamp(self.path) != self._stamp:
            raise FoundFaults(
                tr("{path} was replaced or changed since it was opened.", path=self.path), tr("Open it anew.")
            )
        self._fd, self._hdf5 = -1, None
        if self._offsets is None:
            self._hdf5 = open_hdf5(self.path)
        else:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self._pid = os.getpid()

    def _read_by_hdf5(self, ids: Sequence[int], out: NDArray[np.generic]) -> None:
        for number, image_id in enumerate(ids):
            row = self._row(image_id)
            if row.shape != self.layout.shape:
                raise FoundFaults(
                    tr(
                        "{path}: image {image_id} has the shape {shape}, others {shape2}.",
                        path=self.path,
                        image_id=image_id,
                        shape=row.shape,
                        shape2=self.layout.shape,
                    ),
                    tr("Read such files row by row."),
                )
            try:
                row.read_direct(out[number])
            except OSError as error:
                raise self._unreadable(image_id, error) from None

    def _unreadable(self, image_id: int, error: OSError) -> FoundFaults:
        return FoundFaults(
            tr(
                "{path}: the features of image {image_id} cannot be read: HDF5 says {told}.",
                path=self.path,
                image_id=image_id,
                told=str(error).splitlines()[0],
            ),
            tr("`fsgr-tui check --deep` lists all such images. Get the file again, or extract them again."),
        )

    def _row(self, image_id: int) -> h5py.Dataset:
        if self._hdf5 is None:
            raise RuntimeError("the file is not open")
        key = f"{image_id}_{self.layout.suffix}"
        if key not in self._hdf5:
            raise MissingIds(self.path, [image_id])
        return self._hdf5[key]


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _index(
    file: h5py.File, path: Path, wanted: str | None
) -> tuple[Layout, NDArray[np.int64], NDArray[np.int64] | None]:
    """The layout, the ids in ascending order, and the offset of each row (None when rows need HDF5)."""
    by_suffix, other, links = _sorted_keys(file)
    names = KEY_SUFFIXES if wanted is None else (wanted,)
    suffix = next((known for known in names if known in by_suffix), None)
    if suffix is None:
        shown = ", ".join(list(file)[:5]) or tr("none")
        likely = tr(" or ").join(f"9_{name}" for name in names[:2])
        raise NotAFeatureFile(
            tr(
                "{path} is HDF5, but has no keys like {likely} (its keys: {shown}).",
                path=path,
                likely=likely,
                shown=shown,
            ),
            tr("Look whether this is the right file."),
        )
    rows = sorted(by_suffix[suffix])
    first = _dataset(file, rows[0][1], path)
    if first.dtype.kind not in "fiub":
        raise NotAFeatureFile(
            tr("{path}: {key} holds {dtype}, not numbers.", path=path, key=rows[0][1], dtype=first.dtype),
            tr("Look whether this is the right file."),
        )
    native = first.dtype.newbyteorder("=") == first.dtype
    kind = first.id.get_type()
    plain = first.chunks is None and not first.is_virtual
    row_bytes = int(np.prod(first.shape)) * first.dtype.itemsize
    offsets = np.full(len(rows), -1, np.int64)
    uniform = True
    elsewhere: dict[str, None] = {}
    for number, (_, key) in enumerate(rows):
        try:
            row = h5py.h5d.open(file.id, key.encode())
        except (KeyError, OSError):
            raise _lost_link(file, key, path) from None
        # The size stands for shape and type where it can: it is asked for in a quarter of the time.
        same = row.get_storage_size() == row_bytes if plain else (row.shape, row.get_type()) == (first.shape, kind)
        uniform = uniform and same
        offset = row.get_offset()
        if offset is None and first.chunks is None:
            elsewhere |= dict.fromkeys(_sources(h5py.Dataset(row), path))
        # What a link leads to lies at that offset of another file.
        if offset is not None and key not in links:
            offsets[number] = offset
    contiguous = bool((offsets >= 0).all()) and native and uniform and first.external is None
    other += [key for known, pairs in by_suffix.items() if known != suffix for _, key in pairs]
    ids = np.array([image_id for image_id, _ in rows], np.int64)
    layout = Layout(
        suffix=suffix,
        contiguous=contiguous,
        shape=tuple(first.shape),
        dtype=first.dtype.name,
        uniform=uniform,
        chunks=first.chunks,
        compression=first.compression and f"{first.compression} {first.compression_opts}",
        elsewhere=tuple(elsewhere),
        duplicate_ids=tuple(np.unique(ids[1:][np.diff(ids) == 0]).tolist()),
        padded_keys=tuple(key for image_id, key in rows if key != f"{image_id}_{suffix}"),
        other_keys=tuple(other),
    )
    return layout, ids, offsets if contiguous else None


def _sorted_keys(file: h5py.File) -> tuple[dict[str, list[tuple[int, str]]], list[str], set[str]]:
    """(id, key) by what follows the id, the keys that carry none, and the keys that are links to elsewhere."""
    by_suffix: dict[str, list[tuple[int, str]]] = {}
    other: list[str] = []
    links: set[str] = set()

    def sort(name: bytes, info: Any) -> None:
        key = name.decode("utf-8", "surrogateescape")
        match = _KEY.fullmatch(key)
        if match:
            by_suffix.setdefault(match[2], []).append((int(match[1]), key))
        else:
            other.append(key)
        if info.type != h5py.h5l.TYPE_HARD:
            links.add(key)

    file.id.links.iterate(sort, info=True)
    return by_suffix, other, links


def _dataset(file: h5py.File, key: str, path: Path) -> h5py.Dataset:
    try:
        found = file[key]
    except (KeyError, OSError):
        raise _lost_link(file, key, path) from None
    if not isinstance(found, h5py.Dataset):
        raise NotAFeatureFile(
            tr("{path}: {key} is a group, not an array.", path=path, key=key),
            tr("Look whether this is the right file."),
        )
    return found


def _lost_link(file: h5py.File, key: str, path: Path) -> NotAFeatureFile:
    link = file.get(key, getlink=True)
    where = path.parent / link.filename if isinstance(link, h5py.ExternalLink) else tr("another place")
    return NotAFeatureFile(
        tr("{path}: {key} points to {where}, and its data is not there.", path=path, key=key, where=where),
        tr("Bring that file back to its place, or get a whole copy."),
    )


def _sources(row: h5py.Dataset, path: Path) -> list[str]:
    """Other files that hold a row's data: raw files, or the sources of a virtual data set.

    HDF5 reads a virtual data set whose source is gone as zeros, without a word. It looks for its sources beside the
    file, and for raw files in the working folder.
    """
    if row.is_virtual:
        return [str(path.parent / source.file_name) for source in row.virtual_sources() if source.file_name != "."]
    folder = os.environ.get("HDF5_EXTFILE_PREFIX", "").replace("${ORIGIN}", str(path.parent))
    return [str(Path(folder, entry[0])) for entry in row.external or ()]
