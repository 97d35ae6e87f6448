"""What is planned: a form over the plan, with the verdict that would follow at its foot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM
from fsgr_tui.tui.intent_form import FIELDS, BadField, Wanted, from_texts, to_texts
from fsgr_tui.tui.screens.asking import Dialog
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.form import Form, field_of
from fsgr_tui.tui.widgets.panel import LOOKING
from fsgr_tui.tui.widgets.words import Words

PAUSE_S = 0.3
KEYS = (
    ("Enter", mark("plan with this")),
    ("Esc", mark("leave it")),
    (mark("arrows"), mark("move and choose")),
    ("F1", mark("help")),
)


@dataclass(frozen=True)
class NewPlan:
    """What was decided, and the plan for it."""

    wanted: Wanted
    plan: Plan


class IntentScreen(Dialog["NewPlan | None"]):
    """Plans anew after every edit, so that the effect of each answer shows at once."""

    NAME: ClassVar[str] = mark("What is planned")
    ABOUT: ClassVar[str] = mark(
        "All that the plan depends on and that you decide. Every change is planned at once; the verdict at the foot follows "
        "it. The fields that begin with `what if` plan for another machine or data set; nothing is started for those."
    )
    MORE_KEYS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("Enter", mark("Plan with this")),
        ("↑ ↓", mark("Field above, field below")),
        ("← →", mark("Choose a value")),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "accept", mark("Plan with this")),
        Binding("escape", "leave", mark("Leave as it was"), key_display="Esc"),
    ]

    class Planned(Message):
        """The plan for an edit, or why there is none."""

        def __init__(self, wanted: Wanted, outcome: Plan | Problem) -> None:
            super().__init__()
            self.wanted = wanted
            self.outcome = outcome

    def __init__(self, services: Services, wanted: Wanted) -> None:
        super().__init__()
        self._services = services
        self._before = wanted
        self._ready: NewPlan | None = None
        self._accepting = False
        self._pause: Timer | None = None

    def compose(self) -> ComposeResult:
        """The form, the verdict that would follow, and the keys."""
        with Vertical(classes="box", id="intent"):
            yield Form(FIELDS, to_texts(self._before))
            yield Words(Text(tr(LOOKING), DIM), id="outcome")
            yield Words(layout.key_words([(tr(key), tr(words)) for key, words in KEYS]))

    def on_mount(self) -> None:
        """Say what follows from the present answers."""
        self.query_one(".box").border_title = tr(self.NAME)
        self._plan_now()

    def on_form_edited(self) -> None:
        """Plan once the hand rests."""
        self._ready = None
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(PAUSE_S, self._plan_now)

    def on_form_entered(self) -> None:
        """Take this plan."""
        self.action_accept()

    def action_accept(self) -> None:
        """Close with the plan for what the form says, as soon as there is one."""
        if self._ready is not None:
            self.dismiss(self._ready)
            return
        self._accepting = True
        self._plan_now()

    def action_leave(self) -> None:
        """Close without a change."""
        self.dismiss(None)

    def _plan_now(self) -> None:
        if self._pause is not None:
            self._pause.stop()
        try:
            wanted = from_texts(self.query_one(Form).values, self._before.intent)
        except BadField as fault:
            self._show_fault(fault.name, fault)
        else:
            self._fetch(wanted)

    @work(thread=True, exclusive=True)
    def _fetch(self, wanted: Wanted) -> None:
        outcome: Plan | Problem
        try:
            outcome = self._services.plan(wanted)
        except Problem as problem:
            outcome = problem
        self.post_message(self.Planned(wanted, outcome))

    def on_intent_screen_planned(self, message: Planned) -> None:
        """Show the verdict, or the fault at its field."""
        if not self.is_current:
            # A plan for an earlier keystroke came first, was the same, and has closed the form.
            return
        form = self.query_one(Form)
        if isinstance(message.outcome, Problem):
            self._show_fault(field_of(FIELDS, form.values, message.outcome.what, message.outcome.fix), message.outcome)
            return
        form.show_fault("", "", "")
        self.query_one("#outcome", Words).say(layout.verdict_line(message.outcome))
        if message.wanted == self._said():
            self._ready = NewPlan(message.wanted, message.outcome)
            if self._accepting:
                self.dismiss(self._ready)

    def _said(self) -> Wanted | None:
        try:
            return from_texts(self.query_one(Form).values, self._before.intent)
        except BadField:
            return None

    def _show_fault(self, name: str, problem: Problem) -> None:
        self._accepting = False
        self.query_one(Form).show_fault(name, problem.what, problem.fix)
        words = (
            Text(tr("no plan for this"), BAD)
            if name
            else layout.lines(Text(printable(problem.what), BAD), printable(problem.fix))
        )
        self.query_one("#outcome", Words).say(words)
