"""The report of a check: the verdict in one line, every row, and how the file was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, GOOD, WARN
from fsgr_tui.tui.widgets.panel import Panel
from fsgr_tui.tui.widgets.rows import Column, Row, Rows
from fsgr_tui.tui.widgets.words import Words

if TYPE_CHECKING:
    from fsgr_tui.features.check import CheckReport
    from fsgr_tui.features.values import CheckRow

_MARKS = {"ok": ("ok", GOOD), "note": ("note", WARN), "bad": ("BAD", BAD)}
_ORDER = ("bad", "note", "ok")
WIDE_FROM = 104


class ReportPanel(Vertical):
    """The verdict above its rows; below them the detail of the row under the cursor."""

    ALLOW_MAXIMIZE = True

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, CheckRow] = {}
        self._headline = Words(id="headline")
        self._table = Rows(
            (
                Column("", 4),
                Column("what", 22),
                Column("expected", 36),
                Column("found", 200),
                Column("detail", from_width=WIDE_FROM),
            ),
            id="checks",
        )
        self._detail = Words(id="detail")

    def compose(self) -> ComposeResult:
        """The verdict, its rows, and a detail."""
        yield self._headline
        yield self._table
        yield self._detail

    def on_mount(self) -> None:
        """Name the panel."""
        self.border_title = Text(" Check ")

    def show_words(self, words: Text) -> None:
        """Show a sentence instead of a report."""
        self._rows = {}
        self._headline.say(words)
        self._table.show([])
        self._detail.say("")

    def show(self, report: CheckReport) -> None:
        """Show a report, faults first."""
        mark = (" GOOD ", f"reverse bold {GOOD}") if report.good else (" BAD ", "reverse bold #f2777a")
        headline = report.headline.removeprefix("good: ")
        self._headline.say(
            layout.lines(Text.assemble(mark, "  ", printable(headline)), Text(printable(report.depth), DIM))
        )
        rows = sorted(report.rows, key=lambda row: _ORDER.index(row.judgement))
        self._rows = {f"{number}": row for number, row in enumerate(rows)}
        self._table.show([Row(key, _cells(row)) for key, row in self._rows.items()])
        self._show_detail(self._table.chosen)

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        """Show the detail of the row."""
        event.stop()
        self._show_detail(event.key)

    def _show_detail(self, key: str) -> None:
        row = self._rows.get(key)
        self._detail.say(Text(printable(". ".join(part for part in (row.found, row.detail) if part))) if row else "")


class ManifestPanel(Panel):
    """How the file was made."""

    TITLE: ClassVar[str] = "Manifest"

    def show(self, report: CheckReport | None) -> None:
        """Show a report's manifest."""
        text = Text("c checks the chosen file and shows how it was made", DIM)
        if report is not None:
            manifest = report.manifest
            text = (
                _fields(msgspec.to_builtins(manifest))
                if manifest
                else Text("This file carries no manifest: how it was made is not known.", WARN)
            )
        self.draw_with(lambda _width: text)


def _cells(row: CheckRow) -> tuple[tuple[str, str], ...]:
    style = "" if row.judgement != "ok" else DIM
    return (_MARKS[row.judgement], (row.what, ""), (row.expected, DIM), (row.found, style), (row.detail, style))


def _fields(values: dict[str, Any]) -> Text:
    parts = []
    for name, value in values.items():
        if value in ("", 0, [], {}, None):
            continue
        words = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else value
        words = ", ".join(map(str, words)) if isinstance(words, (list, tuple)) else str(words)
        parts.append(Text.assemble((f"{name.replace('_', ' '):<15}", DIM), printable(words)))
    return layout.lines(*parts)
