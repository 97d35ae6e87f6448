"""Thinning a job's output before it is stored: of bars that redraw themselves without end, only some states are kept.

Finished lines, and all that is no redraw, pass as they are. Redraws pass too until they have taken `BURST_BYTES`; from
then on they may take `PER_SECOND_BYTES`, and of each row the newest state waits until there is room. So bars make a log
grow by 3.6 MB an hour at most, whatever the program prints. A state in which NaN comes or goes always passes.

Standard library alone: it can run in the process that carries the output to the log.
"""

from __future__ import annotations

import re
import time
from typing import Final

BURST_BYTES: Final = 1 << 20
PER_SECOND_BYTES: Final = 1000
_REST_BYTES: Final = 1 << 16

_UP = b"\x1b[A"
# A redraw of the row that is k rows below, as tqdm does it: k newlines, a carriage return, the text, k times up.
_FRAME = re.compile(rb"(\n{0,16})(\r(?:[^\r\n\x1b]|\x1b\[[0-9;]*[mK])+)((?:\x1b\[A){0,16})(?=[\r\n])")


class Thinner:
    """Passes output on, with fewer redraws; memory is bounded by a few rows."""

    def __init__(self, burst_bytes: int = BURST_BYTES, per_second_bytes: float = PER_SECOND_BYTES) -> None:
        self._burst_bytes = burst_bytes
        self._per_second_bytes = per_second_bytes
        self._room = float(burst_bytes)
        self._filled_at: float | None = None
        self._rows: dict[int, bytes] = {}
        self._longest: dict[int, int] = {}
        self._rest = b""
        self._nan = False

    def feed(self, data: bytes, now: float | None = None) -> bytes:
        """What is to be stored of new output.

        Args:
            now: monotonic seconds.
        """
        self._refill(time.monotonic() if now is None else now)
        data, self._rest = self._rest + data, b""
        if len(data) > self._room and b"\n" not in data and b"\x1b" not in data:
            data = self._newest(data)
        out, at = [], 0
        for frame in _FRAME.finditer(data):
            below = len(frame[1]) if len(frame[1]) * len(_UP) == len(frame[3]) else 0
            begins = frame.start() if below or not frame[1] else frame.start(2)
            if below * len(_UP) != len(frame[3]):
                # It ends on another row than it began: no mere redraw.
                continue
            out.append(self._plain(data[at:begins]))
            out.append(self._redraw(below, data[begins : frame.end(2)]))
            at = frame.end()
        return b"".join((*out, self._plain(self._without_rest(data[at:]))))

    def flush(self) -> bytes:
        """What was held back: to be asked for after a moment without output, and at the end."""
        rest, self._rest = self._rest, b""
        return self._held() + rest

    def _refill(self, now: float) -> None:
        passed_s = max(0.0, now - self._filled_at) if self._filled_at is not None else 0.0
        self._filled_at = now
        self._room = min(float(self._burst_bytes), self._room + passed_s * self._per_second_bytes)

    def _newest(self, data: bytes) -> bytes:
        """Of one row that redraws itself: what stood before the first redraw, and the last two."""
        first, last = data.find(b"\r"), data.rfind(b"\r")
        before = data.rfind(b"\r", 0, max(0, last))
        if before <= first or (b"nan" in data.lower()) != self._nan:
            return data
        return data[:first] + data[before:]

    def _without_rest(self, data: bytes) -> bytes:
        """Keep back a redraw that may go on in the next piece."""
        at = data.rfind(b"\r")
        if at < 0 or len(data) - at > _REST_BYTES or data[at + 1 : at + 2] == b"\n":
            return data
        while at and data[at - 1 : at] == b"\n":
            at -= 1
        self._rest = data[at:]
        return data[:at]

    def _plain(self, data: bytes) -> bytes:
        if not data:
            return b""
        held = self._held()
        if b"\n" in data:
            self._longest.clear()
        return held + data

    def _held(self) -> bytes:
        # The cursor's own row comes last, so that what follows is joined to it.
        held = b"".join(self._rows[below] + _UP * below for below in sorted(self._rows, reverse=True))
        self._rows.clear()
        self._room = max(0.0, self._room - len(held))
        return held

    def _redraw(self, below: int, frame: bytes) -> bytes:
        # A program blanks out what its own last state left over; the state that is stored here may be an older one.
        longest = self._longest[below] = max(len(frame), self._longest.get(below, 0))
        self._rows[below] = frame.ljust(longest)
        nan = b"nan" in frame.lower()
        if nan != self._nan or self._room >= sum(map(len, self._rows.values())):
            self._nan = nan
            return self._held()
        return b""
