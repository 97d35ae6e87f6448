"""Python tracebacks in a log's tail: their exception, and the frame that it came from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from fsgr_tui.core.language import tr
from fsgr_tui.jobs.diagnosis.signals import LogLine, without_rank

_BEGIN = "Traceback (most recent call last):"
_CHAIN = ("During handling of the above exception", "The above exception was the direct cause")
_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>.+))?')
_FOREIGN = ("site-packages/", "dist-packages/", "/lib/python", "<frozen ", "<string>")
_MESSAGE_LINES = 12


class Frame(NamedTuple):
    """Where an exception passed."""

    file: str
    line: int
    name: str

    @property
    def words(self) -> str:
        """As a person says it."""
        short = self.file.rpartition("/")[2]
        if self.name and self.name != "<module>":
            return tr("{file}, line {line}, in {name}", file=short, line=self.line, name=self.name)
        return tr("{file}, line {line}", file=short, line=self.line)


class Traceback(NamedTuple):
    """One exception.

    Attributes:
        exception: the line that names it.
        message: that line and the lines behind it.
        own: the last frame in code that is no installed package, else the last one.
        chained: whether it came up while an earlier one was handled, which stands before it.
    """

    exception: LogLine
    message: tuple[LogLine, ...]
    own: Frame | None
    chained: bool


def find(tail: Sequence[LogLine]) -> list[Traceback]:
    """The tracebacks in the last lines of a log, in order."""
    lines = [LogLine(line.number, without_rank(line.text)) for line in tail]
    begins = [at for at, line in enumerate(lines) if _BEGIN in line.text]
    found = []
    for at, end in zip(begins, [*begins[1:], len(lines)], strict=False):
        chained = any(mark in line.text for line in lines[max(0, at - 3) : at] for mark in _CHAIN)
        one = _one(lines[at + 1 : end], chained=chained)
        if one is not None:
            found.append(one)
    return found


def last_chain(tail: Sequence[LogLine]) -> list[Traceback]:
    """The last exception, after those in whose handling it came up: the root first."""
    chain: list[Traceback] = []
    for one in find(tail):
        chain = [*chain, one] if one.chained else [one]
    return chain


def _one(lines: Sequence[LogLine], *, chained: bool) -> Traceback | None:
    frames: list[Frame] = []
    for at, line in enumerate(lines):
        if match := _FRAME.match(line.text):
            frames.append(Frame(match["file"], int(match["line"]), match["name"] or ""))
        elif line.text[:1] not in (" ", "\t", "") and frames:
            own = [frame for frame in frames if not any(part in frame.file for part in _FOREIGN)]
            return Traceback(line, tuple(lines[at : at + _MESSAGE_LINES]), (own or frames)[-1], chained)
    return None
