"""Writing rows of an unfinished feature file at known offsets; what a disk can say against it."""

from __future__ import annotations

import errno
import os
import re
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import format_bytes
from fsgr_tui.features.ledger import LedgerHeader
from fsgr_tui.features.manifest import Manifest


class RowWriter:
    """Writes rows of one file; several writers, in several processes, may fill disjoint rows at once.

    Args:
        path: the unfinished file.
        manifest: what its rows are.
        header: where they lie.
    """

    def __init__(self, path: Path, manifest: Manifest, header: LedgerHeader) -> None:
        self.path = path
        self.manifest = manifest
        self.header = header
        self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._rows: list[int] = []
        self._crc32: list[int] = []

    @property
    def pending(self) -> list[int]:
        """Rows that were written and not yet flushed."""
        return self._rows

    def write(
        self, rows: Sequence[int], features: NDArray[np.generic], class_tokens: NDArray[np.generic] | None = None
    ) -> None:
        """Write rows.

        Args:
            rows: row numbers.
            features: array (len(rows), *manifest.row_shape) of the manifest's dtype.
            class_tokens: array (len(rows), global_width), where the manifest has one.

        Raises:
            ValueError: shape or dtype do not fit the manifest.
            MachineCannot: the disk is full, over quota, or fails.
        """
        given = [features] if class_tokens is None else [features, class_tokens]
        expected = [(len(rows), *shape) for _, shape in self.manifest.parts]
        found = [array.shape for array in given]
        if found != expected or any(array.dtype != np.dtype(self.manifest.dtype) for array in given):
            kinds = [str(array.dtype) for array in given]
            raise ValueError(f"expected {expected} {self.manifest.dtype}, got {found} {kinds}")
        for number, row in enumerate(rows):
            # One image's arrays lie behind each other, so that they go in by one write.
            data = b"".join(np.ascontiguousarray(array[number]).data.cast("B") for array in given)
            self.put(memoryview(data), self.header.first_offset + row * self.header.stride_bytes)
            self._rows.append(row)
            self._crc32.append(zlib.crc32(data))

    def flush(self) -> tuple[list[int], list[int]]:
        """Bring what was written to the disk.

        Returns:
            Rows and their CRC32, which may now be confirmed.

        Raises:
            MachineCannot: the disk failed.
        """
        try:
            os.fdatasync(self.fd)
        except OSError as error:
            raise disk_problem(self.path, error) from None
        done = (self._rows, self._crc32)
        self._rows, self._crc32 = [], []
        return done

    def put(self, data: memoryview, offset: int) -> None:
        """Write all of `data` at an offset.

        Raises:
            MachineCannot: the disk is full, over quota, or fails.
        """
        while data:
            try:
                # A write that crosses the end of space is cut short without an error; the next one tells why.
                count = os.pwrite(self.fd, data, offset)
            except OSError as error:
                raise disk_problem(self.path, error) from None
            data, offset = data[count:], offset + count

    def close(self) -> None:
        """Close the file; rows that were not flushed are not confirmed."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def allocate(fd: int, size: int) -> None:
    """Reserve the whole file's space, so that a full disk is found before any work is done."""
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        # The file system cannot reserve space; writes are checked one by one in any case.
        os.ftruncate(fd, size)


def sync_path(path: Path) -> None:
    """Bring a file, or a folder's entries, to the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def system_error(error: OSError | RuntimeError) -> OSError | None:
    """The system's error behind an exception: HDF5 tells its number in the text alone, on closing by a RuntimeError."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    told = re.search(r"errno = (\d+)", str(error))
    return OSError(int(told[1]), os.strerror(int(told[1]))) if told else None


def cannot_write(path: Path, error: OSError) -> MachineCannot:
    """Why a file cannot be made."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return MachineCannot(
            tr("{parent} is not writable: {reason}.", parent=path.parent, reason=error.strerror),
            tr("Choose another --output-path."),
        )
    return disk_problem(path, error)


def disk_problem(path: Path, error: OSError) -> MachineCannot:
    """What a failed write means; a full disk and a full quota are told apart."""
    if error.errno == errno.EDQUOT:
        return MachineCannot(
            tr("The quota is used up while writing {path}.", path=path),
            tr("Free some of your own files or ask for more quota; then --resume."),
        )
    if error.errno == errno.ENOSPC:
        free = shutil.disk_usage(path.parent).free
        return MachineCannot(
            tr("No space left for {path}, with {free} free on its file system.", path=path, free=format_bytes(free)),
            tr(
                "If that number looks large: a quota, the server's own limit or a lack of inodes may be behind it. What "
                "was confirmed is kept; make room and use --resume."
            ),
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return cannot_write(path, error)
    return MachineCannot(
        tr("{path} cannot be written: {reason}.", path=path, reason=error.strerror),
        tr("What was confirmed is kept; use --resume."),
    )
