"""Place 2: an extraction as a form, with the command line that it stands for."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.timer import Timer

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.units import format_bytes, printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.extract_form import FIELDS, OVERWRITE, command_line, output_follows, request_for, texts_for
from fsgr_tui.tui.format import BAD, DIM, GOOD, WARN
from fsgr_tui.tui.intent_form import BadField, path
from fsgr_tui.tui.screens.asking import Question
from fsgr_tui.tui.screens.place import Place
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.form import Form, field_of
from fsgr_tui.tui.widgets.panel import Panel
from fsgr_tui.tui.widgets.words import Words

if TYPE_CHECKING:
    from fsgr_tui.service.extraction import Prepared

PAUSE_S = 0.5


class CommandPanel(Panel):
    """The command line that the form stands for."""

    TITLE: ClassVar[str] = "The same on the command line"

    def show(self, argv: tuple[str, ...]) -> None:
        """Show a command, quoted so that it can be pasted."""
        text = Text(printable(shlex.join(argv)))
        self.draw_with(lambda _width: text)


class RunPlace(Place):
    """Prepares and starts an extraction."""

    NAME: ClassVar[str] = "Run"
    ABOUT: ClassVar[str] = (
        "An extraction, filled in from the plan. Everything that could stop it is looked at before anything starts; a "
        "fault stands below the field that it belongs to. The job that is started belongs to no terminal: it goes on "
        "when this screen is closed. Up and down change the field, left and right a choice; Escape leaves the fields."
    )
    AUTO_FOCUS: ClassVar[str | None] = "Input"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start the extraction"),
        Binding("ctrl+r", "fill_again", "Fill in from the plan"),
    ]

    class Checked(Message):
        """What speaks against the form as it is, if anything."""

        def __init__(self, texts: dict[str, str], outcome: Prepared | Problem) -> None:
            super().__init__()
            self.texts = texts
            self.outcome = outcome

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
        self._texts: dict[str, str] = {field.name: "" for field in FIELDS}
        self._starting = False
        self._pause: Timer | None = None

    def body(self) -> ComposeResult:
        """The form beside (or above) its command and what speaks against it."""
        with Horizontal(id="run"):
            yield Form(FIELDS, {})
            with Vertical(id="beside"):
                yield Words(Text("looking ...", DIM), id="outcome")
                yield CommandPanel()

    def show_plan(self, plan: Plan, features_dir: str) -> None:
        """Know the latest plan; a form that nobody touched follows it when its choice changes."""
        before, self._plan, self._features_dir = self._plan, plan, features_dir
        changed = before is None or (before.recommendation.choice, before.dataset.root) != (
            plan.recommendation.choice,
            plan.dataset.root,
        )
        if changed and self.is_mounted and self._filled_for is before:
            self.action_fill_again()

    def on_mount(self) -> None:
        """Fill the form."""
        self.query_one(Form).border_title = "Extract grid features"
        if self._plan is not None:
            self.action_fill_again()

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
        self._texts = message.texts
        self.query_one(Form).fill(message.texts)
        self._look_at_form()

    def on_form_edited(self) -> None:
        """Show the command at once, and what speaks against it when the hand rests."""
        self._filled_for = None
        form = self.query_one(Form)
        form.fill({"output": output_follows(self._texts, form.values, self._features_dir)})
        self._texts = form.values
        self.query_one(CommandPanel).show(command_line(self._texts))
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(PAUSE_S, self._look_at_form)

    def on_form_entered(self) -> None:
        """Enter goes on to the next field; starting takes a key of its own."""
        self.focus_next()

    def action_start(self) -> None:
        """Look once more at everything, then start."""
        texts = self.query_one(Form).values
        if texts["existing"] == OVERWRITE:
            question = Question(f"Replace {path(texts['output'])}?", "What is there, finished or not, will be lost.")
            self.app.push_screen(question, lambda yes: self._start(texts) if yes else None)
        else:
            self._start(texts)

    def _start(self, texts: dict[str, str]) -> None:
        if not self._starting:
            self._starting = True
            self._fetch(texts, start=True)

    def _look_at_form(self) -> None:
        texts = self.query_one(Form).values
        self.query_one(CommandPanel).show(command_line(texts))
        if not self._starting:
            self._fetch(texts, start=False)

    @work(thread=True, exclusive=True, group="prepare")
    def _fetch(self, texts: dict[str, str], *, start: bool) -> None:
        try:
            prepared = self._services.prepare(request_for(texts))
            if start:
                self.post_message(self.Started(self._services.start(prepared)))
                return
        except Problem as problem:
            self._starting = False
            self.post_message(self.Checked(texts, problem))
        else:
            self.post_message(self.Checked(texts, prepared))

    def on_run_place_started(self) -> None:
        """Be ready for another one; the message goes on to the app."""
        self._starting = False

    def on_run_place_checked(self, message: Checked) -> None:
        """Show what was found, unless the form has changed since."""
        form = self.query_one(Form)
        if message.texts != form.values:
            return
        outcome, words = message.outcome, self.query_one("#outcome", Words)
        if not isinstance(outcome, Problem):
            form.show_fault("", "", "")
            words.say(ready_words(outcome))
            return
        name = (
            outcome.name if isinstance(outcome, BadField) else field_of(FIELDS, form.values, outcome.what, outcome.fix)
        )
        form.show_fault(name, outcome.what, outcome.fix)
        elsewhere = layout.lines(Text(printable(outcome.what), BAD), printable(outcome.fix))
        words.say(elsewhere if not name else Text(f'Cannot start yet: look at the field "{label_of(name)}".', WARN))


def ready_words(prepared: Prepared) -> Text:
    """What would be done."""
    size = f"{prepared.shape.words} each, {format_bytes(prepared.need_bytes)} at the most"
    folder = printable(str(prepared.output.parent))
    free = "" if prepared.free_bytes is None else f"; {format_bytes(prepared.free_bytes)} free in {folder}"
    parts = [Text("Ready: nothing speaks against it.", GOOD), Text(f"{len(prepared.images):,} images, {size}{free}")]
    parts += [Text(printable(notice), WARN) for notice in prepared.notices]
    if prepared.request.model.weights.startswith("random:"):
        parts.append(Text("Random weights: an untrained model, for trying things out only.", WARN))
    return layout.lines(*parts, Text.assemble(("Ctrl+S", "bold"), " starts it."))


def label_of(name: str) -> str:
    """A field's label."""
    return next(field.label for field in FIELDS if field.name == name)
