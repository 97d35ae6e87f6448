"""The ledger: which rows of an unfinished feature file are done, with their CRC32.

A text file of lines `crc32-of-the-rest SPACE json`. It is only ever appended to, so a kill can cut the last line and
nothing else; a cut line fails its CRC and is dropped. The ledger is also the lock: one writer holds an exclusive
`flock` on it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.language import tr

LEDGER_VERSION = 1
_HEADER_MOST_BYTES = 1 << 20
NO_LOCKS_ERRNOS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, 524})  # 524: ENOTSUPP, what NFS servers send


class LedgerHeader(msgspec.Struct, frozen=True):
    """What the unfinished file is.

    Attributes:
        identity: the manifest's identity fields.
        ids_sha256: digest of the ids, in any order.
        order_crc32: CRC32 of the ids in row order: a row number means nothing without its order.
        rows: number of rows.
        row_bytes: bytes of a row.
        first_offset: file offset of row 0.
        stride_bytes: distance from one row to the next.
    """

    identity: dict[str, Any]
    ids_sha256: str
    order_crc32: int
    rows: int
    row_bytes: int
    first_offset: int
    stride_bytes: int

    @property
    def file_bytes(self) -> int:
        """Size of the file once all rows have their space."""
        return self.first_offset + (self.rows - 1) * self.stride_bytes + self.row_bytes


class Ledger:
    """An open, locked ledger.

    Attributes:
        header: None while the ledger is new.
        done: CRC32 by finished row.
        refused: (path, reason) by refused row.
    """

    def __init__(self, path: Path) -> None:
        """Open (or create) and lock.

        Raises:
            MachineCannot: another process writes the same file, or the file system has no locks.
            BadRequest: the file at that path is no ledger.
        """
        self.path = path
        self.header: LedgerHeader | None = None
        self.done: dict[int, int] = {}
        self.refused: dict[int, tuple[str, str]] = {}
        self._fd = self._open_locked(path)
        try:
            self._load()
            self._append({"opened": {"host": socket.gethostname(), "pid": os.getpid(), "at": time.time()}})
        except BaseException:
            os.close(self._fd)
            raise

    @staticmethod
    def _open_locked(path: Path) -> int:
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(fd)
                raise _lock_problem(path, error) from None
            # Between open and lock, the former holder may have published and removed this very file.
            try:
                if os.fstat(fd).st_ino == path.stat().st_ino:
                    return fd
            except FileNotFoundError:
                pass
            os.close(fd)

    def _load(self) -> None:
        text = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        if text and text[:1] not in b"0123456789abcdef":
            raise BadRequest(
                tr("{path} is not a ledger of fsgr-tui.", path=self.path),
                tr("Move it away, or choose another --output-path."),
            )
        sound_bytes = 0
        for record, end in _sound_records(text):
            sound_bytes = end
            if "ledger" in record:
                self.header = msgspec.convert(record["ledger"], LedgerHeader)
            elif "rows" in record:
                self.done.update(zip(record["rows"], record["crc32"], strict=True))
                for row in record["rows"]:
                    self.refused.pop(row, None)
            elif "refused" in record:
                row, file_path, reason = record["refused"]
                self.refused[row] = (file_path, reason)
                self.done.pop(row, None)
            elif "forget" in record:
                for row in record["forget"]:
                    self.done.pop(row, None)
                    self.refused.pop(row, None)
        # A cut last line would glue itself to the next record.
        os.ftruncate(self._fd, sound_bytes)

    def begin(self, header: LedgerHeader) -> None:
        """Start a new ledger: all earlier records are dropped."""
        os.ftruncate(self._fd, 0)
        self.header, self.done, self.refused = header, {}, {}
        self._append({"ledger": {"version": LEDGER_VERSION, **msgspec.to_builtins(header)}})
        self._append({"opened": {"host": socket.gethostname(), "pid": os.getpid(), "at": time.time()}})
        os.fsync(self._fd)

    def add_done(self, rows: Sequence[int], crc32: Sequence[int]) -> None:
        """Note rows whose data is on the disk already (the caller has synced it)."""
        if rows:
            self._append({"rows": list(rows), "crc32": list(crc32)})
            self.done.update(zip(rows, crc32, strict=True))

    def add_refused(self, row: int, path: str, reason: str) -> None:
        """Note an image that could not be used."""
        self._append({"refused": [row, path, reason]})
        self.refused[row] = (path, reason)

    def forget(self, rows: Sequence[int]) -> None:
        """Take rows back whose data did not hold their CRC, or refused images that are to be tried again."""
        if rows:
            self._append({"forget": list(rows)})
            for row in rows:
                self.done.pop(row, None)
                self.refused.pop(row, None)

    def sync(self) -> None:
        """Bring the ledger to the disk."""
        os.fdatasync(self._fd)

    def remove(self) -> None:
        """Delete the ledger while its lock is still held."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let the lock go."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, record: dict[str, Any]) -> None:
        body = json.dumps(record, separators=(",", ":")).encode("ascii")
        line = memoryview(b"%08x %s\n" % (zlib.crc32(body), body))
        while line:
            line = line[os.write(self._fd, line) :]


def read_header(path: Path) -> LedgerHeader | None:
    """The header of a ledger that another process may be writing; None where there is none, or none that can be read."""
    try:
        with path.open("rb") as file:
            first = file.readline(_HEADER_MOST_BYTES)
    except OSError:
        return None
    record = next((record for record, _ in _sound_records(first)), {})
    return msgspec.convert(record["ledger"], LedgerHeader) if "ledger" in record else None


def _sound_records(text: bytes) -> Iterator[tuple[dict[str, Any], int]]:
    """The records up to the first line that does not hold its CRC, each with the offset behind it."""
    end = 0
    for line in text.splitlines(keepends=True):
        end += len(line)
        crc, _, body = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or crc != b"%08x" % zlib.crc32(body):
            return
        yield json.loads(body), end


def _lock_problem(path: Path, error: OSError) -> MachineCannot:
    target = str(path).removesuffix(".ledger")
    if error.errno in NO_LOCKS_ERRNOS:
        return MachineCannot(
            tr(
                "The file system of {parent} has no file locks ({reason}), so two writers could not be told apart.",
                parent=path.parent,
                reason=error.strerror,
            ),
            tr(
                "Write to a local disk and copy the finished file. (Reading there works with "
                "HDF5_USE_FILE_LOCKING=FALSE.)"
            ),
        )
    if error.errno not in (errno.EAGAIN, errno.EACCES):
        return MachineCannot(
            tr("{path} cannot be locked: {reason}.", path=path, reason=error.strerror),
            tr("Look at the file system's state."),
        )
    return MachineCannot(
        tr("{target} is being written by another process ({holder}).", target=target, holder=_holder(path)),
        tr("Wait for it, or stop it, and start again with --resume."),
    )


def _holder(path: Path) -> str:
    opened = [record["opened"] for record, _ in _sound_records(path.read_bytes()) if "opened" in record]
    if not opened:
        return tr("process not known yet")
    last = opened[-1]
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last["at"]))
    return tr("pid {pid} on {host}, since {since}", pid=last["pid"], host=last["host"], since=since)
