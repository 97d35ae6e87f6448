"""Building a feature file so that a kill at any moment loses nothing that was confirmed.

All datasets are created first: contiguous, allocated early, never filled. From then on HDF5 does not open the file
for writing; rows go in by `pwrite` at known offsets, each confirmed in the ledger after its data was synced. The
final name appears once, by rename, when every row has been verified.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import BadRequest, FoundFaults
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import format_bytes
from fsgr_tui.features.images import ids_digest
from fsgr_tui.features.ledger import Ledger, LedgerHeader
from fsgr_tui.features.manifest import GLOBAL, REFUSED, ROW_CRC32, ROW_IDS, Manifest, write_manifest
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.features.resuming import order_crc32, require_resumable
from fsgr_tui.features.writer import RowWriter, allocate, cannot_write, disk_problem, sync_path, system_error

LIBVER = ("v108", "v108")
"""Datasets written under HDF5 1.8's rules are read by every later version; "latest" of HDF5 2.0 is not."""

META_BYTES_PER_KEY = 400
META_BYTES_LEAST = 1 << 16
_COPY_BYTES = 1 << 22

Tell = Callable[[int, int], None]


def row_keys(image_id: int, manifest: Manifest) -> list[str]:
    """The dataset names of one image; the first is the one that the field's loaders ask for."""
    return [f"{image_id}_{suffix}" for suffix, _ in manifest.parts]


class BuildPaths:
    """The names that a build uses beside its final one."""

    def __init__(self, final: Path) -> None:
        self.final = final
        self.part = final.with_name(final.name + ".part")
        self.ledger = final.with_name(final.name + ".ledger")
        self.head = final.with_name(final.name + ".head")

    @property
    def unfinished(self) -> bool:
        """Whether an earlier build left its work here."""
        return self.part.exists() and self.ledger.exists()


class FeatureBuild:
    """One writer of one feature file.

    Use `start` to begin or resume; `write` and `refuse` until `missing` is empty, `commit` now and then, `publish`
    once, `close` always.
    """

    def __init__(self, paths: BuildPaths, manifest: Manifest, ids: Sequence[int], ledger: Ledger) -> None:
        self.paths = paths
        self.manifest = manifest
        self.ids = tuple(ids)
        self._ledger = ledger
        self._rows: RowWriter | None = None

    @classmethod
    def start(
        cls, final: Path, manifest: Manifest, ids: Sequence[int], *, resume: bool = False, overwrite: bool = False
    ) -> FeatureBuild:
        """Begin a build, or take up an unfinished one.

        Args:
            final: the name of the finished file.
            manifest: what the rows will be.
            ids: image ids, one per row, in row order.
            resume: take up what an earlier run left, after checking every row that it confirmed.
            overwrite: drop what an earlier run left, and replace a finished file at the end.

        Raises:
            BadRequest: the output exists, or what was left there has another identity or other images.
            MachineCannot: no space, no permission, or another writer.
        """
        if len(set(ids)) != len(ids):
            raise BadRequest(tr("The same image id occurs twice in the list of images."), tr("Give each image once."))
        if not ids:
            raise BadRequest(tr("There are no images to extract."), tr("Look at --image-root and --split."))
        paths = BuildPaths(final)
        if final.exists() and not overwrite:
            raise BadRequest(
                tr("{final} exists already.", final=final),
                tr("Use --overwrite to replace it, or another --output-path."),
            )
        if paths.unfinished and not (resume or overwrite):
            raise BadRequest(
                tr(
                    "An unfinished extraction lies at {part} ({size}).",
                    part=paths.part,
                    size=format_bytes(paths.part.stat().st_size),
                ),
                tr("Use --resume to go on with it, or --overwrite to start anew."),
            )
        try:
            ledger = Ledger(paths.ledger)
        except OSError as error:
            raise cannot_write(paths.ledger, error) from None
        build = cls(paths, manifest, ids, ledger)
        try:
            if resume and ledger.header is not None and paths.part.exists():
                build._resume(ledger.header)
            else:
                build._create()
        except BaseException:
            build.close()
            raise
        return build

    @property
    def missing(self) -> list[int]:
        """Rows that are neither done nor refused, in order."""
        known = self._ledger.done.keys() | self._ledger.refused.keys() | set(self.writer.pending)
        return [row for row in range(len(self.ids)) if row not in known]

    @property
    def done_count(self) -> int:
        """Rows that are confirmed on disk."""
        return len(self._ledger.done)

    @property
    def refused(self) -> dict[int, tuple[str, str]]:
        """(path, reason) by refused row."""
        return self._ledger.refused

    @property
    def writer(self) -> RowWriter:
        """What writes the rows; its rows count as done after the next `commit`."""
        if self._rows is None:
            raise RuntimeError("the build was not started")
        return self._rows

    def write(
        self, rows: Sequence[int], features: NDArray[np.generic], class_tokens: NDArray[np.generic] | None = None
    ) -> None:
        """Write rows; see `RowWriter.write`."""
        self.writer.write(rows, features, class_tokens)

    def refuse(self, row: int, path: str, reason: str) -> None:
        """Note that a row's image cannot be used; its key will not be in the finished file.

        Raises:
            MachineCannot: the ledger cannot be written.
        """
        try:
            self._ledger.add_refused(row, path, reason)
        except OSError as error:
            raise disk_problem(self.paths.ledger, error) from None

    def commit(self) -> None:
        """Bring written rows to the disk, then confirm them in the ledger.

        Raises:
            MachineCannot: the disk failed; rows since the last commit are not confirmed.
        """
        if self.writer.pending:
            self.confirm(*self.writer.flush())

    def confirm(self, rows: Sequence[int], crc32: Sequence[int]) -> None:
        """Note rows in the ledger whose data is on the disk, whoever wrote them.

        Raises:
            MachineCannot: the ledger cannot be written.
        """
        try:
            self._ledger.add_done(rows, crc32)
            self._ledger.sync()
        except OSError as error:
            raise disk_problem(self.paths.ledger, error) from None

    def adopt(self, source: FeatureFile, tell: Tell | None = None) -> int:
        """Copy the rows that a finished file of the same identity has already.

        Returns:
            The number of rows copied.
        """
        class_tokens = FeatureFile(source.path, GLOBAL) if self.manifest.global_width else None
        rows = [row for row in self.missing if self.ids[row] in source]
        for start in range(0, len(rows), 64):
            some = rows[start : start + 64]
            ids = [self.ids[row] for row in some]
            self.write(some, source.read(ids), class_tokens.read(ids) if class_tokens else None)
            if tell:
                tell(start + len(some), len(rows))
        self.commit()
        return len(rows)

    def publish(self, tell: Tell | None = None) -> Manifest:
        """Verify every row, write the manifest, and give the file its final name.

        Args:
            tell: called with (rows verified, rows) now and then.

        Returns:
            The manifest as written, with the true counts.

        Raises:
            FoundFaults: a row does not hold its CRC (it is taken back; resume extracts it again), rows are missing,
                or no image at all could be used.
            MachineCannot: the disk is full or fails.
        """
        self.commit()
        if missing := self.missing:
            raise FoundFaults(
                tr(
                    "{n:,} of {total:,} rows were never written to {part}.",
                    n=len(missing),
                    total=len(self.ids),
                    part=self.paths.part,
                ),
                tr("Start again with --resume."),
            )
        if not self._ledger.done:
            first_path, first_reason = next(iter(self._ledger.refused.values()))
            self.discard()
            raise FoundFaults(
                tr(
                    "None of the {n:,} images could be read; the first: {first_path}: {first_reason}.",
                    n=len(self.ids),
                    first_path=first_path,
                    first_reason=first_reason,
                ),
                tr("No file was made. Look at the images."),
            )
        torn = self._rows_that_fail(tell)
        if torn:
            self._forget(torn)
            raise FoundFaults(
                tr(
                    "{n:,} rows of {part} changed on the disk after they were written (first: id {ids}).",
                    n=len(torn),
                    part=self.paths.part,
                    ids=self.ids[torn[0]],
                ),
                tr("Start again with --resume; if it happens again, suspect the disk or the memory."),
            )
        manifest = msgspec.structs.replace(
            self.manifest,
            images=len(self._ledger.done),
            refused=len(self._ledger.refused),
            ids_sha256=self._header.ids_sha256,
        )
        try:
            self._keep_head()
            self._write_metadata(manifest)
            sync_path(self.paths.part)
            self.paths.part.replace(self.paths.final)
            sync_path(self.paths.final.parent)
        except (OSError, RuntimeError) as error:
            raise self._fault(error) from None
        self._ledger.remove()
        self.paths.head.unlink(missing_ok=True)
        return manifest

    def discard(self) -> None:
        """Delete the unfinished work of this build."""
        self.paths.part.unlink(missing_ok=True)
        self.paths.head.unlink(missing_ok=True)
        self._ledger.remove()

    def close(self) -> None:
        """Release the file and the lock. Uncommitted rows will be extracted again on resume."""
        if self._rows is not None:
            self._rows.close()
        self._ledger.close()

    @property
    def _header(self) -> LedgerHeader:
        if self._ledger.header is None:
            raise RuntimeError("the build was not started")
        return self._ledger.header

    def _fault(self, error: OSError | RuntimeError) -> Exception:
        """What a fault means: h5py tells one that HDF5 met while closing by a RuntimeError."""
        known = system_error(error)
        return error if known is None else disk_problem(self.paths.part, known)

    def _create(self) -> None:
        self.paths.head.unlink(missing_ok=True)
        try:
            first, stride = self._create_datasets()
            header = LedgerHeader(
                identity=self.manifest.identity(),
                ids_sha256=ids_digest(self.ids),
                order_crc32=order_crc32(self.ids),
                rows=len(self.ids),
                row_bytes=self.manifest.row_bytes,
                first_offset=first,
                stride_bytes=stride,
            )
            self._rows = RowWriter(self.paths.part, self.manifest, header)
            allocate(self._rows.fd, header.file_bytes)
            os.fsync(self._rows.fd)
            self._ledger.begin(header)
            sync_path(self.paths.part.parent)
        except (OSError, RuntimeError) as error:
            self.discard()
            raise self._fault(error) from None

    def _create_datasets(self) -> tuple[int, int]:
        """Create one empty dataset per id; returns the first row's offset and the distance between rows."""
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.CONTIGUOUS)
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        layout.set_obj_track_times(False)
        kind = h5py.h5t.py_create(np.dtype(self.manifest.dtype).newbyteorder("<"))
        parts = [(f"_{suffix}", h5py.h5s.create_simple(shape)) for suffix, shape in self.manifest.parts]
        count = len(self.ids) * len(parts)
        # One metadata block that holds every key keeps the raw data behind it in one run of equal strides.
        meta_bytes = max(META_BYTES_LEAST, META_BYTES_PER_KEY * count)
        while True:
            with h5py.File(self.paths.part, "w", libver=LIBVER, meta_block_size=meta_bytes) as file:
                offsets = np.fromiter(
                    (
                        h5py.h5d.create(file.id, f"{image_id}{suffix}".encode(), kind, space, layout).get_offset()
                        for image_id in self.ids
                        for suffix, space in parts
                    ),
                    np.int64,
                    count,
                ).reshape(len(self.ids), len(parts))
            if self._evenly_laid(offsets):
                return int(offsets[0, 0]), self.manifest.row_bytes
            meta_bytes *= 2

    def _evenly_laid(self, offsets: NDArray[np.int64]) -> bool:
        """Whether all arrays lie behind each other without gaps: only then a row is one piece at a known place."""
        itemsize = np.dtype(self.manifest.dtype).itemsize
        sizes = [math.prod(shape) * itemsize for _, shape in self.manifest.parts]
        return bool((np.diff(offsets.ravel()) == (sizes * len(offsets))[:-1]).all())

    def _resume(self, header: LedgerHeader) -> None:
        require_resumable(self.paths.part, header, self.manifest.identity(), self.ids)
        try:
            self._rows = RowWriter(self.paths.part, self.manifest, header)
            self._restore_head(header)
            if os.fstat(self._rows.fd).st_size < header.file_bytes:
                os.ftruncate(self._rows.fd, header.file_bytes)
            allocate(self._rows.fd, header.file_bytes)
        except OSError as error:
            raise disk_problem(self.paths.part, error) from None
        # Images that were refused are tried again: the cause may have been mended.
        self._forget([*self._rows_that_fail(None), *self._ledger.refused])

    def _forget(self, rows: Sequence[int]) -> None:
        try:
            self._ledger.forget(rows)
        except OSError as error:
            raise disk_problem(self.paths.ledger, error) from None

    def _rows_that_fail(self, tell: Tell | None) -> list[int]:
        header, torn = self._header, []
        total = len(self._ledger.done)
        for count, (row, crc32) in enumerate(sorted(self._ledger.done.items()), 1):
            data = os.pread(self.writer.fd, header.row_bytes, header.first_offset + row * header.stride_bytes)
            if len(data) != header.row_bytes or zlib.crc32(data) != crc32:
                torn.append(row)
            if tell and (count % 1000 == 0 or count == total):
                tell(count, total)
        return torn

    def _keep_head(self) -> None:
        """Copy everything before the first row aside: publishing is the one step that lets HDF5 change it."""
        draft = self.paths.head.with_name(self.paths.head.name + ".tmp")
        left, offset = self._header.first_offset, 0
        with draft.open("wb") as file:
            while left:
                chunk = os.pread(self.writer.fd, min(left, _COPY_BYTES), offset)
                file.write(chunk)
                left, offset = left - len(chunk), offset + len(chunk)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.paths.head)
        sync_path(self.paths.head.parent)

    def _restore_head(self, header: LedgerHeader) -> None:
        """Undo a publishing step that did not end."""
        if not self.paths.head.exists():
            return
        with self.paths.head.open("rb") as file:
            offset = 0
            while chunk := file.read(_COPY_BYTES):
                self.writer.put(memoryview(chunk), offset)
                offset += len(chunk)
        if offset != header.first_offset:
            raise BadRequest(
                tr("{head} is not the head of {part}.", head=self.paths.head, part=self.paths.part),
                tr("Use --overwrite to start anew."),
            )
        os.ftruncate(self.writer.fd, header.file_bytes)
        os.fsync(self.writer.fd)
        self.paths.head.unlink()

    def _write_metadata(self, manifest: Manifest) -> None:
        rows = sorted(self._ledger.done)
        with h5py.File(self.paths.part, "r+", libver=LIBVER) as file:
            for row in self._ledger.refused:
                for key in row_keys(self.ids[row], manifest):
                    del file[key]
            write_manifest(file, manifest)
            file.attrs[ROW_IDS] = np.array([self.ids[row] for row in rows], np.int64)
            file.attrs[ROW_CRC32] = np.array([self._ledger.done[row] for row in rows], np.uint32)
            refused = [[self.ids[row], path, reason] for row, (path, reason) in sorted(self._ledger.refused.items())]
            file.attrs[REFUSED] = json.dumps(refused)
