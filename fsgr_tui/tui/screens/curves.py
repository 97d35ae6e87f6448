"""The curves of a job: loss and metrics over steps, rates and use of the machine over time, other runs laid over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import ModalScreen

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, WAY_B
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.plot import Line, legend, plot
from fsgr_tui.tui.widgets.words import Words

if TYPE_CHECKING:
    from fsgr_tui.service.curves import Chart

REFRESH_S = 2.0
OVERLAID = 3
"""Other runs that are laid over the job's own curves at the most."""

Curves = dict[str, "tuple[Chart, ...]"]


class CurvesScreen(ModalScreen[None]):
    """Draws the charts of one job, and of others beside it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,n,tab", "turn(1)", "Next chart"),
        Binding("left,p,shift+tab", "turn(-1)", "Previous chart"),
        Binding("g", "log", "Logarithmic"),
        Binding("o", "overlay", "Other runs"),
        Binding("escape,q", "back", "Back"),
    ]

    class Came(Message):
        """The charts of the jobs, or why there are none."""

        def __init__(self, outcome: Curves | Problem) -> None:
            super().__init__()
            self.outcome = outcome

    def __init__(self, services: Services, job: str, others: tuple[str, ...]) -> None:
        """Make the screen.

        Args:
            others: further jobs whose curves may be laid over this one's, the newest first.
        """
        super().__init__()
        self._services, self._job, self._others = services, job, others[:OVERLAID]
        self._curves: Curves = {}
        self._at = 0
        self._log = self._over = self._busy = False
        self._head, self._plot, self._foot = Words(id="log-title"), Words(id="plot"), Words(id="log-keys")

    def compose(self) -> ComposeResult:
        """The names of the charts, the chart, the keys."""
        yield self._head
        yield self._plot
        yield self._foot

    def on_mount(self) -> None:
        """Read the curves, and go on reading them."""
        self._plot.say(Text("reading ...", DIM))
        self._foot.say(_keys())
        self._follow()
        self.set_interval(REFRESH_S, self._follow)

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._draw()

    def action_turn(self, step: int) -> None:
        """To another chart."""
        charts = self._curves.get(self._job, ())
        self._at = (self._at + step) % len(charts) if charts else 0
        self._draw()

    def action_log(self) -> None:
        """Change the axis of values."""
        self._log = not self._log
        self._draw()

    def action_overlay(self) -> None:
        """Lay the other runs over this one, or take them away."""
        self._over = not self._over
        self._follow()
        self._draw()

    def action_back(self) -> None:
        """Back to the jobs."""
        self.dismiss(None)

    def _follow(self) -> None:
        if not self._busy:
            self._busy = True
            self._fetch((self._job, *self._others) if self._over else (self._job,))

    @work(thread=True, group="curves")
    def _fetch(self, jobs: tuple[str, ...]) -> None:
        outcome: Curves | Problem
        try:
            outcome = {job: self._services.curves(job) for job in jobs}
        except Problem as problem:
            outcome = problem
        self._busy = False
        self.post_message(self.Came(outcome))

    def on_curves_screen_came(self, message: Came) -> None:
        """Draw what came."""
        if isinstance(message.outcome, Problem):
            self._plot.say(Text(f"{printable(message.outcome.what)} {printable(message.outcome.fix)}", BAD))
            return
        self._curves = message.outcome
        self._draw()

    def _draw(self) -> None:
        charts = self._curves.get(self._job)
        if charts is None or not self._plot.size.width:
            return
        if not charts:
            self._head.say(Text(f" {printable(self._job)}", "bold"))
            self._plot.say(Text("This job has told no numbers so far.", DIM))
            return
        self._at = min(self._at, len(charts) - 1)
        chart = charts[self._at]
        self._head.say(_titles(charts, self._at, self.size.width))
        lines = self._lines(chart)
        width, height = self._plot.size.width - 1, self._plot.size.height - 3
        scale = "logarithmic" if self._log else "linear"
        words = f"{printable(chart.title)}, by {chart.x_name}, {scale}"
        self._plot.say(
            layout.lines(Text(words, "bold"), plot(lines, width, max(4, height), log=self._log), legend(lines))
        )

    def _lines(self, chart: Chart) -> list[Line]:
        lines = [Line(printable(curve.name), curve.points) for curve in chart.curves]
        for job in self._others if self._over else ():
            same = next((other for other in self._curves.get(job, ()) if other.title == chart.title), None)
            lines += [Line(printable(f"{job} {curve.name}"), curve.points) for curve in (same.curves if same else ())]
        return lines


def _titles(charts: tuple[Chart, ...], at: int, width: int) -> Text:
    """The names of the charts around the present one, as many as fit."""
    line = Text(" ")
    for number in range(max(0, at - 2), len(charts)):
        title = f" {printable(charts[number].title)} "
        if line.cell_len + len(title) > width:
            break
        line.append(title, f"reverse bold {WAY_B}" if number == at else DIM)
    return line


def _keys() -> Text:
    keys = (("left right", "chart"), ("g", "logarithmic"), ("o", "other runs"), ("Esc", "back"))
    return Text("   ").join(Text.assemble((key, "bold"), f" {words}") for key, words in keys)
