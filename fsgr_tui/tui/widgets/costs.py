"""Time and GPU memory of both ways, side by side, each with its ground."""

from __future__ import annotations

import re
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import Plan
from fsgr_tui.service.markdown import time_rows
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import DIM, WAY_A, WAY_B, pad
from fsgr_tui.tui.widgets.panel import PlanPanel

HEADER = ("", mark("realtime"), mark("precomputed"), mark("basis"))


class CostsPanel(PlanPanel):
    """Answers "is it worth it"."""

    TITLE: ClassVar[str] = mark("Time and GPU memory")

    def show(self, plan: Plan) -> None:
        """Show a plan's times and memory."""
        self.draw_with(lambda width: draw(plan, width))


def draw(plan: Plan, width: int) -> Text:
    """The same rows as the report has; spans are left out where they find no room."""
    header = tuple(tr(word) if word else "" for word in HEADER)
    rows = [header, *time_rows(plan)]
    gap, widths = 2, _widths(rows)
    if sum(widths) + 3 * gap > width:
        rows = [header, *map(_without_span, rows[1:])]
        widths = _widths(rows)
    if sum(widths) + 3 * gap > width:
        # What is no time or size of both ways stands in the verdict, too.
        gap, rows = 1, [header, *(row for row in rows[1:] if row[1])]
        widths = _widths(rows)
    # The label gives way last: its beginning tells enough.
    widths[0] = max(8, min(widths[0], width - sum(widths[1:]) - 3 * gap))
    mode = plan.recommendation.mode
    styles = (DIM, WAY_A if mode == "realtime" else "", WAY_B if mode == "precomputed" else "", DIM)
    parts = []
    for number, row in enumerate(rows):
        line = Text()
        for cell, cells, style in zip(row, widths, styles, strict=True):
            line.append(pad(cell, cells) + " " * gap, f"{style} bold" if number == 0 and cell else style)
        line.rstrip()
        parts.append(line)
    return layout.lines(*parts)


def _without_span(row: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(re.split(r" \(|（", cell)[0] for cell in row)


def _widths(rows: list[tuple[str, ...]]) -> list[int]:
    return [max(cell_len(row[column]) for row in rows) for column in range(len(HEADER))]
