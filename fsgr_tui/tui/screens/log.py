"""The whole log of a job: any length, followed while it grows, searched."""

from __future__ import annotations

import threading
from typing import ClassVar, Protocol

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.units import printable
from fsgr_tui.tui.format import BAD, DIM, WARN, cut, key_words
from fsgr_tui.tui.screens.asking import Dialog
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.log_view import LogView
from fsgr_tui.tui.widgets.words import Words

GROW_EVERY_S = 1.0
LEAST_NAME_CELLS = 8


class Lines(Protocol):
    """A log by line numbers (`jobs.lines.LineIndex`)."""

    restarts: int

    def __len__(self) -> int: ...

    def grow(self) -> bool:
        """Take in what was added; whether there may be more."""

    def lines(self, start: int, count: int) -> list[str]:
        """Lines by number."""

    def find(self, text: str, start: int, *, backwards: bool = False) -> int | None:
        """The next line that holds a text."""


class LogScreen(Dialog[None]):
    """Shows a log; all reading happens in threads, one at a time."""

    NAME: ClassVar[str] = mark("Log")
    ABOUT: ClassVar[str] = mark(
        "What a job printed, as a terminal would have left it, of any length. At its end it is followed; scrolling up "
        "stops that, and G goes back to it. A search goes around the end; upper and lower case are the same."
    )
    MORE_KEYS: ClassVar[tuple[tuple[str, str], ...]] = (
        (mark("arrows"), mark("Scroll, sideways too")),
        (mark("PgUp PgDn"), mark("A page up or down")),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", mark("Search"), key_display="/"),
        Binding("n", "find(False)", mark("Next place")),
        Binding("N", "find(True)", mark("Previous place")),
        Binding("g,home", "top", mark("Begin")),
        Binding("G,end", "bottom", mark("End, and follow")),
        Binding("escape,q", "back", mark("Back")),
    ]

    class Grown(Message):
        """The log has so many lines now."""

        def __init__(self, count: int, restarts: int, *, more: bool) -> None:
            super().__init__()
            self.count, self.restarts, self.more = count, restarts, more

    class Came(Message):
        """Lines that the view asked for."""

        def __init__(self, start: int, lines: list[str]) -> None:
            super().__init__()
            self.start, self.lines = start, lines

    class Found(Message):
        """Where a text stands; None for nowhere."""

        def __init__(self, text: str, number: int | None) -> None:
            super().__init__()
            self.text, self.number = text, number

    class Failed(Message):
        """Why the log cannot be read."""

        def __init__(self, problem: Problem) -> None:
            super().__init__()
            self.problem = problem

    def __init__(self, services: Services, name: str) -> None:
        super().__init__()
        self._services, self._job = services, name
        self._log: Lines | None = None
        self._reading = threading.Lock()
        self._growing = False
        self._restarts = 0
        self._count = 0
        self._text = ""
        self._found = Text()
        self._reading_on = True
        self._at: int | None = None
        self._title, self._view, self._foot = Words(id="log-title"), LogView(), Words(id="log-keys")
        self._input = Input(placeholder=tr("search for ..."), id="log-search")

    def compose(self) -> ComposeResult:
        """The title, the lines, the search, and the keys."""
        yield self._title
        yield self._view
        yield self._input
        yield self._foot

    def on_mount(self) -> None:
        """Open the log and follow it."""
        self._input.display = False
        self._foot.say(_keys())
        self._say()
        self._view.focus()
        self._begin_to_grow()
        self.set_interval(GROW_EVERY_S, self._begin_to_grow)

    def action_search(self) -> None:
        """Ask for a text."""
        self._input.display = True
        self._input.focus()

    def action_find(self, backwards: bool) -> None:
        """The next or the previous line that holds the text."""
        if self._text:
            step = -1 if backwards else 1
            start = self._view.first_in_sight if self._at is None else self._at + step
            self._begin_to_find(self._text, start, backwards=backwards)

    def action_top(self) -> None:
        """To the first line."""
        self._view.scroll_home(animate=False)

    def action_bottom(self) -> None:
        """To the last line, where new ones are followed."""
        self._view.scroll_end(animate=False)

    def action_back(self) -> None:
        """Out of the search, or back to the jobs."""
        if self._input.display:
            self._input.display = False
            self._view.focus()
        else:
            self.dismiss(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search from where the eye is."""
        event.stop()
        self._text, self._at = event.value, None
        self.action_back()
        self.action_find(False)

    def _begin_to_grow(self) -> None:
        if not self._growing:
            self._growing = True
            self._grow()

    @work(thread=True, group="grow")
    def _grow(self) -> None:
        try:
            with self._reading:
                self._log = self._log or self._services.log(self._job)
                more = self._log.grow()
                count, restarts = len(self._log), self._log.restarts
        except Problem as problem:
            self.post_message(self.Failed(problem))
        else:
            self.post_message(self.Grown(count, restarts, more=more))

    @work(thread=True, group="lines", exclusive=True)
    def _read(self, start: int, count: int) -> None:
        with self._reading:
            lines = self._log.lines(start, count) if self._log else []
        self.post_message(self.Came(start, lines))

    @work(thread=True, group="find", exclusive=True)
    def _search(self, text: str, start: int, backwards: bool) -> None:
        with self._reading:
            number = self._log.find(text, start, backwards=backwards) if self._log else None
        self.post_message(self.Found(text, number))

    def on_log_screen_grown(self, message: Grown) -> None:
        """Show how long it is; go on at once while there is more to read."""
        anew = message.restarts != self._restarts
        if message.count != self._count or anew:
            self._view.set_count(message.count, anew=anew)
        self._count, self._restarts = message.count, message.restarts
        self._growing = False
        self._reading_on = message.more
        self._say()
        if message.more:
            self._begin_to_grow()

    def on_log_view_wanted(self, message: LogView.Wanted) -> None:
        """Fetch lines."""
        self._read(message.start, message.count)

    def on_log_view_turned(self) -> None:
        """Say whether new lines are followed."""
        self._say()

    def on_resize(self) -> None:
        """Lay the title out."""
        self._say()

    def on_log_screen_came(self, message: Came) -> None:
        """Show them."""
        self._view.set_lines(message.start, message.lines)

    def on_log_screen_found(self, message: Found) -> None:
        """Go there, or say that it is nowhere."""
        text = cut(message.text, max(LEAST_NAME_CELLS, self.size.width // 3))
        if message.number is None:
            self._found = Text(tr("{text} is nowhere in it", text=text), WARN)
        else:
            self._at = message.number
            self._view.mark(message.number)
            self._found = Text(tr("{text} in line {line:,}", text=text, line=message.number + 1), DIM)
        self._say()

    def on_log_screen_failed(self, message: Failed) -> None:
        """Say why."""
        self._growing = False
        self._title.say(Text(f" {printable(message.problem.what)} {printable(message.problem.fix)}", BAD))

    def _begin_to_find(self, text: str, start: int, *, backwards: bool) -> None:
        self._found = Text(tr("searching ..."), DIM)
        self._say()
        self._search(text, start, backwards)

    def _say(self) -> None:
        """How long the log is, whether it is followed, and what the last search came to; the name gives way to them."""
        how = tr("reading ...") if self._reading_on else tr("following") if self._view.following else ""
        count = trn("{count:,} line", "{count:,} lines", self._count)
        if not self._count and not self._reading_on:
            count, how = tr("nothing was printed so far"), ""
        said = Text("   ").join(
            Text(part, DIM) if isinstance(part, str) else part for part in (count, how, self._found) if part
        )
        room = max(LEAST_NAME_CELLS, self.size.width - 2 - 4 - said.cell_len)
        self._title.say(Text.assemble(" ", (cut(self._job, room), "bold"), "   ", said))


def _keys() -> Text:
    return key_words(
        (
            ("/", tr("search")),
            ("n N", tr("next")),
            ("g G", tr("begin, end")),
            ("Esc", tr("back")),
            ("?", tr("help")),
        )
    )
