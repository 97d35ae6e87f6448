"""Questions and help on top of a place."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import Key
from textual.screen import ModalScreen

from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import DIM
from fsgr_tui.tui.widgets.words import Words


class Question(ModalScreen[bool]):
    """A yes or no, asked once, before something that cannot be taken back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
    ]

    def __init__(self, question: str, consequence: str) -> None:
        super().__init__()
        self._question, self._consequence = question, consequence

    def compose(self) -> ComposeResult:
        """The question and its keys."""
        with Vertical(classes="box"):
            keys = Text.assemble(("y", "bold"), " yes   ", ("n", "bold"), " no")
            yield Words(layout.lines(Text(printable(self._question), "bold"), printable(self._consequence), "", keys))

    def action_answer(self, answer: bool) -> None:
        """Give the answer back."""
        self.dismiss(answer)


class Greeting(ModalScreen[None]):
    """What was found at the first start, and the one next step. Any key closes it, and does what it does elsewhere."""

    def __init__(self, found: tuple[str, ...], verdict: Text, step: Text) -> None:
        super().__init__()
        self._words = layout.lines(
            Text("Found here", "bold"),
            *(printable(line) for line in found),
            "",
            verdict,
            "",
            step,
            Text("Any key goes on.", DIM),
        )

    def compose(self) -> ComposeResult:
        """What was found, what follows, what next."""
        with Vertical(classes="box"):
            yield Words(self._words)

    def on_key(self, event: Key) -> None:
        """Close, and hand the key on to the place below."""
        event.stop()
        self.dismiss(None)
        if event.key not in ("escape", "enter", "space"):
            self.app.call_after_refresh(self.app.simulate_key, event.key)


class Help(ModalScreen[None]):
    """What is in front of the user, and every key that works there."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "close", "Close")]

    def __init__(self, title: str, about: str, keys: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self._title, self._about, self._keys = title, about, keys

    def compose(self) -> ComposeResult:
        """Words, then keys."""
        keys = [Text.assemble((f"{key:>12}  ", "bold"), words) for key, words in self._keys]
        with VerticalScroll(classes="box"):
            yield Words(
                layout.lines(Text(self._title, "bold"), self._about, "", *keys, "", Text("Escape closes this.", DIM))
            )

    def action_close(self) -> None:
        """Back to the place."""
        self.dismiss(None)
