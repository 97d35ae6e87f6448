"""A command alone on the screen, to be copied."""

from __future__ import annotations

import shlex
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from fsgr_tui.core.language import mark, tr
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import DIM, key_words
from fsgr_tui.tui.screens.asking import Dialog
from fsgr_tui.tui.widgets.command import wrapped
from fsgr_tui.tui.widgets.words import Words


class CommandScreen(Dialog[None]):
    """Copies the command, and shows it without a frame: what a mouse selects can be pasted."""

    NAME: ClassVar[str] = mark("The command")
    ABOUT: ClassVar[str] = mark(
        "The command that does the same as the form. It was handed to the terminal as its clipboard (OSC 52); terminals "
        "that take none are passed over in silence, and tmux needs `set -g set-clipboard on`. Then select it here with "
        "the mouse, in most terminals with Shift held: its lines can be pasted into a shell as they stand."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c,ctrl+y", "copy", mark("Copy it once more")),
        Binding("escape,q,enter", "close", mark("Back")),
    ]

    def __init__(self, argv: tuple[str, ...]) -> None:
        super().__init__(id="command")
        self._argv = argv
        self._command = Words(id="command-text")

    def compose(self) -> ComposeResult:
        """The command, what became of it, and the keys."""
        with VerticalScroll():
            yield self._command
            yield Words(
                layout.lines(
                    "",
                    Text(
                        tr("Copied, where the terminal takes it (OSC 52). Else select it here: Shift and the mouse."),
                        DIM,
                    ),
                )
            )
        yield Words(key_words((("c", tr("copy once more")), ("Esc", tr("back")), ("?", tr("help")))), id="command-keys")

    def on_mount(self) -> None:
        """Copy it."""
        self.action_copy()

    def on_resize(self) -> None:
        """Lay it out for the new width."""
        self._command.say(Text(wrapped(self._argv, self.app.size.width - 1)))

    def action_copy(self) -> None:
        """Hand it to the terminal."""
        self.app.copy_to_clipboard(shlex.join(self._argv))

    def action_close(self) -> None:
        """Back to the form."""
        self.dismiss(None)
