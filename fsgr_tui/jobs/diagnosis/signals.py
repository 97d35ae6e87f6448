"""Lines of a log that mean trouble, counted and folded as they come; a million ordinary lines cost next to nothing."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

TAIL_LINES: Final = 300
LINE_CHARS: Final = 2000
IDS_KEPT: Final = 1000
FOLDS_KEPT: Final = 50


class LogLine(NamedTuple):
    """A finished line with its number in the log, from 1."""

    number: int
    text: str


@dataclass
class Folded:
    """Lines of one kind, folded into one: the first of them, the last, how many, and the ids that they name."""

    first: LogLine
    last: LogLine
    count: int = 0
    ids: list[str] = field(default_factory=list)

    def add(self, line: LogLine, count: int, ids: Sequence[str]) -> None:
        """Take in another line."""
        self.last = line
        self.count += count
        for name in ids:
            if len(self.ids) < IDS_KEPT and name not in self.ids:
                self.ids.append(name)


class _Kind(NamedTuple):
    """A kind of line: a word that is looked for first, in lower case, and what counts as a hit."""

    name: str
    word: str
    pattern: re.Pattern[str]


_I = re.IGNORECASE
_KINDS: Final = (
    _Kind("device assert", "assert", re.compile(r"device-side assert|\bAssertion [`'].{1,200}?['`] failed|srcIndex < srcSelectDimSize")),
    _Kind("missing features", "could not find detections", re.compile(r"could not find detections for\s+(?P<id>[\w./-]*\w)", _I)),
    _Kind("missing features", "missing", re.compile(r"missing (?:features?|detections?|grids?) (?:for|of)\D{0,20}(?P<id>\d+)", _I)),
    _Kind("missing features", "not found", re.compile(r"(?:features?|detections?|grids?) (?:for|of)\D{0,20}(?P<id>\d+)\D{0,10} not found", _I)),
    _Kind("skipped batches", "skip", re.compile(r"\bskip(?:s|ped|ping)?\b.{0,40}\b(?:batch|step|update|iteration)|\b(?:batch|step|update|iteration)\b.{0,40}\bskip(?:ped|ping)\b", _I)),
    _Kind("skipped batches", "gradient overflow", re.compile(r"gradient overflow", _I)),
    _Kind("out of GPU memory, survived", "out of memory", re.compile(r"CUDA out of memory|CUDA error: out of memory", _I)),
    _Kind("division by zero", "divide by zero", re.compile(r"Warning:.*divide by zero", _I)),
    _Kind("division by zero", "invalid value", re.compile(r"Warning:.*invalid value encountered", _I)),
    _Kind("division by zero", "division by zero", re.compile(r"Warning:.*division by zero", _I)),
)  # fmt: skip
_WARNING = re.compile(r"\b(?P<kind>[A-Z]\w*Warning): (?P<text>.{1,160})")
# A C program's own assertion looks alike; the GPU's tell the kernel's source and the thread.
_ON_GPU = re.compile(r"\.cu\b|device-side|block: \[|srcIndex")
_NUMBERS = re.compile(r"\d+(?:\.\d+)?")
_RANK = re.compile(r"^\[(?:rank)?\d+\]:\s?")
# What begins with a traceback's form is an ending, not a survival; so is the source line that it repeats.
_EXCEPTION = re.compile(r"^(?:\[(?:rank)?\d+\]:\s?)?(?:[\w.]*(?:Error|Exception)\b|\s+raise\s)")


class Signals:
    """All that was seen so far.

    Attributes:
        tail: the last lines.
        folded: by kind, see `_KINDS`.
        warnings: by warning text with its numbers left out.
    """

    def __init__(self) -> None:
        self.tail: deque[LogLine] = deque(maxlen=TAIL_LINES)
        self.folded: dict[str, Folded] = {}
        self.warnings: dict[str, Folded] = {}

    def see(self, lines: Sequence[str], first: int) -> None:
        """Take in finished lines; `first` is the number of the first of them."""
        if not lines:
            return
        start = max(0, len(lines) - TAIL_LINES)
        self.tail.extend(LogLine(first + start + at, text[:LINE_CHARS]) for at, text in enumerate(lines[start:]))
        whole = "\n".join(lines).lower()
        for kind in _KINDS:
            if kind.word in whole:
                self._each(lines, first, kind.word, lambda line, kind=kind: self._fold(kind, line))  # type: ignore[misc]
        if "warning: " in whole:
            self._each(lines, first, "warning: ", self._fold_warning)

    def count(self, kind: str) -> int:
        """How often a kind was seen."""
        return self.folded[kind].count if kind in self.folded else 0

    def _each(self, lines: Sequence[str], first: int, word: str, take: Callable[[LogLine], None]) -> None:
        for at, text in enumerate(lines):
            if word in text.lower():
                take(LogLine(first + at, text[:LINE_CHARS]))

    def _fold(self, kind: _Kind, line: LogLine) -> None:
        found = list(kind.pattern.finditer(line.text))
        if not found or (kind.name.startswith("out of GPU") and _EXCEPTION.match(line.text)):
            return
        if kind.name == "device assert" and not _ON_GPU.search(line.text):
            return
        ids = [match["id"] for match in found if "id" in kind.pattern.groupindex]
        self.folded.setdefault(kind.name, Folded(line, line)).add(line, len(found), ids)

    def _fold_warning(self, line: LogLine) -> None:
        match = _WARNING.search(line.text)
        if match is None or any(kind.pattern.search(line.text) for kind in _KINDS):
            return
        key = _NUMBERS.sub("#", f"{match['kind']}: {match['text']}")
        if key in self.warnings or len(self.warnings) < FOLDS_KEPT:
            self.warnings.setdefault(key, Folded(line, line)).add(line, 1, ())


def without_rank(text: str) -> str:
    """A line without the rank that torchrun puts in front of it."""
    return _RANK.sub("", text)
