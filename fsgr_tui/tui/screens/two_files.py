"""Two feature files compared, on top of the Features place."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import get_current_worker

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, GOOD, WARN, cut_left, key_words
from fsgr_tui.tui.screens.asking import Dialog
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.rows import Column, Row, Rows
from fsgr_tui.tui.widgets.words import Words

if TYPE_CHECKING:
    from fsgr_tui.features.agreement import ComparisonRow
    from fsgr_tui.features.compare import FeatureComparison

TELL_EVERY_S = 0.5
WIDE_FROM = 100
"""Below this width what the files have stands in one column with the details."""

_STYLES = {"same": GOOD, "note": WARN, "differs": BAD}
_ORDER = ("differs", "note", "same")


class _Left(Exception):  # noqa: N818 - it ends a comparison that nobody waits for, and is no fault
    """The screen was closed while rows were read."""


class TwoFilesScreen(Dialog[None]):
    """Compares as soon as it is opened; closing it ends the comparison."""

    NAME: ClassVar[str] = mark("Two files")
    ABOUT: ClassVar[str] = mark(
        "Whether two feature files hold the same features: how they were made, which images they have, and how far the "
        "values of up to 1,000 common images agree. `fsgr-tui check A --against B --deep` compares all of them."
    )
    MORE_KEYS: ClassVar[tuple[tuple[str, str], ...]] = ((mark("arrows"), mark("Another row")),)
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "close", mark("Close"))]

    class Progressed(Message):
        """So many rows of so many have been read."""

        def __init__(self, step: int, total: int) -> None:
            super().__init__()
            self.step, self.total = step, total

    class Compared(Message):
        """What the comparison came to."""

        def __init__(self, outcome: FeatureComparison | Problem) -> None:
            super().__init__()
            self.outcome = outcome

    def __init__(self, services: Services, path_a: str, path_b: str) -> None:
        super().__init__()
        self._services, self._a, self._b = services, path_a, path_b
        self._rows: dict[str, ComparisonRow] = {}
        self._paths, self._headline = Words(id="two-paths"), Words(id="two-headline")
        self._table = Rows(
            (
                Column(mark("verdict"), 10),
                Column(mark("what"), 24),
                Column("A", 24, from_width=WIDE_FROM),
                Column("B", 24, from_width=WIDE_FROM),
                Column(mark("detail")),
            ),
            id="two-rows",
        )
        self._detail = Words(id="two-detail")

    def compose(self) -> ComposeResult:
        """The files, the verdict, its rows, the detail of one, the keys."""
        yield self._paths
        yield self._headline
        yield self._table
        yield self._detail
        keys = (("↑ ↓", tr("row")), ("Esc", tr("close")), ("?", tr("help")))
        yield Words(key_words(keys), id="log-keys")

    def on_mount(self) -> None:
        """Compare."""
        self._headline.say(Text(tr("reading the headers and all keys ..."), DIM))
        self._table.display = False
        self._compare()

    def on_resize(self) -> None:
        """Lay the paths and the rows out."""
        self._show_rows()
        room = self.size.width - 5
        self._paths.say(
            layout.lines(
                *(
                    Text.assemble((f"{name}  ", "bold"), cut_left(path, room))
                    for name, path in (("A", self._a), ("B", self._b))
                )
            )
        )

    def action_close(self) -> None:
        """Back to the files; what is still read is given up."""
        self.dismiss(None)

    @work(thread=True, group="compare")
    def _compare(self) -> None:
        worker = get_current_worker()
        told_at = time.monotonic()

        def tell(step: int, total: int) -> None:
            nonlocal told_at
            if worker.is_cancelled:
                raise _Left
            if time.monotonic() - told_at >= TELL_EVERY_S:
                told_at = time.monotonic()
                self.post_message(self.Progressed(step, total))

        try:
            self.post_message(self.Compared(self._services.compare(self._a, self._b, tell)))
        except Problem as problem:
            self.post_message(self.Compared(problem))
        except _Left:
            return

    def on_two_files_screen_progressed(self, message: Progressed) -> None:
        """Show how far it is."""
        self._headline.say(
            Text(tr("comparing rows {step:,} of {total:,}", step=message.step, total=message.total), DIM)
        )

    def on_two_files_screen_compared(self, message: Compared) -> None:
        """Show the verdict, what differs first."""
        found = message.outcome
        if isinstance(found, Problem):
            self._headline.say(layout.lines(Text(printable(found.what), BAD), printable(found.fix)))
            return
        words, style = (tr("SAME"), GOOD) if found.same else (tr("DIFFERENT"), "#f2777a")
        verdict = (f" {words} ", f"reverse bold {style}")
        headline = Text.assemble(verdict, "  ", printable(found.headline))
        self._headline.say(layout.lines(headline, Text(printable(found.depth), DIM)))
        rows = sorted(found.rows, key=lambda row: _ORDER.index(row.verdict))
        self._rows = {f"{number}": row for number, row in enumerate(rows)}
        self._table.display = True
        self._show_rows()
        self._table.focus()
        self._show_detail(self._table.chosen)

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        """Show all of the row."""
        event.stop()
        self._show_detail(event.key)

    def _show_rows(self) -> None:
        wide = self.size.width >= WIDE_FROM
        self._table.show([Row(key, _cells(row, wide=wide)) for key, row in self._rows.items()])

    def _show_detail(self, key: str) -> None:
        row = self._rows.get(key)
        if row is None:
            return
        parts = (Text(printable(part)) for part in (_values(row), row.detail) if part)
        self._detail.say(layout.lines(Text(row.label, "bold"), *parts))


def _values(row: ComparisonRow) -> str:
    return f"A {row.a or '-'}   B {row.b or '-'}" if row.a or row.b else ""


def _cells(row: ComparisonRow, *, wide: bool) -> tuple[tuple[str, str], ...]:
    from fsgr_tui.features.agreement import VERDICT_WORDS

    style = DIM if row.verdict == "same" else ""
    return (
        (tr(VERDICT_WORDS[row.verdict]), _STYLES[row.verdict]),
        (row.label, style),
        (row.a, style),
        (row.b, style),
        (row.detail if wide else _values(row) or row.detail, style),
    )
