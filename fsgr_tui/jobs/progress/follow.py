"""Following a log: its lines, its progress and its metrics, at a cost that stays small in a flood."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from fsgr_tui.core.job import JobProgress
from fsgr_tui.jobs.progress.screen import Screen
from fsgr_tui.jobs.progress.tail import Tail
from fsgr_tui.jobs.progress.tracker import Reading, Tracker

LOOK_BYTES: Final = 16 << 20
"""Read at one look at the most; what is left comes with the next one."""

FLOOD_KEPT: Final = 30
"""Of many lines or states at once the last ones are parsed for progress and metrics, and those with a number that is none."""

_NO_NUMBER = re.compile(r"(?<![A-Za-z])[-+]?(?:nan|inf)(?![A-Za-z])", re.IGNORECASE)
_LINE_CHARS = 400


class Piece(NamedTuple):
    """What a stretch of the log brought; `first` is the number of the first line."""

    lines: Sequence[str]
    first: int
    readings: list[Reading]


class LogFollower:
    """Follows one log.

    Attributes:
        tracker: what was understood of it.
    """

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)
        self._screen = Screen()
        self.tracker = Tracker()
        self._last_line = ""

    @property
    def live(self) -> list[str]:
        """Rows that may still change, the incomplete last line among them."""
        return self._screen.live

    @property
    def last_line(self) -> str:
        """What was printed last, finished or not."""
        return (self._screen.latest.strip() or self._last_line)[:_LINE_CHARS]

    def progress(self, at: float) -> JobProgress:
        """How far the program is, by what it prints."""
        return self.tracker.progress(at)

    def new(self, at: float, limit_bytes: int = LOOK_BYTES) -> Iterator[Piece]:
        """What was added to the log since the last call.

        Args:
            at: the time of this look; rates are computed from it.
        """
        for data in self._tail.pieces(limit_bytes):
            shown = self._screen.feed(data)
            if shown.lines:
                self._last_line = next((line for line in reversed(shown.lines[-20:]) if line.strip()), self._last_line).strip()  # fmt: skip
            readings = self.tracker.see(_telling(shown.states), _telling(shown.lines), self._screen.live, at)
            yield Piece(shown.lines, shown.first, readings)

    def close(self) -> None:
        """Let the file go."""
        self._tail.close()


def _telling(rows: Sequence[str]) -> Sequence[str]:
    if len(rows) <= 2 * FLOOD_KEPT:
        return rows
    start = len(rows) - FLOOD_KEPT
    whole = "\n".join(rows[:start]).lower()
    if "nan" not in whole and "inf" not in whole:
        return rows[start:]
    return [*(row for row in rows[:start] if _NO_NUMBER.search(row)), *rows[start:]]
