"""Where the screen's lines break: between Chinese characters too, which the library takes for one long word."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich._wrap import divide_line
from rich.cells import cell_len, chop_cells
from textual import content

from fsgr_tui.core.wrapping import pieces

_WORD = re.compile(r"(\s*)(\S+)(\s*)")
_FIRST_WIDE = "\u2e80"


def use_everywhere() -> None:
    """Have the library break all its lines so: every text on the screen goes through this one function of it."""
    content.divide_line = offsets  # type: ignore[attr-defined]  # imported there, and not meant to be replaced


def offsets(text: str, width: int, fold: bool = True) -> list[int]:
    """Where to break a line of text, as offsets of characters.

    Args:
        width: terminal cells in a line.
        fold: whether a word that is wider than a line is broken within.
    """
    if not any(char >= _FIRST_WIDE for char in text):
        return divide_line(text, width, fold)
    breaks: list[int] = []
    used = 0
    for start, piece in _pieces(text):
        if used + cell_len(piece.rstrip()) <= width:
            used += cell_len(piece)
            continue
        parts = chop_cells(piece, width) if fold and cell_len(piece.rstrip()) > width else [piece]
        at = start
        for part in parts:
            if at:
                breaks.append(at)
            at += len(part)
        used = cell_len(parts[-1])
    return breaks


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """What stays together, with its offset; spaces belong to what stands before them."""
    for match in _WORD.finditer(text):
        before, word, after = match.groups()
        at = match.start()
        parts = pieces(word)
        for number, part in enumerate(parts):
            piece = (before if number == 0 else "") + part + (after if number == len(parts) - 1 else "")
            yield at, piece
            at += len(piece)
