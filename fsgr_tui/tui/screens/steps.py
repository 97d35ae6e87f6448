"""The plan's steps over the Plan place: what they are, what would stop them, and their start."""

from __future__ import annotations

import shlex
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import listed, mark, tr
from fsgr_tui.core.plan import Plan, Step
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import DIM, GOOD, WAY_B, key_words
from fsgr_tui.tui.screens.asking import Dialog
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.preflight import Asked, Preflights
from fsgr_tui.tui.widgets.words import Words

PREFLIGHTED = ("extract", "train")


class StepsScreen(Dialog["tuple[str, ...] | None"]):
    """Gives the names of the jobs that were started."""

    NAME: ClassVar[str] = mark("Steps")
    ABOUT: ClassVar[str] = mark(
        "The plan's commands in their order, and what would stop or spoil each of them. Started, every one becomes a job "
        "that waits for those that it needs. Nothing is started while something stops the first one; what an earlier "
        "step makes, a later one need not find yet."
    )
    MORE_KEYS: ClassVar[tuple[tuple[str, str], ...]] = ((mark("arrows"), mark("Another finding")),)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "start", mark("Start all of them")),
        # Before the table takes it.
        Binding("enter", "start", mark("Start all of them"), priority=True),
        Binding("n,escape,q", "leave", mark("Back")),
        Binding("r", "look_again", mark("Look again")),
    ]

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
        self._asked = tuple(
            Asked(step.argv[1:], tr(step.what), step.outputs)
            for step in plan.commands
            if step.argv[1:2] and step.argv[1] in PREFLIGHTED
        )
        self._ready = self._wanted = self._starting = False
        self._findings, self._foot = Preflights(services, steps=True), Words(id="steps-keys")

    def compose(self) -> ComposeResult:
        """The steps, the findings, and the keys."""
        with Vertical(classes="box", id="steps"):
            with VerticalScroll(id="steps-list"):
                yield Words(layout.lines(*map(_step, self._plan.commands)))
            yield self._findings
            yield self._foot

    def on_mount(self) -> None:
        """Look at what would stop them."""
        self.query_one(".box").border_title = tr("Steps") if self._may_start else tr("Preflight")
        self.query_one("#steps Rows").focus()
        self.action_look_again()

    def action_look_again(self) -> None:
        """Look anew."""
        self._ready = not self._asked
        self._findings.look(self._asked)
        self._say_keys()

    def action_start(self) -> None:
        """Start the steps; while they are still looked at, as soon as nothing speaks against the first."""
        if not self._may_start or self._starting:
            return
        if self._ready:
            self._starting = True
            self._start()
        elif self._findings.looking:
            self._wanted = True
            self._say_keys()

    def action_leave(self) -> None:
        """Back to the plan; a preflight that still looks is left to itself."""
        self.dismiss(None)

    @work(thread=True, group="start")
    def _start(self) -> None:
        try:
            self.post_message(self.Started(self._services.start_steps(self._plan)))
        except Problem as problem:
            self.post_message(self.NotStarted(problem))

    def on_preflights_done(self, message: Preflights.Done) -> None:
        """Offer the start, or do it when it was asked for."""
        self._ready = message.ready
        wanted, self._wanted = self._wanted, False
        self._say_keys()
        if wanted:
            self.action_start()

    def on_steps_screen_started(self, message: Started) -> None:
        """Hand the jobs on."""
        self.dismiss(message.names)

    def on_steps_screen_not_started(self, message: NotStarted) -> None:
        """Say why."""
        self._starting = False
        self._findings.say_problem(message.problem)

    def _say_keys(self) -> None:
        keys = [("r", tr("look again")), ("Esc", tr("back")), ("?", tr("help"))]
        if self._may_start and (self._ready or self._findings.looking) and not self._wanted:
            keys.insert(0, ("y", tr("start all of them")))
        words = key_words(keys)
        if self._wanted:
            words = Text.assemble((tr("Starts when the preflight is through."), GOOD), "   ", words)
        self._foot.say(words)


def _step(step: Step) -> Text:
    line = Text.assemble((f"{tr(step.what)}  ", f"bold {WAY_B}"), printable(shlex.join(step.argv)))
    if step.needs:
        line.append("  ").append(tr("after {steps}", steps=listed(map(tr, step.needs))), DIM)
    return line
