"""Plain text for terminals, pipes and logs: headings, aligned tables, colour only where it is wanted."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.cells import cell_len, chop_cells, set_cell_size

from fsgr_tui.core import jsontext, wrapping
from fsgr_tui.core.units import printable

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_ASCII = str.maketrans(
    {"×": "x", "≈": "~", "–": "-", "—": "-", "·": ".", "→": ">", "✓": "+", "█": "#", "░": ".", "…": "~"}
)


def width(stream: TextIO | None = None) -> int:
    """Columns of the terminal; 100 where the output is none, so that pipes get the same lines every time."""
    return shutil.get_terminal_size((100, 24)).columns if (stream or sys.stdout).isatty() else 100


def wants_colour(stream: TextIO) -> bool:
    """Whether escapes may be sent: a terminal that knows them, and nobody said no."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM", "dumb") != "dumb"


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """Text in a style, where the stream takes colour."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if wants_colour(stream or sys.stdout) else text


def echo(text: str = "", stream: TextIO | None = None) -> None:
    """Write a line; characters that the stream cannot hold are replaced by ASCII ones, never by an error."""
    out = stream or sys.stdout
    encoding = out.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
    out.write(text + "\n")


def heading(text: str) -> None:
    """A section's title."""
    echo()
    echo(styled(text, "bold"))


def table(rows: Iterable[Sequence[str]], columns: Sequence[str] = (), *, indent: int = 2) -> None:
    """Aligned columns; the last one wraps. User text must have gone through `printable`."""
    lines = [tuple(row) for row in rows]
    if not lines:
        return
    shown = [tuple(columns), *lines] if columns else lines
    count = max(len(row) for row in shown)
    widths = [
        max((cell_len(row[column]) for row in shown if column < len(row)), default=0) for column in range(count - 1)
    ]
    room = max(24, width() - indent - sum(widths) - 2 * (count - 1))
    for number, row in enumerate(shown):
        first, *more = _wrapped(row[-1], room) or [""]
        start = "  ".join(pad(cell, size) for cell, size in zip(row[:-1], widths, strict=False))
        line = " " * indent + (start + "  " if start else "") + first
        echo(styled(line.rstrip(), "dim") if columns and number == 0 else line.rstrip())
        for rest in more:
            echo(" " * (indent + sum(widths) + 2 * (count - 1)) + rest)


def paragraph(text: str, *, indent: int = 2, stream: TextIO | None = None) -> None:
    """Wrapped text; a word that is longer than a line stays whole, since it may be a path to copy."""
    for line in _wrapped(text, max(24, width(stream) - indent), whole_words=True):
        echo(" " * indent + line, stream)


def pad(text: str, cells: int) -> str:
    """Text filled up with spaces to so many terminal cells."""
    return text + " " * max(0, cells - cell_len(text))


def cut(text: str, cells: int) -> str:
    """As much of a text as fits into so many terminal cells, with a mark at its end where something is missing."""
    return text if cell_len(text) <= cells else set_cell_size(text, cells - 1).rstrip() + "…"


def json_out(value: Any) -> None:
    """One JSON document on standard output, UTF-8 whatever the locale."""
    sys.stdout.flush()
    sys.stdout.buffer.write(jsontext.encode(value, indent=2) + b"\n")


def _wrapped(text: str, room: int, *, whole_words: bool = False) -> list[str]:
    chop = (lambda piece, _room: [piece]) if whole_words else chop_cells
    paragraphs = printable(text).split("\n")
    return [line for paragraph in paragraphs for line in wrapping.wrapped(paragraph, room, cell_len, chop)]
