"""The curves of a job: loss and metrics over steps, rates and use of the machine over time, other runs laid over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.units import format_bytes, printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, WARN, WAY_B, key_words
from fsgr_tui.tui.screens.asking import Dialog
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.plot import Line, Write, four_digits, legend, plot
from fsgr_tui.tui.widgets.words import Words

if TYPE_CHECKING:
    from fsgr_tui.service.curves import Chart

REFRESH_S = 2.0
OVERLAID = 3
"""Other runs that are laid over the job's own curves at the most."""

LEAST_PLOT_ROWS = 4

_AXES = {"step": mark("by step"), "second": mark("by second"), "minute": mark("by minute")}
_WRITERS: dict[str, Write] = {"bytes": format_bytes, "percent": "{:.0f}%".format}

Curves = dict[str, "tuple[Chart, ...]"]


class CurvesScreen(Dialog[None]):
    """Draws the charts of one job, and of others beside it."""

    NAME: ClassVar[str] = mark("Curves")
    ABOUT: ClassVar[str] = mark(
        "The numbers that a job told, one chart at a time: loss and metrics by step, rates and use of the machine by "
        "time. Up to three other runs of its kind can be laid over them; where there are several curves, letters on "
        "them tell which is which."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,n,tab", "turn(1)", mark("Next chart")),
        Binding("left,p,shift+tab", "turn(-1)", mark("Previous chart")),
        Binding("g", "log", mark("Logarithmic, or linear")),
        Binding("o", "overlay", mark("Other runs, or this one alone")),
        Binding("escape,q", "back", mark("Back")),
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
        self._plot.say(Text(tr("reading ..."), DIM))
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
        self._over = bool(self._others) and not self._over
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
        curves: Curves = {}
        outcome: Curves | Problem = curves
        for job in jobs:
            try:
                curves[job] = self._services.curves(job)
            except Problem as problem:
                # Another run's fault is that run's alone.
                if job == self._job:
                    outcome = problem
                    break
        self.post_message(self.Came(outcome))

    def on_curves_screen_came(self, message: Came) -> None:
        """Draw what came."""
        self._busy = False
        if isinstance(message.outcome, Problem):
            self._plot.say(Text(f"{printable(message.outcome.what)} {printable(message.outcome.fix)}", BAD))
            return
        self._curves = message.outcome
        self._draw()

    def _draw(self) -> None:
        self._foot.say(self._keys())
        charts = self._curves.get(self._job)
        if charts is None or not self._plot.size.width:
            return
        if not charts:
            self._head.say(Text(f" {printable(self._job)}", "bold"))
            self._plot.say(Text(tr("This job has told no numbers so far."), DIM))
            return
        self._at = min(self._at, len(charts) - 1)
        chart = charts[self._at]
        self._head.say(_titles(charts, self._at, self.size.width))
        self._plot.say(self._drawn(chart, self._plot.content_size.width - 1, self._plot.content_size.height))

    def _drawn(self, chart: Chart, width: int, height: int) -> Text:
        """What is plotted, the plot, and whose curves these are."""
        lines = self._lines(chart)
        write = _WRITERS.get(chart.form, four_digits)
        axis = tr(_AXES.get(chart.x_name, chart.x_name))
        what = tr("{title}, {axis}, {scale}", title=printable(chart.title), axis=axis, scale=self._scale)
        title = Text.assemble((what, "bold"))
        lost = sum(y is not None and y <= 0 for line in lines for _, y in line.points) if self._log else 0
        if lost:
            title.append(
                "  " + trn("{count} value at or below zero left out", "{count} values at or below zero left out", lost),
                WARN,
            )
        unread = sum(job not in self._curves for job in self._others) if self._over else 0
        if unread and not self._busy:
            title.append("  " + trn("{count} run cannot be read", "{count} runs cannot be read", unread), WARN)
        title.truncate(width, overflow="ellipsis")
        names = legend(lines, width, write)
        # Names that find no room give way to the plot.
        kept = names.split("\n")[: max(1, height - 1 - LEAST_PLOT_ROWS)]
        drawn = plot(
            lines,
            width,
            max(LEAST_PLOT_ROWS, height - 1 - len(kept)),
            log=self._log,
            from_zero=chart.from_zero,
            write=write,
        )
        return layout.lines(title, drawn, *kept)

    @property
    def _scale(self) -> str:
        return tr("logarithmic") if self._log else tr("linear")

    def _lines(self, chart: Chart) -> list[Line]:
        if not self._over:
            return [Line(printable(curve.name), curve.points) for curve in chart.curves]
        lines = []
        short = _apart(jobs := (self._job, *self._others))
        for job in jobs:
            same = next((other for other in self._curves.get(job, ()) if other.title == chart.title), None)
            curves = same.curves if same else ()
            # With one curve to a run the run's name says it all.
            lines += [
                Line(printable(job if len(curves) == 1 else f"{short[job]} {curve.name}"), curve.points)
                for curve in curves
            ]
        return lines

    def _keys(self) -> Text:
        count = len(self._others)
        others = tr("alone") if self._over else trn("{count} other", "{count} others", count)
        return key_words(
            (
                ("← →", tr("chart")),
                ("g", tr("linear") if self._log else tr("logarithmic")),
                *((("o", others),) if count else ()),
                ("Esc", tr("back")),
                ("?", tr("help")),
            )
        )


def _apart(jobs: tuple[str, ...]) -> dict[str, str]:
    """The jobs' names without the words that all of them begin with."""
    words = [job.split("-") for job in jobs]
    same = 0
    while all(len(each) > same + 1 and each[same] == words[0][same] for each in words):
        same += 1
    return {job: "-".join(each[same:]) for job, each in zip(jobs, words, strict=True)}


def _titles(charts: tuple[Chart, ...], at: int, width: int) -> Text:
    """The names of the charts around the present one, as many as fit."""
    line = Text(f" {at + 1}/{len(charts)} ", DIM)
    for number in range(max(0, at - 2), len(charts)):
        title = Text(f" {printable(charts[number].title)} ", f"reverse bold {WAY_B}" if number == at else DIM)
        if line.cell_len + title.cell_len > width:
            break
        line.append_text(title)
    return line
