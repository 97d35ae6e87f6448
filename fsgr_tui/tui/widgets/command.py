"""A command as a shell takes it, in lines that can be pasted as they stand."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import mark
from fsgr_tui.core.units import printable
from fsgr_tui.tui.format import DIM
from fsgr_tui.tui.widgets.panel import Panel

_INDENT, _GOES_ON = "  ", " \\"


def wrapped(argv: Sequence[str], cells: int) -> str:
    """A command in lines of so many cells, as a shell continues them.

    Lines are broken between words, and a flag stays with its value where both have room; a longer word stays whole.
    """
    room = cells - len(_GOES_ON)
    lines = [""]
    for piece in _pieces([printable(shlex.quote(word)) for word in argv], room - len(_INDENT)):
        longer = f"{lines[-1]} {piece}" if lines[-1] else piece
        if lines[-1] and cell_len(longer) > room:
            lines[-1] += _GOES_ON
            lines.append(_INDENT + piece)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _pieces(words: Sequence[str], room: int) -> Iterator[str]:
    """Words, a flag together with its value."""
    held = ""
    for word in words:
        both = f"{held} {word}"
        if held and not word.startswith("-") and cell_len(both) <= room:
            yield both
            held = ""
            continue
        if held:
            yield held
        held = word if word.startswith("--") else ""
        if not held:
            yield word
    if held:
        yield held


class CommandPanel(Panel):
    """The command line that the form stands for."""

    TITLE: ClassVar[str] = mark("The same on the command line")

    def show(self, argv: tuple[str, ...]) -> None:
        """Show a command, quoted so that it can be pasted."""
        self.draw_with(lambda width: Text(wrapped(argv, width)))

    def show_fault(self, problem: Problem) -> None:
        """Show why there is no command."""
        self.draw_with(lambda _width: Text(printable(problem.what), DIM))
