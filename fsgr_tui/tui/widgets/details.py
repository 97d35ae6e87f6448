"""The rest of a plan: the next commands, the data set, the choices, and the guide's numbers."""

from __future__ import annotations

import shlex
from typing import ClassVar

from rich.text import Text

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.units import format_bytes, printable
from fsgr_tui.service.markdown import dataset_rows
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, GOOD, MARK, WARN, WAY_B, marked
from fsgr_tui.tui.widgets.panel import PlanPanel

_FITS = {True: (mark("fits"), GOOD), False: (mark("does not fit"), BAD), None: (mark("unknown"), WARN)}


class NextPanel(PlanPanel):
    """What to run next, ready to copy."""

    TITLE: ClassVar[str] = mark("Next")

    def show(self, plan: Plan) -> None:
        """Show a plan's commands."""
        steps = [
            Text.assemble((f"{tr(step.what)}  ", f"bold {WAY_B}"), printable(shlex.join(step.argv)))
            for step in plan.commands
        ]
        text = (
            layout.lines(*steps) if steps else Text(tr("Make room on a disk, or find a GPU; then r looks again."), WARN)
        )
        self.draw_with(lambda _width: text)


class DatasetPanel(PlanPanel):
    """What the plan is for."""

    TITLE: ClassVar[str] = mark("Data set")

    def show(self, plan: Plan) -> None:
        """Show a plan's splits."""
        dataset = plan.dataset
        where = (
            Text(printable(dataset.root), DIM)
            if dataset.root
            else Text(tr("no image root: the published counts are planned with"), DIM)
        )
        parts = [where]
        for name, count, size, remarks in dataset_rows(dataset):
            line = Text.assemble((f"{name}  ", "bold"), tr("{count}, {size}", count=count, size=size))
            parts.append(line.append(f"  {remarks}", WARN) if remarks else line)
        text = layout.lines(*parts)
        self.draw_with(lambda _width: text)


class LadderPanel(PlanPanel):
    """The choices from the largest to the smallest."""

    TITLE: ClassVar[str] = mark("Choices, largest first")

    def show(self, plan: Plan) -> None:
        """Show a plan's ladder."""
        chosen = plan.recommendation.choice
        parts = []
        for rung in plan.ladder:
            is_chosen = (rung.grid, rung.dtype, rung.splits) == (chosen.grid, chosen.dtype, chosen.splits)
            fits, style = _FITS[rung.fits]
            sign = MARK if is_chosen and plan.recommendation.mode == "precomputed" else " "
            size = format_bytes(rung.feature_bytes)
            if len(rung.splits) != len(plan.dataset.splits):
                size = tr("{size}, only {splits}", size=size, splits=", ".join(rung.splits))
            need = tr("{size} with checkpoints and reserve", size=format_bytes(rung.need_bytes))
            body = tr("{choice}  {size}, {need}: ", choice=rung.label, size=size, need=need)
            parts.append(marked(sign, body, f"bold {WAY_B}").append(tr(fits), style))
        text = layout.lines(*parts)
        self.draw_with(lambda _width: text)


class GuidePanel(PlanPanel):
    """The guide's numbers beside the truth."""

    TITLE: ClassVar[str] = mark("The guide's numbers")

    def show(self, plan: Plan) -> None:
        """Show what the guide says, what arithmetic gives, and why they differ."""
        parts = []
        for row in plan.guide:
            line = Text.assemble(
                (tr("{what}: ", what=row.what), "bold"), (row.guide, DIM), (f" {MARK} ", WAY_B), row.computed
            )
            parts.append(line.append(f"  {row.note}", DIM) if row.note else line)
        text = layout.lines(*parts)
        self.draw_with(lambda _width: text)
