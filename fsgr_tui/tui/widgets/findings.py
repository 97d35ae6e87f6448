"""What a preflight found, as a table: what stops first; of the chosen row everything, and its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.preflight import Finding, PreflightReport, Verdict
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, GOOD, WARN
from fsgr_tui.tui.widgets.rows import Column, Row, Rows
from fsgr_tui.tui.widgets.words import Words

MARKS: dict[Verdict, tuple[str, str]] = {
    "ok": (mark("ok"), DIM),
    "warn": (mark("warn"), WARN),
    "stop": (mark("STOP"), BAD),
}
_ORDER: tuple[Verdict, ...] = ("stop", "warn", "ok")


@dataclass(frozen=True)
class Looked:
    """What one command's preflight found; `step` names it where there are several."""

    report: PreflightReport
    step: str = ""


class FindingsView(Vertical):
    """A headline, the table, and the chosen finding in full."""

    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column(mark("verdict"), 8),
        Column(mark("plan step"), 14, from_width=50),
        Column(mark("looked at"), 22),
        Column(mark("found")),
    )

    def __init__(self, *, steps: bool = False, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        """Make the view.

        Args:
            steps: whether several commands are looked at, which then are named.
        """
        super().__init__(id=id)
        self._named = steps
        kept = [column for column in self.COLUMNS if steps or column.title != "plan step"]
        self._headline, self._detail = Words(classes="headline"), Words(classes="detail")
        self._rows = Rows(kept)
        self._findings: list[tuple[str, Finding]] = []

    def compose(self) -> ComposeResult:
        """One under the other."""
        yield self._headline
        yield self._rows
        yield self._detail

    def head(self, text: Text) -> None:
        """Say something above the findings."""
        self._headline.say(text)

    def say(self, text: Text) -> None:
        """Say something instead of findings."""
        self._findings = []
        self._rows.show(())
        self._detail.say("")
        self.head(text)

    def say_problem(self, problem: Problem) -> None:
        """Say why there are no findings."""
        self.say(layout.lines(Text(printable(problem.what), BAD), printable(problem.fix)))

    def show(self, looked: Sequence[Looked]) -> None:
        """Show what was found; of several commands the first is the one that would begin now."""
        found = [(one.step, finding) for one in looked for finding in one.report.findings]
        self._findings = sorted(found, key=lambda row: _ORDER.index(row[1].verdict))
        self._headline.say(headline(looked))
        self._rows.show([self._row(number, step, finding) for number, (step, finding) in enumerate(self._findings)])
        self._describe()

    def _row(self, number: int, step: str, finding: Finding) -> Row:
        word, style = MARKS[finding.verdict]
        found = _found(finding) if finding.verdict != "ok" else finding.found
        cells = [(tr(word), style), (step, DIM), (finding.what, "bold"), (found, "")]
        return Row(str(number), tuple(cell for place, cell in enumerate(cells) if self._named or place != 1))

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Tell all of the finding under the cursor."""
        message.stop()
        self._describe()

    def _describe(self) -> None:
        chosen = self._rows.chosen
        if not self._findings:
            return
        _, finding = self._findings[int(chosen) if chosen.isdecimal() and int(chosen) < len(self._findings) else 0]
        # The remedy has to find room in a small window too.
        parts = [Text.assemble((printable(finding.what), "bold"), "  ", printable(_found(finding)))]
        if finding.remedy:
            parts.append(Text.assemble(("> ", WARN), printable(finding.remedy)))
        self._detail.say(layout.lines(*parts))


def _found(finding: Finding) -> str:
    return f"{finding.found} ({finding.needed})" if finding.needed else finding.found


def headline(looked: Sequence[Looked]) -> Text:
    """Whether it can start, in one line."""
    first, *later = looked
    if first.report.stops:
        count = len(first.report.stops)
        return Text(trn("{count} thing would stop or spoil it.", "{count} things would stop or spoil it.", count), BAD)
    stopped = [one.step for one in later if one.report.stops]
    if stopped:
        return Text(tr("{step} would stop as things are now; the steps before it can run.", step=stopped[0]), WARN)
    if any(one.report.warnings for one in looked):
        return Text(tr("It can start."), GOOD)
    return Text(tr("Nothing speaks against it."), GOOD)
