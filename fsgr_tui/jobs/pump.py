"""The pump: `python pump.py LOG < PIPE`. It carries a job's output from a pipe into its log.

It stands between the job and the disk: a disk that is slow or full blocks neither the job's printing nor ends it with
an error, and the job's output has a reader when the runner was killed. What could not be kept is counted, said in the
log where it is missing, and told on standard output, one JSON line each time.

Of bars that redraw themselves without end, only some states are kept (`progress.thin`), so that a log does not grow
with every redraw.

It is run by its path, with the standard library alone, so that it starts in some milliseconds and stays small.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

CHUNK_BYTES = 1 << 16
KEPT_BYTES = 32 << 20
"""What waits for the disk at the most; beyond it the oldest output is given up."""

PAUSE_S = 0.3
"""A redraw that was held back is kept when nothing has come for so long: it may be the last for a while."""

RETRY_S = 0.5
GIVE_UP_S = 600.0
"""How long output that is complete waits for a disk."""


class Sieve(Protocol):
    """What output goes through before it is kept; `progress.thin.Thinner` is one."""

    def feed(self, data: bytes) -> bytes:
        """What is to be kept of new output."""
        ...

    def flush(self) -> bytes:
        """What was held back."""
        ...


class Waiting:
    """Output that has been read and not written yet."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._chunks: deque[bytes] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self.ended = False
        self.lost = 0

    def put(self, chunk: bytes) -> None:
        """Take in output; an empty chunk is its end."""
        with self._changed:
            self._chunks.append(chunk)
            self._bytes += len(chunk)
            self.ended |= not chunk
            while self._bytes > self._kept_bytes and len(self._chunks) > 1:
                gone = self._chunks.popleft()
                self._bytes -= len(gone)
                self.lost += len(gone)
            self._changed.notify()

    def take(self) -> bytes:
        """The oldest output; waits for it. Empty at the end."""
        with self._changed:
            while not self._chunks:
                self._changed.wait()
            chunk = self._chunks.popleft()
            self._bytes -= len(chunk)
            return chunk

    def put_back(self, rest: bytes) -> None:
        """Output that found no room comes first again."""
        with self._changed:
            self._chunks.appendleft(rest)
            self._bytes += len(rest)

    @property
    def left_bytes(self) -> int:
        """Bytes that are not written yet."""
        return self._bytes


class Log:
    """The log's end; opened again as long as it cannot be opened."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None

    def write(self, chunk: bytes) -> int:
        """Append; returns how many bytes found room."""
        if self._fd is None:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return os.write(self._fd, chunk)


def pump(
    source: int,
    write: Callable[[bytes], int],
    tell: int,
    waiting: Waiting,
    *,
    sieve: Sieve | None = None,
    retry_s: float = RETRY_S,
    give_up_s: float = GIVE_UP_S,
) -> None:
    """Carry everything from a descriptor to a log, until the end of the source.

    Args:
        write: appends to the log and returns how many bytes found room; raises OSError.
        tell: descriptor for JSON lines: {"full": reason} when the disk takes nothing, {"lost": bytes} for what is missing.
        sieve: what the output goes through first; None keeps all of it.
        retry_s: how long to wait before asking the disk again.
        give_up_s: how long output that is complete waits for it.
    """
    threading.Thread(target=_read, args=(source, waiting, sieve), daemon=True).start()
    full_since: float | None = None
    while chunk := waiting.take():
        rest, fault = _write(write, chunk, waiting, tell)
        if not fault:
            full_since = None
            continue
        waiting.put_back(rest)
        now = time.monotonic()
        if full_since is None:
            full_since = now
            _tell(tell, {"full": fault})
        if waiting.ended and now - full_since > give_up_s:
            _tell(tell, {"lost": waiting.left_bytes})
            return
        time.sleep(retry_s)


def _read(source: int, waiting: Waiting, sieve: Sieve | None) -> None:
    while True:
        if sieve is not None and not select.select([source], [], [], PAUSE_S)[0]:
            if held := sieve.flush():
                waiting.put(held)
            select.select([source], [], [])
        try:
            chunk = os.read(source, CHUNK_BYTES)
        except OSError:
            chunk = b""
        kept = chunk if sieve is None else sieve.feed(chunk) if chunk else sieve.flush()
        if kept:
            waiting.put(kept)
        if not chunk:
            waiting.put(b"")
            return


def _write(write: Callable[[bytes], int], chunk: bytes, waiting: Waiting, tell: int) -> tuple[bytes, str]:
    """What found no room, and the reason; both empty when all is written."""
    try:
        if lost := waiting.lost:
            write(f"\n[fsgr-tui: {lost:,} bytes of output are missing here; the disk took none]\n".encode())
            waiting.lost -= lost
            _tell(tell, {"lost": lost})
        while chunk:
            chunk = chunk[write(chunk) :]
    except OSError as error:
        return chunk, error.strerror or str(error)
    return b"", ""


def _tell(tell: int, news: dict[str, object]) -> None:
    # Nobody listens when the runner is gone.
    with contextlib.suppress(OSError):
        os.write(tell, json.dumps(news).encode() + b"\n")


def main(path: str) -> None:
    """Carry standard input into a log. It ends with its input, not before."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Run by its path and without site-packages, it does not know where the rest of the program is.
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from fsgr_tui.jobs.progress.thin import Thinner

    pump(0, Log(path).write, 1, Waiting(), sieve=Thinner())


if __name__ == "__main__":
    main(sys.argv[1])
