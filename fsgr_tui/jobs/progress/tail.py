"""Reading a growing file: only what is new, in pieces, through truncation and rotation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PIECE_BYTES = 1 << 20


class Tail:
    """Follows a file that may not exist yet, may be truncated, and may be replaced by another of the same name.

    The file stays open, so that a file that was renamed away is read to its end before the new one begins.

    Attributes:
        position: the offset up to which the present file was read.
        restarts: how often the file began anew.
    """

    def __init__(self, path: Path, position: int = 0) -> None:
        self._path = path
        self._fd: int | None = None
        self._inode = 0
        self.position = position
        self.restarts = 0

    def pieces(self, limit_bytes: int) -> Iterator[bytes]:
        """What was added since the last call, at most so many bytes of it, in pieces of up to 1 MiB."""
        left = limit_bytes
        while left > 0:
            if self._fd is None and not self._open():
                return
            piece = self._read(min(left, PIECE_BYTES))
            if piece:
                left -= len(piece)
                yield piece
            elif not self._began_anew():
                return

    def close(self) -> None:
        """Let the file go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> bool:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        self._inode = os.fstat(self._fd).st_ino
        return True

    def _read(self, size: int) -> bytes:
        assert self._fd is not None
        try:
            piece = os.pread(self._fd, size, self.position)
        except OSError:
            # A stale handle of a network share; the next look opens the file again.
            self.close()
            return b""
        self.position += len(piece)
        return piece

    def _began_anew(self) -> bool:
        """Whether the file was truncated or replaced; it is then read from its start."""
        try:
            now = os.stat(self._path)  # noqa: PTH116 - beside os.fstat
        except OSError:
            return False
        if self._fd is not None and now.st_ino == self._inode and now.st_size >= self.position:
            return False
        self.close()
        self.position = 0
        self.restarts += 1
        return now.st_size > 0
