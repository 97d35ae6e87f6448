"""Why: every criterion with what was seen, what it was held against, and how it votes."""

from __future__ import annotations

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import Criterion, Plan, Vote
from fsgr_tui.core.units import printable
from fsgr_tui.tui.format import BAD, DIM, WAY_A, WAY_B
from fsgr_tui.tui.widgets.panel import LOOKING
from fsgr_tui.tui.widgets.rows import Column, Row, Rows
from fsgr_tui.tui.widgets.words import Words

_VOTES: dict[Vote, tuple[str, str]] = {
    "A": ("A", f"bold {WAY_A}"),
    "B": ("B", f"bold {WAY_B}"),
    "neutral": ("·", DIM),
    "blocks": (mark("no B"), BAD),
}
REASON_COLUMN_FROM = 104


class CriteriaPanel(Vertical):
    """The table, and below it the full reason of the row under the cursor where the table has no room for reasons."""

    ALLOW_MAXIMIZE = True

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self._criteria: dict[str, Criterion] = {}
        self._table = Rows(
            (
                Column(mark("criterion"), 20),
                Column(mark("vote"), 6),
                Column(mark("observed"), 30),
                Column(mark("held against"), 30),
                Column(mark("because"), from_width=REASON_COLUMN_FROM),
            )
        )
        self._reason = Words(tr(LOOKING), id="reason")

    def compose(self) -> ComposeResult:
        """The table above its reason."""
        yield self._table
        yield self._reason

    def on_mount(self) -> None:
        """Name the panel."""
        self.border_title = Text.assemble(" ", tr("Why"), " ", ("· ", DIM), (tr("A realtime, B precomputed"), DIM), " ")

    def show(self, plan: Plan) -> None:
        """Show a plan's criteria, those that weigh most first."""
        rows = sorted(plan.recommendation.criteria, key=lambda row: -row.weight)
        self._criteria = {row.name: row for row in rows}
        self._table.show([Row(row.name, _cells(row)) for row in rows])
        self._show_reason(self._table.chosen)

    def clear(self) -> None:
        """Show nothing: there is no plan."""
        self._criteria = {}
        self._table.show([])
        self._reason.say("")

    @on(Rows.Chosen)
    def _other_row(self, event: Rows.Chosen) -> None:
        event.stop()
        self._show_reason(event.key)

    def _show_reason(self, name: str) -> None:
        row = self._criteria.get(name)
        self._reason.say(Text(printable(row.why), DIM) if row else "")


def _cells(row: Criterion) -> tuple[tuple[str, str], ...]:
    quiet = DIM if row.vote == "neutral" else ""
    ways = "".join({"realtime": "A", "precomputed": "B"}.get(way, "") for way in row.blocks)
    word, style = _VOTES[row.vote]
    vote = (tr("no {ways}", ways=ways), BAD) if ways else (tr(word), style)
    return ((tr(row.name), quiet), vote, (row.observed, quiet), (row.threshold, DIM), (row.why, quiet))
