"""A file that was written: where it is, and its path to take along."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import WAY_B, key_words
from fsgr_tui.tui.screens.asking import Dialog
from fsgr_tui.tui.widgets.words import Words


class WrittenScreen(Dialog[None]):
    """Stays until it is closed, since a path takes longer to read than a toast lasts."""

    NAME: ClassVar[str] = mark("A written file")
    ABOUT: ClassVar[str] = mark(
        "The file is there already. Copying asks the terminal to take the path into its clipboard (OSC 52); in tmux "
        "that needs `set -g set-clipboard on`."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", mark("Copy the path")),
        Binding("escape,q,enter", "close", mark("Close")),
    ]

    def __init__(self, title: str, path: str, words: str) -> None:
        super().__init__()
        self._title, self._path, self._words = title, path, words

    def compose(self) -> ComposeResult:
        """Title, path, what it is good for, keys."""
        keys = key_words((("c", tr("copy the path")), ("Esc", tr("close")), ("?", tr("help"))))
        with Vertical(classes="box"):
            yield Words(
                layout.lines(Text(self._title, "bold"), Text(printable(self._path), WAY_B), self._words, "", keys)
            )

    def action_copy(self) -> None:
        """Hand the path to the terminal's clipboard."""
        self.app.copy_to_clipboard(self._path)
        self.notify(tr("Copied."), markup=False)

    def action_close(self) -> None:
        """Back to the place."""
        self.dismiss(None)
