"""Opening HDF5 files for reading, and telling what is wrong when that cannot be done."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import h5py

from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot, Problem
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import format_bytes
from fsgr_tui.features.ledger import NO_LOCKS_ERRNOS

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class NotAFeatureFile(FoundFaults):
    """The file is there, but it cannot be read as features."""


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading, and tell what is wrong when that cannot be done.

    Raises:
        BadRequest: there is no such file.
        NotAFeatureFile: it is something else, or it is damaged.
        MachineCannot: it is in use, may not be read, or its file system has no locks.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        part = path.with_name(path.name + ".part")
        hint = (
            tr("An unfinished extraction lies at {part}; finish it with --resume.", part=part)
            if part.exists()
            else tr("Look at the path.")
        )
        raise BadRequest(tr("There is no file {path}.", path=path), hint) from None
    except IsADirectoryError:
        raise BadRequest(
            tr("{path} is a folder, not a feature file.", path=path), tr("Name the .hdf5 file in it.")
        ) from None
    except OSError as error:
        raise MachineCannot(
            tr("{path} cannot be read: {reason}.", path=path, reason=error.strerror), tr("Look at its permissions.")
        ) from None
    if not head.startswith(HDF5_SIGNATURE):
        raise NotAFeatureFile(
            tr(
                "{path} is not HDF5: {content} ({size}).",
                path=path,
                content=_what_it_is(head),
                size=format_bytes(size),
            ),
            tr("Get it again."),
        )
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise _open_problem(path, error, size) from None


def _open_problem(path: Path, error: OSError, size: int) -> Problem:
    text = str(error)
    number = error.errno or int(match[1]) if (match := re.search(r"errno = (\d+)", text)) else error.errno
    if number in (errno.EAGAIN, errno.EACCES) and "lock" in text:
        return MachineCannot(
            tr("{path} is in use: {holder} has it open for writing.", path=path, holder=lock_holder(path)),
            tr("Wait until it is done."),
        )
    if number in NO_LOCKS_ERRNOS:
        return MachineCannot(
            tr("The file system of {path} has no file locks.", path=path),
            tr("For reading, set HDF5_USE_FILE_LOCKING=FALSE and try again."),
        )
    if match := re.search(r"eof = (\d+).*stored_eof = (\d+)", text):
        promised = int(match[2])
        return NotAFeatureFile(
            tr(
                "{path} is truncated: it has {size:,} bytes, its header promises {promised:,}; {missing:,} are missing.",
                path=path,
                size=size,
                promised=promised,
                missing=promised - size,
            ),
            tr("Copy or download it again, or extract again."),
        )
    return NotAFeatureFile(
        tr("{path} is damaged: HDF5 says {told}.", path=path, told=text.splitlines()[0]),
        tr("A writer that was killed leaves such files. Copy it again, or extract again."),
    )


def lock_holder(path: Path, locks: Path = Path("/proc/locks")) -> str:
    """Who holds a file's lock, as far as the kernel's list tells: it knows the processes of this machine only."""
    try:
        inode = path.stat().st_ino
        held = [line.split() for line in locks.read_text().splitlines()]
    except OSError:
        return tr("another process")
    pids = [fields[4] for fields in held if len(fields) > 5 and fields[5].endswith(f":{inode}") and fields[4] != "-1"]
    return tr("process {pid}", pid=pids[0]) if pids else tr("another process")


def _what_it_is(head: bytes) -> str:
    start = head.lstrip()[:256].lower()
    if not head:
        return tr("an empty file")
    if start.startswith((b"<!doctype html", b"<html", b"<head")) or b"<html" in start:
        return tr("it looks like an HTML page, which a download link sometimes gives instead of the file")
    if start.startswith(b"version https://git-lfs"):
        return tr("it is a Git LFS pointer; the file itself was not fetched")
    known = (
        (b"PK\x03\x04", mark("a zip archive")),
        (b"\x1f\x8b", mark("gzip data")),
        (b"\x93NUMPY", mark("a NumPy array")),
        (b"\x80", mark("a Python pickle")),
    )
    for magic, name in known:
        if head.startswith(magic):
            return tr("it looks like {name}", name=tr(name))
    if not head.strip(b"\0"):
        return tr("it begins with zeros, as a file does whose download or copy was cut off")
    return tr("its first bytes are of no known kind")
