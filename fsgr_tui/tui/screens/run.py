"""Place 2: an extraction or a training as a form, with its command, its preflight, and the jobs that wait."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import ScreenResume
from textual.message import Message
from textual.timer import Timer

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import mark
from fsgr_tui.core.plan import Plan
from fsgr_tui.tui.format import BAD, WARN
from fsgr_tui.tui.order import Ready, order_for
from fsgr_tui.tui.run_fields import (
    EXTRACT,
    PRECOMPUTED,
    REALTIME,
    texts_for,
)
from fsgr_tui.tui.run_words import faulty_field, question_for, ready_words, refused_words
from fsgr_tui.tui.screens.asking import Question
from fsgr_tui.tui.screens.place import Place
from fsgr_tui.tui.seen import JobsSeen
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.beside import FINDINGS, QUEUE, Beside
from fsgr_tui.tui.widgets.queue import waiting_jobs
from fsgr_tui.tui.widgets.run_form import RunForm

PAUSE_S = 0.5


class RunPlace(Place):
    """Prepares and starts an extraction or a training."""

    NAME: ClassVar[str] = "Run"
    ABOUT: ClassVar[str] = mark(
        "An extraction or a training, filled in from the plan. Everything that could stop it is looked at before anything "
        "starts; a fault stands below the field that it belongs to. The job that is started belongs to no terminal: it "
        "goes on when this screen is closed. Up and down change the field, left and right a choice; Escape leaves the "
        "fields, Tab or Enter goes back into them."
    )
    AUTO_FOCUS: ClassVar[str | None] = "Choice"
    MORE_KEYS: ClassVar[tuple[tuple[str, str], ...]] = (("x", mark("Take the chosen job out of the queue")),)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", mark("Start")),
        Binding("ctrl+t,p", "preflight", mark("Preflight")),
        Binding("ctrl+y,c", "copy", mark("Copy")),
        Binding("ctrl+g,g", "queue", mark("See queue")),
        Binding("ctrl+r", "fill_again", mark("Fill in from the plan")),
        Binding("enter", "go_back_in", mark("Into the form"), show=False),
        Binding("tab", "go_in(1)", mark("Into the form"), show=False),
        Binding("shift+tab", "go_in(-1)", mark("Back into the form"), show=False),
    ]

    class Checked(Message):
        """What speaks against the form as it is, if anything; `start` when it was to be started."""

        def __init__(self, texts: dict[str, str], outcome: Ready | Problem, *, start: bool = False) -> None:
            super().__init__()
            self.texts = texts
            self.outcome = outcome
            self.start = start

    class Defaults(Message):
        """The texts for a plan, with the workers that this machine suggests."""

        def __init__(self, texts: dict[str, str]) -> None:
            super().__init__()
            self.texts = texts

    class Started(Message):
        """A job was started."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._plan: Plan | None = None
        self._features_dir = ""
        self._filled_for: Plan | None = None
        self._wanted = ""
        self._seen = JobsSeen()
        self._starting = False
        self._pause: Timer | None = None
        self._view = ""
        self._form, self._beside = RunForm(), Beside(services)

    def body(self) -> ComposeResult:
        """The form beside (or above) its command and what speaks against it."""
        with Horizontal(id="run"):
            yield self._form
            yield self._beside

    def show_plan(self, plan: Plan, features_dir: str) -> None:
        """Know the latest plan; a form that nobody touched follows it when its choice changes."""
        before, self._plan, self._features_dir = self._plan, plan, features_dir
        changed = before is None or (before.recommendation.choice, before.dataset.root) != (
            plan.recommendation.choice,
            plan.dataset.root,
        )
        if changed and self.is_mounted and self._filled_for is before:
            self.action_fill_again()

    def show_jobs(self, seen: JobsSeen) -> None:
        """Know which jobs wait; what one that has ended made may be what was missing."""
        before, self._seen = self._seen, seen
        if self.is_mounted:
            self._say_queue()
            if len(before.running) != len(seen.running) and self.is_current:
                self._look_at_form()

    def point_at(self, what: str) -> None:
        """Turn to the extraction, or to the training that the plan recommends."""
        realtime = self._plan is not None and self._plan.recommendation.mode == "realtime"
        self._wanted = EXTRACT if what == EXTRACT else REALTIME if realtime else PRECOMPUTED
        if self._form.texts["what"] not in ("", self._wanted):
            self._form.fill({"what": self._wanted})
            self._take_edit()

    def on_mount(self) -> None:
        """Fill the form."""
        self._say_queue()
        if self._plan is not None:
            self.action_fill_again()

    def on_screen_resume(self, event: ScreenResume) -> None:  # noqa: ARG002 - Textual's signature
        """Look again: the disk may have changed since."""
        self._look_at_form()

    def action_fill_again(self) -> None:
        """Forget what was typed, and take the plan's choice."""
        if self._plan is not None:
            self._filled_for = self._plan
            self._fetch_defaults(self._plan, self._features_dir)

    @work(thread=True, exclusive=True, group="defaults")
    def _fetch_defaults(self, plan: Plan, features_dir: str) -> None:
        self.post_message(self.Defaults(texts_for(plan, features_dir, self._services.workers())))

    def on_run_place_defaults(self, message: Defaults) -> None:
        """Fill the form, and look at it."""
        self._form.fill_in({**message.texts, "what": self._wanted or message.texts["what"]})
        self._show_form()
        self._look_at_form()

    def on_form_edited(self) -> None:
        """Follow an edit."""
        self._filled_for = None
        self._wanted = self._form.values["what"]
        self._take_edit()

    def _take_edit(self) -> None:
        """Show the command at once, and what speaks against it when the hand rests."""
        self._form.follow(self._features_dir, self._seen)
        self._show_form()
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(PAUSE_S, self._look_at_form)

    def _show_form(self) -> None:
        self._form.say_title(self._seen)
        self._beside.show_command(self._form.texts)

    def on_form_entered(self) -> None:
        """Enter goes on to the next field; starting takes a key of its own."""
        self._form.action_step(1)

    def action_go_in(self, step: int) -> None:
        """Back to the field that was left; else on to the next one, or the one before."""
        if self.focused is None:
            self._form.go_back()
        elif step > 0:
            self.focus_next()
        else:
            self.focus_previous()

    def action_go_back_in(self) -> None:
        """Back to the field that was left."""
        self._form.go_back()

    def action_let_go(self) -> None:
        """Back from a view; out of the field in focus, which is kept in mind."""
        if self.maximized is None and self._view:
            self._look_at("")
            return
        self._form.leave()
        super().action_let_go()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what does something."""
        if action == "go_back_in":
            return self.focused is None
        if action == "let_go" and self._view:
            return True
        return super().check_action(action, parameters)

    def action_start(self) -> None:
        """Look once more at everything, then start."""
        texts = self._form.values
        asked = question_for(texts)
        if asked is None:
            self._start(texts)
        else:
            self.app.push_screen(Question(*asked), lambda yes: self._start(texts) if yes else None)

    def _start(self, texts: dict[str, str]) -> None:
        if not self._starting:
            self._starting = True
            self._fetch(texts, start=True)

    def _look_at_form(self) -> None:
        if self._form.texts["what"] and not self._starting:
            self._fetch(self._form.values, start=False)

    @work(thread=True, exclusive=True, group="prepare")
    def _fetch(self, texts: dict[str, str], *, start: bool) -> None:
        try:
            ready = self._services.prepare(order_for(texts))
            if start:
                self.post_message(self.Started(self._services.start(ready)))
                return
        except Problem as problem:
            self._starting = False
            self.post_message(self.Checked(texts, problem, start=start))
        else:
            self.post_message(self.Checked(texts, ready))

    def on_run_place_started(self) -> None:
        """Be ready for another one; the message goes on to the app."""
        self._starting = False
        self._look_at("")

    def on_run_place_checked(self, message: Checked) -> None:
        """Show what was found, unless the form has changed since."""
        form, outcome = self._form, message.outcome
        if message.texts != form.values:
            return
        fault = outcome if isinstance(outcome, Problem) else outcome.missing
        field = faulty_field(message.texts, fault)
        name = field.name if field else ""
        if fault is None:
            form.show_fault("", "", "")
        else:
            form.show_fault(name, fault.what, fault.fix, BAD if fault is outcome else WARN)
        if message.start:
            # What was refused is said at the form.
            self._look_at("")
            if field:
                form.enter(name)
        self._beside.say(refused_words(outcome, field) if isinstance(outcome, Problem) else ready_words(outcome))

    def action_copy(self) -> None:
        """Copy the command, and show it alone."""
        from fsgr_tui.tui.screens.command import CommandScreen

        if command := self._beside.command:
            self.app.push_screen(CommandScreen(command))

    def action_queue(self) -> None:
        """Look at the jobs that wait."""
        self._look_at(QUEUE)

    def action_preflight(self) -> None:
        """Look for everything that would stop or spoil what the form stands for; Escape leaves it looking."""
        self._look_at(FINDINGS)
        self._beside.preflight(self._form.texts)

    def _look_at(self, view: str) -> None:
        """Show a view, and put the focus into it; no view goes back to the form."""
        if view:
            self._form.leave()
        self._view = view
        for name in (FINDINGS, QUEUE):
            self.set_class(view == name, f"-{name}")
        if view:
            self.call_after_refresh(self.query_one(f"#{view} Rows").focus)
        else:
            self._form.go_back()
        self.refresh_bindings()

    def _say_queue(self) -> None:
        self._beside.show_jobs(waiting_jobs(self._seen))
        self._form.say_title(self._seen)
        self.refresh_bindings()
