"""A log by line numbers: an index of where lines begin, so that a million of them cost eight bytes each and no text."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator
from pathlib import Path

from fsgr_tui.core.units import printable
from fsgr_tui.jobs.progress.tail import Tail

GROW_BYTES = 64 << 20
"""What one call of `grow` reads at the most, so that its caller can show something in between."""

LINE_BYTES = 16_384
"""What is read of a line: the end of it, which a terminal would have left standing."""

LINE_CHARS = 4_000

STRETCH_BYTES = 8 << 20
"""Longer stretches are searched line by line: most of them is not shown anyway."""

_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")


class LineIndex:
    """Lines of a growing file, as a terminal would show them.

    Attributes:
        restarts: how often the file began anew; line numbers from before mean nothing then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tail = Tail(path)
        self._starts = array("Q", [0])
        self.restarts = 0

    def __len__(self) -> int:
        """Lines so far; an unfinished last one counts when there is something in it."""
        return len(self._starts) - (1 if self._starts[-1] == self._tail.position else 0)

    def grow(self) -> bool:
        """Take in what was added, at most `GROW_BYTES` of it; returns whether there may be more."""
        taken = 0
        at = self._tail.position
        for piece in self._tail.pieces(GROW_BYTES):
            if self._tail.restarts != self.restarts:
                self.restarts = self._tail.restarts
                self._starts = array("Q", [0])
                at = 0
            found = -1
            while (found := piece.find(b"\n", found + 1)) >= 0:
                self._starts.append(at + found + 1)
            at += len(piece)
            taken += len(piece)
        return taken >= GROW_BYTES

    def lines(self, start: int, count: int) -> list[str]:
        """So many lines from a line on (0 is the first), printable; fewer at the end, none outside."""
        first, last = max(0, start), min(len(self), start + count)
        if last <= first:
            return []
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return []
        try:
            return [_shown(self._read(fd, number)) for number in range(first, last)]
        finally:
            os.close(fd)

    def find(self, text: str, start: int, *, backwards: bool = False) -> int | None:
        """The next line, from `start` on and then around, that holds a text; upper and lower case are the same.

        Returns:
            Its number; None when no line holds it.
        """
        wanted = text.casefold()
        if not wanted:
            return None
        count = len(self)
        for number, line in self._walk(start % count if count else 0, wanted, backwards=backwards):
            if wanted in line.casefold():
                return number
        return None

    def close(self) -> None:
        """Let the file go."""
        self._tail.close()

    def _walk(self, start: int, wanted: str, *, backwards: bool) -> Iterator[tuple[int, str]]:
        """Lines in the order of a search, without stretches that cannot hold the text."""
        count, size = len(self), 2_000
        order = range(start, start - count, -1) if backwards else range(start, start + count)
        for offset in range(0, count, size):
            chunk = [number % count for number in order[offset : offset + size]]
            low, high = min(chunk), max(chunk)
            if high - low >= 2 * size:
                # The chunk runs around the end.
                yield from ((number, line) for number in chunk for line in self.lines(number, 1))
                continue
            if not self._may_hold(low, high, wanted):
                continue
            texts = self.lines(low, high - low + 1)
            yield from ((number, texts[number - low]) for number in chunk if number - low < len(texts))

    def _may_hold(self, low: int, high: int, wanted: str) -> bool:
        """Whether some line from `low` to `high` may show the (casefolded) text: a look at all of them at once.

        Control characters are shown otherwise than they are written; where there are some, only the lines themselves tell.
        """
        begin, end = self._starts[low], self._end(high)
        if end - begin > STRETCH_BYTES:
            return True
        try:
            with self._path.open("rb") as file:
                file.seek(begin)
                raw = file.read(end - begin)
        except OSError:
            return True
        return _CONTROL.search(raw) is not None or wanted in raw.decode("utf-8", "replace").casefold()

    def _end(self, number: int) -> int:
        """Where a line ends in the file, without its line feed."""
        return self._starts[number + 1] - 1 if number + 1 < len(self._starts) else self._tail.position

    def _read(self, fd: int, number: int) -> bytes:
        start, end = self._starts[number], self._end(number)
        return os.pread(fd, min(LINE_BYTES, end - start), max(start, end - LINE_BYTES))


def _shown(line: bytes) -> str:
    """What a terminal would have left of a line: the text behind the last carriage return, without escapes."""
    text = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
    return printable(_ESCAPES.sub("", text).replace("\t", "    ").rstrip())[:LINE_CHARS]
