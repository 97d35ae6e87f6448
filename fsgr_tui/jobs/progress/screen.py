"""What a terminal would show of a stream of bytes: lines that are finished, and rows that may still change.

Bars redraw themselves with carriage returns, nested ones also move the cursor up. A row is finished when the cursor
has left it downwards, unless it is a bar: nested bars are revisited, so these wait until ordinary text stands below.
"""

from __future__ import annotations

import codecs
import re
from typing import Final, NamedTuple

ROWS: Final = 16
"""Rows that the cursor can go back to; tqdm users nest two or three bars."""
ROW_CHARS: Final = 1 << 16
"""A longer row is cut: a line of base64 is worth no memory."""
STATES: Final = 256
"""States of redrawn rows that one call hands out at most, the newest."""
FLOOD_BYTES: Final = 1 << 17
KEEP_BYTES: Final = 1 << 14

_CONTROL = re.compile(
    r"[\r\n\b]|\x1b\[([0-9;?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|\x1b[@-Z\\^_=>78]?"
)
_ROW = re.compile(rb"\r[^\r\n\x1b]*")
_CUT_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]{0,24}[ -/]{0,4}|\][^\x07\x1b]{0,4096})?$")
_BAR = re.compile(r"\d%\||\d ?[a-zA-Z]*/s\b|\ds/[a-z]|\? ?[a-z]+/s|\[[=>]|━|ETA")


class Shown(NamedTuple):
    """What a call brought.

    Attributes:
        lines: finished lines, without trailing blanks.
        first: the number of the first of them, from 1.
        states: what redrawn rows showed before they were overwritten, the oldest first.
    """

    lines: list[str]
    first: int
    states: list[str]


class Screen:
    """Turns bytes into lines; memory is bounded by `ROWS` x `ROW_CHARS`.

    Attributes:
        count: lines finished so far.
    """

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._rows = [""]
        self._touched = 0
        self._y = 0
        self._x = 0
        self._lines: list[str] = []
        self._states: list[str] = []

    @property
    def live(self) -> list[str]:
        """The rows that are not finished, top to bottom; blank ones left out."""
        return [row.rstrip() for row in self._rows if row.strip()]

    @property
    def latest(self) -> str:
        """The row that was written last and is not finished; empty when there is none."""
        return self._rows[self._touched].rstrip() if self._touched < len(self._rows) else ""

    def feed(self, data: bytes) -> Shown:
        """Take in the next bytes of the stream; they may end anywhere, in the middle of a character too."""
        # A hole of a file that gave back its space reads as zeros.
        data = data.replace(b"\0", b"") if b"\0" in data else data
        if self._held:
            data, self._held = self._held.encode() + data, ""
        if len(data) > FLOOD_BYTES and b"\r" in data:
            data = self._skim(data)
        text = self._decoder.decode(data)
        cut = _CUT_ESCAPE.search(text, max(0, len(text) - 4200)) if "\x1b" in text else None
        self._held = text[cut.start() :] if cut else ""
        self._write(text[: cut.start()] if cut else text)
        self._settle()
        return self._hand_out()

    def finish(self) -> Shown:
        """The stream has ended: all rows are finished."""
        self._write(self._decoder.decode(b"", final=True))
        while self._rows and not self._rows[-1].strip():
            self._rows.pop()
        self._drop(len(self._rows))
        self._rows, self._y, self._x, self._touched = [""], 0, 0, 0
        return self._hand_out()

    def _hand_out(self) -> Shown:
        lines, states = self._lines, self._states[-STATES:]
        self._lines, self._states = [], []
        first = self.count + 1
        self.count += len(lines)
        return Shown(lines, first, states)

    def _skim(self, data: bytes) -> bytes:
        """Leave out what carriage returns took back anyhow, so that a flood of redraws costs no time.

        Only where it cannot change what is finished: within one line, or where every step down came up again.
        """
        if b"\x1b[A" in data:
            cut = data.rfind(b"\x1b[A", 0, len(data) - KEEP_BYTES) + len(b"\x1b[A")
            head = data[:cut]
            if b"\n\n" in head or head.count(b"\n") != head.count(b"\x1b[A"):
                return data
            self._decoder.reset()
            # The row that the cursor rests on is drawn seldom; its last state must stay.
            drawn = head.rfind(b"\x1b[A\r")
            own = _ROW.match(head, drawn + len(b"\x1b[A") if drawn >= 0 else 0)
            return (own[0] if own else b"") + b"\r" + data[cut:]
        pieces = []
        for piece in data.split(b"\n"):
            cut = piece.rfind(b"\r", 0, -KEEP_BYTES) if len(piece) > 2 * KEEP_BYTES else -1
            pieces.append(piece[cut:] if cut > 0 else piece)
            if cut > 0 and len(pieces) == 1:
                self._decoder.reset()
        return b"\n".join(pieces)

    def _write(self, text: str) -> None:
        if not ("\r" in text or "\x1b" in text or "\b" in text) and len(self._rows) == 1 and not self._in_bar(text):
            first, *rest = text.split("\n")
            self._put(first)
            if rest:
                self._lines.append(self._rows[0].rstrip())
                self._lines += [line[:ROW_CHARS].rstrip() for line in rest[:-1]]
                self._rows, self._x = [""], 0
                self._put(rest[-1])
            return
        at = 0
        for match in _CONTROL.finditer(text):
            if match.start() > at:
                self._put(text[at : match.start()])
            at = match.end()
            self._obey(match)
        self._put(text[at:])

    def _in_bar(self, text: str) -> bool:
        return "\n" in text and bool(_BAR.search(self._rows[0]))

    def _obey(self, match: re.Match[str]) -> None:
        match match[0]:
            case "\r":
                self._note_state()
                self._x = 0
            case "\n":
                self._note_state()
                self._x = 0
                self._down(1)
                if len(self._rows) > 4 * ROWS:
                    self._settle()
            case "\b":
                self._x = max(0, self._x - 1)
            case _ if match[2]:
                self._move(match[2], match[1])

    def _move(self, final: str, parameters: str) -> None:
        number = int(parameters) if parameters.isdigit() else 0
        steps = min(max(1, number), ROWS)
        row = self._rows[self._y]
        match final:
            case "A" | "F":
                self._note_state()
                self._up(steps)
            case "B" | "E":
                self._down(steps)
            case "C":
                self._x += steps
            case "D":
                self._x = max(0, self._x - steps)
            case "G":
                self._x = min(max(0, number - 1), ROW_CHARS)
            case "K":
                kept = {0: row[: self._x], 1: " " * self._x + row[self._x :]}
                self._rows[self._y] = kept.get(number, "")
            case "J" if number in (0, 2):
                self._rows[self._y] = row[: self._x] if number == 0 else ""
                del self._rows[self._y + 1 :]
            case _:
                pass
        if final in "EF":
            self._x = 0

    def _up(self, steps: int) -> None:
        above = steps - self._y
        if above > 0:
            # The row was handed out as finished already; a fresh one takes its place.
            self._rows[:0] = [""] * above
            self._touched += above
        self._y = max(0, self._y - steps)

    def _down(self, steps: int) -> None:
        self._y += steps
        while len(self._rows) <= self._y:
            self._rows.append("")

    def _put(self, text: str) -> None:
        if not text:
            return
        row = self._rows[self._y]
        text = text[: max(0, ROW_CHARS - self._x)]
        if self._x >= len(row):
            row += " " * (self._x - len(row)) + text
        else:
            row = row[: self._x] + text + row[self._x + len(text) :]
        self._rows[self._y] = row
        self._x += len(text)
        self._touched = self._y

    def _note_state(self) -> None:
        row = self._rows[self._y]
        if self._x and len(row) < ROW_CHARS and (not self._states or self._states[-1] != row):
            self._states.append(row)
            if len(self._states) > 4 * STATES:
                del self._states[:-STATES]

    def _settle(self) -> None:
        """Finish the rows above the cursor that nothing will go back to."""
        if self._y == 0:
            return
        above = self._rows[: self._y]
        bars = [bool(_BAR.search(row)) for row in above]
        if not any(bars):
            self._drop(self._y)
            return
        plain = [number for number, row in enumerate(above) if row.strip() and not bars[number]]
        self._drop(max(plain[-1] + 1 if plain else 0, self._y - ROWS))

    def _drop(self, count: int) -> None:
        self._lines += [row.rstrip() for row in self._rows[:count]]
        del self._rows[:count]
        self._y = max(0, self._y - count)
        self._touched = max(0, self._touched - count)
