"""The ways to keep one array per image that are compared: how each is written and how each is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from fsgr_tui.features.build import FeatureBuild
from fsgr_tui.features.reader import FeatureFile
from tests.conftest import make_manifest

try:
    import lmdb
except ModuleNotFoundError:  # the table then says so
    lmdb = None

One = Callable[[int], np.ndarray]
Fill = Callable[[Sequence[int], np.ndarray], object]


@dataclass(frozen=True)
class Reader:
    """Reads one image's array into memory of its own, or a batch into a given array."""

    one: One
    fill: Fill


def _loop(one: One) -> Fill:
    def fill(ids: Sequence[int], out: np.ndarray) -> None:
        for slot, image_id in enumerate(ids):
            out[slot] = one(image_id)

    return fill


def write_gzip(path: Path, rows: np.ndarray) -> None:
    """Today's habit: one gzip-4 data set per image, appended; h5py chooses the chunks."""
    with h5py.File(path, "w") as file:
        for number, row in enumerate(rows):
            file.create_dataset(f"{number}_grids", data=row, compression="gzip", compression_opts=4)


def write_ours(path: Path, rows: np.ndarray) -> None:
    _, tokens, width = rows.shape
    manifest = make_manifest(
        tokens=tokens, width=width, dtype=rows.dtype.name, grid="7x7" if tokens == 49 else "native"
    )
    build = FeatureBuild.start(path, manifest, range(len(rows)))
    build.write(range(len(rows)), rows)
    build.publish()
    build.close()


def write_lmdb(path: Path, rows: np.ndarray) -> None:
    with lmdb.open(str(path), map_size=rows.nbytes * 2 + (1 << 24)) as store, store.begin(write=True) as change:
        for number, row in enumerate(rows):
            change.put(b"%d" % number, row.tobytes())


def write_npy(path: Path, rows: np.ndarray) -> None:
    path.mkdir()
    for number, row in enumerate(rows):
        np.save(path / f"{number}.npy", row)


def write_packed(path: Path, rows: np.ndarray) -> None:
    np.save(path, rows)


def read_by_h5py(path: Path, _like: np.ndarray) -> Reader:
    """The line that the field's loaders have: `file[key][()]`."""
    file = h5py.File(path, "r")

    def one(image_id: int) -> np.ndarray:
        return file[f"{image_id}_grids"][()]

    return Reader(one, _loop(one))


def read_by_ours(path: Path, _like: np.ndarray) -> Reader:
    file = FeatureFile(path)
    return Reader(file.__getitem__, file.read)


def read_lmdb(path: Path, like: np.ndarray) -> Reader:
    reading = lmdb.open(str(path), readonly=True, lock=False, readahead=False).begin(buffers=True)

    def view(image_id: int) -> np.ndarray:
        return np.frombuffer(reading.get(b"%d" % image_id), like.dtype).reshape(like.shape)

    return Reader(lambda image_id: view(image_id).copy(), _loop(view))


def read_npy(path: Path, _like: np.ndarray) -> Reader:
    def one(image_id: int) -> np.ndarray:
        return np.load(path / f"{image_id}.npy")

    return Reader(one, _loop(one))


def read_packed(path: Path, _like: np.ndarray) -> Reader:
    rows = np.load(path, mmap_mode="r")
    return Reader(lambda image_id: np.array(rows[image_id]), _loop(lambda image_id: rows[image_id]))


@dataclass(frozen=True)
class Way:
    """A way to read: whose files (by their writer) and how."""

    file: str
    write: Callable[[Path, np.ndarray], None]
    read: Callable[[Path, np.ndarray], Reader]


WAYS = {
    "gzip": Way("gzip.hdf5", write_gzip, read_by_h5py),
    "h5py": Way("ours.hdf5", write_ours, read_by_h5py),
    "ours": Way("ours.hdf5", write_ours, read_by_ours),
    "lmdb": Way("lmdb", write_lmdb, read_lmdb),
    "npy": Way("npy", write_npy, read_npy),
    "packed": Way("packed.npy", write_packed, read_packed),
}
if lmdb is None:
    del WAYS["lmdb"]
