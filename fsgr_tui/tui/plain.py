"""Output for terminals that show less: no colour, or no characters beyond ASCII.

Both are filters on finished lines, so that they hold for every widget, the library's own included.
"""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

# One cell each, like what they replace.
_ASCII = {
    "─": "-", "━": "=", "│": "|", "┃": "|", "▌": "|", "▐": "|", "▎": "|", "▏": "|", "▕": "|", "▊": "|", "█": "#",
    "▁": ".", "▂": "_", "▃": "_", "▄": "-", "▅": "=", "▆": "#", "▇": "#", "▔": "-", "▀": "-", "·": "-", "…": "~",
    "•": "*", "×": "x", "≈": "~", "–": "-", "—": "-", "→": ">", "←": "<", "↑": "^", "↓": "v", "✓": "+", "›": ">",
    "‹": "<", "░": ".", "▒": ":", "▓": "#", "■": "#", "□": "o", "●": "*", "○": "o", "▶": ">", "▼": "v", "▲": "^",
    "╺": "-", "╸": "-", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "ä": "a", "ö": "o", "ü": "u",
}  # fmt: skip


class HarmlessFilter(LineFilter):
    """Takes control characters and lone surrogates out of what is drawn.

    Panels and tables show user text escaped already; an input field shows its value as it is.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - the filter's signature
        """The same segments with nothing that a terminal could obey."""
        return [
            Segment(text if text.isprintable() else _harmless(text), style, control)
            for text, style, control in segments
        ]


class AsciiFilter(LineFilter):
    """Replaces every character beyond ASCII by one of as many cells, so that no column moves."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - the filter's signature
        """The same segments in ASCII."""
        return [
            Segment(text if text.isascii() else to_ascii(text), style, control) for text, style, control in segments
        ]


class ColourlessFilter(LineFilter):
    """Takes all colours out and keeps bold, dim, underline and reverse: Textual's own NO_COLOR still sends greys."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - the filter's signature
        """The same segments without colour."""
        return [Segment(text, style and _colourless(style), control) for text, style, control in segments]


@lru_cache(4096)
def _colourless(style: Style) -> Style:
    return style.without_color


def _harmless(text: str) -> str:
    # Control characters take no cell; a lone surrogate takes one.
    return "".join(
        "?" if "\ud800" <= char <= "\udfff" else char for char in text if not (char < " " or "\x7f" <= char < "\xa0")
    )


@lru_cache(4096)
def to_ascii(text: str) -> str:
    """Text in ASCII that takes as many cells."""
    return "".join(char if char.isascii() else _ASCII.get(char) or _like(char) for char in text)


def _like(char: str) -> str:
    if "─" <= char <= "╿":
        return "+"
    # Braille dots of a plot.
    return "*" if "\u2801" <= char <= "\u28ff" else "?" * cell_len(char)
