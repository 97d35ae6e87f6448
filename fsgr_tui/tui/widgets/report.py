"""The report of a check: the verdict in one line, every row, and how the file was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import format_duration, printable
from fsgr_tui.service.kept_checks import PastCheck
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, GOOD, WARN
from fsgr_tui.tui.widgets.panel import Panel
from fsgr_tui.tui.widgets.rows import Column, Row, Rows
from fsgr_tui.tui.widgets.words import Words

if TYPE_CHECKING:
    from fsgr_tui.features.check import CheckReport
    from fsgr_tui.features.values import CheckRow

_STYLES = {"ok": GOOD, "note": WARN, "bad": BAD}
_ORDER = ("bad", "note", "ok")
WIDE_FROM = 104


MORE_FIELDS = {
    "preprocess_difference": mark("preprocess difference"), "device": mark("device"), "batch_size": mark("batch size"),
    "images": mark("images"), "refused": mark("refused"), "ids_sha256": mark("ids sha256"), "versions": mark("versions"),
    "started": mark("started"), "ended": mark("ended"), "command": mark("command"), "format_version": mark("format version"),
}  # fmt: skip
"""What a person calls the manifest's other fields."""

RECENT_S = 60.0
LABEL_CELLS = 15


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
                Column(mark("what"), 22),
                Column(mark("expected"), 36),
                Column(mark("found"), least=20),
                Column(mark("detail"), from_width=WIDE_FROM),
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
        self.border_title = Text(" " + tr("Check") + " ")

    def show_words(self, words: Text) -> None:
        """Show a sentence instead of a report."""
        self._rows = {}
        self._headline.say(words)
        self._table.display = False
        self._detail.say("")

    def show_fault(self, fault: Problem) -> None:
        """Show why nothing could be judged."""
        self.show_words(_judged(tr("BAD"), "#f2777a", fault.what, fault.fix))

    def show(self, past: PastCheck, now: float) -> None:
        """Show what a check came to, faults first.

        Args:
            now: Unix time in seconds.
        """
        if isinstance(past.outcome, Problem):
            self.show_fault(past.outcome)
            return
        report = past.outcome
        verdict = (tr("GOOD"), GOOD) if report.good else (tr("BAD"), "#f2777a")
        # The verdict stands before it already.
        headline = report.headline.removeprefix(tr("good")).lstrip(":： ") if report.good else report.headline
        age_s = now - past.at
        when = tr("checked {age} ago", age=format_duration(age_s)) if age_s >= RECENT_S else tr("checked just now")
        self._headline.say(_judged(*verdict, headline, f"{report.depth}  ({when})"))
        rows = sorted(report.rows, key=lambda row: _ORDER.index(row.judgement))
        self._rows = {f"{number}": row for number, row in enumerate(rows)}
        self._table.display = True
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

    TITLE: ClassVar[str] = mark("Manifest")

    def show(self, report: CheckReport | None) -> None:
        """Show a report's manifest."""
        text = Text(tr("c checks the chosen file and shows how it was made"), DIM)
        if report is not None:
            manifest = report.manifest
            text = (
                _fields(msgspec.to_builtins(manifest))
                if manifest
                else Text(tr("This file carries no manifest: how it was made is not known."), WARN)
            )
        self.draw_with(lambda _width: text)


def _judged(verdict: str, style: str, words: str, more: str) -> Text:
    """A verdict as a block of colour, what it says, and a second line."""
    first = Text.assemble((f" {verdict} ", f"reverse bold {style}"), "  ", printable(words))
    return layout.lines(first, Text(printable(more), DIM))


def _cells(row: CheckRow) -> tuple[tuple[str, str], ...]:
    from fsgr_tui.features.values import JUDGEMENT_WORDS

    style = "" if row.judgement != "ok" else DIM
    judged = (tr(JUDGEMENT_WORDS[row.judgement]), _STYLES[row.judgement])
    return (judged, (row.label, ""), (row.expected, DIM), (row.found, style), (row.detail, style))


def _fields(values: dict[str, Any]) -> Text:
    from fsgr_tui.features.manifest import FIELD_WORDS

    parts = []
    for name, value in values.items():
        if value in ("", 0, [], {}, None):
            continue
        words = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else value
        words = ", ".join(map(str, words)) if isinstance(words, (list, tuple)) else str(words)
        if not words:
            continue
        label = tr(FIELD_WORDS.get(name) or MORE_FIELDS.get(name) or name.replace("_", " "))
        parts.append(
            Text.assemble((set_cell_size(label, max(cell_len(label) + 1, LABEL_CELLS)), DIM), printable(words))
        )
    return layout.lines(*parts)
