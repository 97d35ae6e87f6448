"""The verdict: which way, how sure, and what would change it."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, MARK, WARN, WAY_STYLES, marked
from fsgr_tui.tui.widgets.panel import PlanPanel


class VerdictPanel(PlanPanel):
    """The largest thing on the screen."""

    TITLE: ClassVar[str] = mark("Verdict")

    def show(self, plan: Plan) -> None:
        """Show a plan's verdict."""
        self.set_title(Text.assemble(tr(self.TITLE), (agreement(plan), DIM)))
        self.draw_with(lambda _width: draw(plan))

    def show_problem(self, what: str, fix: str) -> None:
        """Say why there is no plan."""
        self.set_title(tr("No plan"))
        text = layout.lines(
            Text(printable(what), BAD), printable(fix), Text(tr("i changes what is planned, r looks again."), DIM)
        )
        self.draw_with(lambda _width: text)


def agreement(plan: Plan) -> str:
    """How far the votes agree; nothing where there is nothing to agree on."""
    verdict = plan.recommendation
    if verdict.mode == "none":
        return ""
    if verdict.confidence == 1:
        return " · " + tr("all votes agree")
    return " · " + tr("{share:.0%} of the votes", share=verdict.confidence)


def draw(plan: Plan) -> Text:
    """The verdict's lines, the most important first."""
    verdict = plan.recommendation
    own_vote = {"realtime": "A", "precomputed": "B", "none": ""}[verdict.mode]
    time_row = next((row for row in verdict.criteria if row.name == "time" and row.vote == own_vote), None)
    parts = [marked("!", tr("SIMULATED: {what}", what=line), WARN, WARN) for line in plan.simulated]
    parts += [layout.verdict_line(plan), Text(printable(verdict.reason), "" if verdict.mode != "none" else BAD)]
    if time_row:
        parts.append(Text(printable(time_row.why)))
    if verdict.certainty:
        parts.append(Text(printable(verdict.certainty), DIM))
    parts += [marked(MARK, flip, WAY_STYLES[verdict.mode], DIM) for flip in verdict.flips]
    parts += [marked("!", warning, WARN, WARN) for warning in verdict.warnings]
    return layout.lines(*parts)
