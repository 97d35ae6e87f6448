"""The plan's steps over the Plan place: what they are, what would stop them, and their start."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import ClassVar

import msgspec
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.plan import Plan, Step
from fsgr_tui.core.preflight import Finding, PreflightReport
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, GOOD, WARN, WAY_B
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.words import Words

_MARKS = {"ok": ("ok", DIM), "warn": ("warn", WARN), "stop": ("STOP", BAD)}
_ORDER = ("stop", "warn", "ok")
PREFLIGHTED = ("extract", "train")


class StepsScreen(ModalScreen["tuple[str, ...] | None"]):
    """Gives the names of the jobs that were started."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "start", "Start"),
        Binding("n,escape,q", "leave", "Leave"),
        Binding("r", "look_again", "Look again"),
    ]

    class Looked(Message):
        """What the preflights found, step by step."""

        def __init__(self, outcome: tuple[tuple[Step, PreflightReport], ...] | Problem) -> None:
            super().__init__()
            self.outcome = outcome

    class NotStarted(Message):
        """Why no job was started."""

        def __init__(self, problem: Problem) -> None:
            super().__init__()
            self.problem = problem

    class Started(Message):
        """The jobs that run now."""

        def __init__(self, names: tuple[str, ...]) -> None:
            super().__init__()
            self.names = names

    def __init__(self, services: Services, plan: Plan, *, start: bool) -> None:
        super().__init__()
        self._services, self._plan, self._may_start = services, plan, start
        self._looked_at = tuple(step for step in plan.commands if step.argv[1:2] and step.argv[1] in PREFLIGHTED)
        self._ready = self._starting = False
        self._findings, self._foot = Words(id="findings"), Words(id="steps-keys")

    def compose(self) -> ComposeResult:
        """The steps, the findings, and the keys."""
        with Vertical(classes="box", id="steps"):
            with VerticalScroll():
                yield Words(layout.lines(*map(_step, self._plan.commands)))
                yield self._findings
            yield self._foot

    def on_mount(self) -> None:
        """Look at what would stop the first step."""
        self.query_one(".box").border_title = "Steps" if self._may_start else "Preflight"
        self.action_look_again()

    def action_look_again(self) -> None:
        """Look anew."""
        self._ready = False
        if not self._looked_at:
            self._ready = True
            self._say_keys()
            return
        self._findings.say(Text("\nlooking at what would stop it ...", DIM))
        self._say_keys()
        self._look()

    def action_start(self) -> None:
        """Start the steps; a second press while they are being started does nothing."""
        if self._may_start and self._ready and not self._starting:
            self._starting = True
            self._start()

    def action_leave(self) -> None:
        """Back to the plan."""
        self.dismiss(None)

    @work(thread=True, exclusive=True, group="preflight")
    def _look(self) -> None:
        outcome: tuple[tuple[Step, PreflightReport], ...] | Problem
        try:
            outcome = tuple((step, self._services.preflight(step.argv[1:])) for step in self._looked_at)
        except Problem as problem:
            outcome = problem
        self.post_message(self.Looked(outcome))

    @work(thread=True, group="start")
    def _start(self) -> None:
        try:
            self.post_message(self.Started(self._services.start_steps(self._plan)))
        except Problem as problem:
            self.post_message(self.NotStarted(problem))

    def on_steps_screen_looked(self, message: Looked) -> None:
        """Show the findings, what stops first."""
        outcome = message.outcome
        if isinstance(outcome, Problem):
            self._findings.say(layout.lines("", Text(printable(outcome.what), BAD), printable(outcome.fix)))
        else:
            made: list[str] = []
            lines: list[Text] = []
            for number, (step, report) in enumerate(outcome):
                # What an earlier step makes is not there yet, and need not be.
                left = tuple(finding for finding in report.findings if not _is_about(finding, made))
                known = msgspec.structs.replace(report, findings=left)
                if number == 0:
                    self._ready = not known.stops
                lines += [
                    Text(""),
                    Text(printable(step.what), f"bold {WAY_B}"),
                    *findings_text(known, first=number == 0),
                ]
                made += step.outputs
            self._findings.say(layout.lines(*lines))
        self._say_keys()

    def on_steps_screen_started(self, message: Started) -> None:
        """Hand the jobs on."""
        self.dismiss(message.names)

    def on_steps_screen_not_started(self, message: NotStarted) -> None:
        """Say why."""
        self._starting = False
        self._findings.say(layout.lines("", Text(printable(message.problem.what), BAD), printable(message.problem.fix)))

    def _say_keys(self) -> None:
        keys = [("r", "look again"), ("Esc", "back")]
        if self._may_start and self._ready:
            keys.insert(0, ("y", "start all of them"))
        self._foot.say(Text("   ").join(Text.assemble((key, "bold"), f" {words}") for key, words in keys))


def _is_about(finding: Finding, paths: list[str]) -> bool:
    told = f"{finding.what} {finding.found} {finding.needed}"
    return any(path in told or Path(path).name in told for path in paths)


def findings_text(report: PreflightReport, *, first: bool) -> list[Text]:
    """The findings as lines: what stops, what warns, and how many are well.

    Args:
        first: whether the step would begin now; what stops a later one can be mended until then.
    """
    shown: list[Text] = []
    for finding in sorted(report.findings, key=lambda finding: _ORDER.index(finding.verdict)):
        if finding.verdict != "ok":
            shown += _finding(finding)
    well = sum(finding.verdict == "ok" for finding in report.findings)
    if not report.stops:
        shown.insert(0, Text("Nothing speaks against it." if not report.warnings else "It can start.", GOOD))
    elif not first:
        shown.insert(0, Text("It would stop here; the steps before it can run.", WARN))
    return [
        *shown,
        Text(f"{well} more looked at and well: fsgr-tui preflight {printable(report.command)} lists them", DIM),
    ]


def _finding(finding: Finding) -> list[Text]:
    word, style = _MARKS[finding.verdict]
    line = Text.assemble((f"{word:<5}", style), (f"{printable(finding.what)}: ", "bold"), printable(finding.found))
    return [line, Text(f"     {printable(finding.remedy)}")] if finding.remedy else [line]


def _step(step: Step) -> Text:
    line = Text.assemble((f"{step.what}  ", f"bold {WAY_B}"), printable(shlex.join(step.argv)))
    return line.append(f"  after {', '.join(step.needs)}", DIM) if step.needs else line
