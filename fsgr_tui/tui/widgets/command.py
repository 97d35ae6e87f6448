"""A command as a shell takes it, in lines that can be pasted as they stand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
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
    """A command in lines of so many cells, broken between words as a shell continues them; a longer word stays whole."""
    lines = [""]
    for word in (printable(shlex.quote(word)) for word in argv):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and cell_len(longer) > cells - len(_GOES_ON):
            lines[-1] += _GOES_ON
            lines.append(_INDENT + word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


class CommandPanel(Panel):
    """The command line that the form stands for."""

    TITLE: ClassVar[str] = mark("The same on the command line")

    def show(self, argv: tuple[str, ...]) -> None:
        """Show a command, quoted so that it can be pasted."""
        self.draw_with(lambda width: Text(wrapped(argv, width)))

    def show_fault(self, problem: Problem) -> None:
        """Show why there is no command."""
        self.draw_with(lambda _width: Text(printable(problem.what), DIM))
