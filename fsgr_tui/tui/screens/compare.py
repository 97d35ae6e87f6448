"""Place 5: the guide's numbers beside what arithmetic gives and what was measured here, and the three ways."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from fsgr_tui.core.language import mark, sentences, tr
from fsgr_tui.core.plan import Plan, WayPlan
from fsgr_tui.core.units import format_bytes, format_duration, format_gib, printable
from fsgr_tui.tui.format import BAD, DIM, GOOD, WARN, WAY_A, WAY_B
from fsgr_tui.tui.screens.place import Place
from fsgr_tui.tui.widgets.rows import Column, Row, Rows
from fsgr_tui.tui.widgets.words import Words

GUIDE_COLUMNS = (
    Column(mark("what"), 34, least=14),
    Column(mark("guide"), 22),
    Column(mark("computed"), 40, least=16),
    Column(mark("measured here")),
)
WAY_COLUMNS = (
    Column(mark("way"), 14),
    Column(mark("fits"), 8),
    Column(mark("stored"), 9, from_width=64),
    Column(mark("before"), 9, from_width=76),
    Column(mark("epoch"), 9),
    Column(mark("in all"), 9),
    Column(mark("GPU memory"), 10),
    Column(mark("same model"), from_width=76),
)
_FITS = {True: (mark("fits"), GOOD), False: (mark("not here"), BAD), None: (mark("unknown"), WARN)}


class ComparePlace(Place):
    """Shows what the latest plan has of both."""

    NAME: ClassVar[str] = mark("Compare")
    ABOUT: ClassVar[str] = mark(
        "Above: the ways side by side for what is planned. Below: what the guide says, what arithmetic gives, and what was "
        "measured on this machine; `fsgr-tui bench` measures it. The line under the table says why they differ."
    )
    AUTO_FOCUS: ClassVar[str | None] = "#guide"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("e", "app.extract", mark("Extract"))]

    def __init__(self) -> None:
        super().__init__()
        self._plan: Plan | None = None
        self._where = Words(id="where")
        self._ways, self._guide = Rows(WAY_COLUMNS, id="ways"), Rows(GUIDE_COLUMNS, id="guide")
        self._detail = Words(id="why")

    def body(self) -> ComposeResult:
        """The ways above the guide's numbers, and the reason for the row under the cursor."""
        yield self._where
        yield self._ways
        yield self._guide
        yield self._detail

    def on_mount(self) -> None:
        """Draw what is known."""
        self._ways.border_title = Text.assemble(" ", tr("Three ways"), " ")
        self._guide.border_title = Text.assemble(" ", tr("The guide's numbers"), " ")
        self._draw()

    def show_plan(self, plan: Plan, features_dir: str) -> None:  # noqa: ARG002 - the place's signature
        """Show another plan."""
        self._plan = plan
        if self.is_mounted:
            self._draw()

    @on(Rows.Chosen)
    def _other_row(self, event: Rows.Chosen) -> None:
        event.stop()
        self._explain(event.control)

    def _draw(self) -> None:
        plan = self._plan
        if plan is None:
            self._where.say(Text(" " + tr("There is no plan yet; place 1 says why."), DIM))
            return
        simulated = tr("SIMULATED: {what}", what=", ".join(plan.simulated)) + "   " if plan.simulated else ""
        ground = (
            tr("rates measured here {when}", when=plan.calibrated)
            if plan.calibrated
            else tr("rates not measured here yet: fsgr-tui bench")
        )
        words = Text.assemble(" ", (printable(simulated), WARN), (printable(plan.intent.clip_model), "bold"))
        self._where.say(words.append(f"   {printable(ground)}", DIM))
        self._ways.show([_way_row(way, plan.recommendation.mode, plan.recommendation.cache) for way in plan.ways])
        self._guide.show([
            Row(str(number), ((row.what, ""), (row.guide, DIM), (row.computed, ""), (row.measured or "-", GOOD if row.measured else DIM)))
            for number, row in enumerate(plan.guide)
        ])  # fmt: skip
        self._explain(self._guide)

    def _explain(self, table: Rows) -> None:
        plan = self._plan
        if plan is None or not table.chosen:
            return
        if table is self._ways:
            words = next((way.exactness for way in plan.ways if way.name == table.chosen), "")
        else:
            row = plan.guide[int(table.chosen)]
            words = tr("{what}: {computed}", what=row.what, computed=row.computed)
            if row.note:
                words = sentences(tr("{what}: {computed}.", what=row.what, computed=row.computed), row.note)
        self._detail.say(Text(f" {printable(words)}"))


def _way_row(way: WayPlan, mode: str, cache: str) -> Row:
    recommended = way.name == (cache or mode)
    style = {"realtime": WAY_A, "precomputed": WAY_B}.get(way.name, "")
    name = f"{'>' if recommended else ' '} {tr(way.name)}"
    fits, fits_style = _FITS[way.fits]
    return Row(
        way.name,
        (
            (name, f"bold {style}" if recommended else ""),
            (tr(fits), fits_style),
            (format_bytes(way.stored_bytes) if way.stored_bytes else "-", ""),
            (format_duration(way.preparation.likely) if way.preparation.likely else "-", ""),
            (format_duration(way.epoch.likely), ""),
            (format_duration(way.total.likely), ""),
            (format_gib(way.memory.likely), ""),
            (tr("yes") if way.exact else tr("no, an approximation"), GOOD if way.exact else WARN),
        ),
    )
