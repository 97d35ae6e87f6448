"""What stands on top of a place: questions, help, the greeting, the palette, and the base of all dialogs."""

from __future__ import annotations

from typing import ClassVar

from rich.align import Align
from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.command import CommandList, CommandPalette
from textual.containers import Vertical, VerticalScroll
from textual.events import Key
from textual.screen import ModalScreen, ScreenResultType
from textual.widgets.option_list import Option

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import DIM, key_words, pad
from fsgr_tui.tui.widgets.words import Words


class Dialog(ModalScreen[ScreenResultType]):
    """A screen on top of a place that explains itself: with `?`, and with F1 where letters are typed.

    Attributes:
        NAME: what it is called; marked for translation, like all three.
        ABOUT: what it shows and what can be done with it.
        MORE_KEYS: (key, what it does) of keys that are no bindings of the screen itself, such as those of its fields.
    """

    NAME: ClassVar[str] = ""
    ABOUT: ClassVar[str] = ""
    MORE_KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", mark("Help"), key_display="?"),
        Binding("f1", "app.help", mark("Help"), key_display="F1"),
    ]


class Question(Dialog[bool]):
    """A yes or no, asked once, before something that cannot be taken back."""

    NAME: ClassVar[str] = mark("Question")
    ABOUT: ClassVar[str] = mark("Asked once, before something that cannot be taken back. Nothing has happened yet.")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", mark("Yes")),
        Binding("n,escape", "answer(False)", mark("No")),
    ]

    def __init__(self, question: str, consequence: str) -> None:
        super().__init__()
        self._question, self._consequence = question, consequence

    def compose(self) -> ComposeResult:
        """The question and its keys."""
        with Vertical(classes="box"):
            keys = key_words((("y", tr("yes")), ("n", tr("no"))))
            yield Words(layout.lines(Text(printable(self._question), "bold"), printable(self._consequence), "", keys))

    def action_answer(self, answer: bool) -> None:
        """Give the answer back."""
        self.dismiss(answer)


class Greeting(ModalScreen[None]):
    """What was found at the first start, and the one next step. Any key closes it, and does what it does elsewhere."""

    def __init__(self, found: tuple[str, ...], verdict: Text, step: Text) -> None:
        super().__init__()
        self._words = layout.lines(
            Text(tr("Found here"), "bold"),
            *(printable(line) for line in found),
            "",
            verdict,
            "",
            step,
            Text(tr("Any key goes on."), DIM),
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

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,f1,q,enter", "close", mark("Close"))]

    def __init__(self, title: str, about: str, keys: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self._title, self._about, self._keys = title, about, keys

    def compose(self) -> ComposeResult:
        """Words, then keys."""
        widest = max((cell_len(key) for key, _ in self._keys), default=0)
        keys = [Text.assemble((f"  {pad(key, widest)}  ", "bold"), words) for key, words in self._keys]
        foot = Text(tr("Escape closes this."), DIM)
        with VerticalScroll(classes="box"):
            yield Words(layout.lines(Text(self._title, "bold"), self._about, "", *keys, "", foot))

    def action_close(self) -> None:
        """Back to what was explained."""
        self.dismiss(None)


class Palette(CommandPalette):
    """The library's command palette in the user's language."""

    def __init__(self) -> None:
        super().__init__(placeholder=tr("Search for commands…"))

    def _start_no_matches_countdown(self, search_value: str) -> None:
        # As the library's own, which has its text within.
        self._stop_no_matches_countdown()

        def say_so() -> None:
            if search_value:
                words = Align.center(Text(tr("No matches found"), style="not bold"))
                self.query_one(CommandList).add_option(Option(words, disabled=True, id=self._NO_MATCHES))
            self._list_visible = bool(search_value)

        self._no_matches_timer = self.set_timer(self._NO_MATCHES_COUNTDOWN, say_so)
