"""Where a line of text may break: between words, and between Chinese characters, but never inside a path."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_OPENING = "（《「『【〔“‘([{<"
_CLOSING = "，。；：、！？）》」』】〕”’…,.;:!?)\\]}>%"

_PATH = r"(?<!\w)(?:(?:~|\.{1,2})?/[^\s，。；：、）（”]*|[^\s，。；：、）（”/]+/[^\s，。；：、）（”]*\.\w+)"
_PIECE = re.compile(
    f"{_PATH}[{_CLOSING}]*"
    # What opens stays with what follows, what closes with what stands before it.
    f"|[{re.escape(_OPENING)}]*(?:[{_WIDE}]/?|[^{_WIDE}]+)[{_CLOSING}]*"
)


def pieces(word: str) -> list[str]:
    """The parts of a word (text without spaces) between which a line may break."""
    return _PIECE.findall(word) if any(map(_is_wide, word)) else [word]


def wrapped(text: str, room: int, cells: Callable[[str], int], chop: Callable[[str, int], list[str]]) -> list[str]:
    """The lines of one paragraph.

    Args:
        room: terminal cells in a line.
        cells: width of a text in cells.
        chop: what becomes of a piece that is wider than a line.
    """
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        for number, piece in enumerate(pieces(word)):
            trial = f"{line} {piece}" if line and number == 0 else line + piece
            if cells(trial) <= room:
                line = trial
                continue
            if line:
                lines.append(line)
            *full, line = chop(piece, room) or [""]
            lines += full
    return [*lines, line]


def cells(text: str) -> int:
    """Terminal cells of a text, as far as the standard library tells: two for a wide character."""
    return sum(2 if _is_wide(char) else 1 for char in text)


def _is_wide(char: str) -> bool:
    return char > "\u1100" and unicodedata.east_asian_width(char) in ("W", "F")
