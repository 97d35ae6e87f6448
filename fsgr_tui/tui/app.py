"""The app: the places and their keys, and what passes between them."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.filter import LineFilter
from textual.message import Message
from textual.screen import Screen

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.plan import Intent, Plan
from fsgr_tui.core.units import printable
from fsgr_tui.tui import breaking
from fsgr_tui.tui.explaining import help_for, keys_of
from fsgr_tui.tui.intent_form import Wanted
from fsgr_tui.tui.light import LightFilter
from fsgr_tui.tui.look import LIGHT, THEME
from fsgr_tui.tui.plain import AsciiFilter, ColourlessFilter, HarmlessFilter
from fsgr_tui.tui.remembered import Remembered
from fsgr_tui.tui.screens.place import Place
from fsgr_tui.tui.screens.plan import PlanPlace
from fsgr_tui.tui.seen import JobsSeen
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.sixteen import SixteenFilter
from fsgr_tui.tui.widgets.chrome import TopWords

if TYPE_CHECKING:
    from fsgr_tui.tui.screens.intent import NewPlan
    from fsgr_tui.tui.screens.jobs import JobsPlace
    from fsgr_tui.tui.screens.run import RunPlace

JOBS_POLL_S = 1.0
NAMES = ("plan", "run", "jobs", "features", "compare")


class ScreenApp(App[int]):
    """Keeps the latest plan and the latest look at the jobs, and hands them to the places.

    Attributes:
        crash: the text of a fault of our own, once there is one.
    """

    CSS_PATH = Path(__file__).with_name("screen.tcss")
    DEFAULT_MODE = "plan"
    TITLE = "fsgr-tui"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", mark("Help"), key_display="?"),
        Binding("f1", "help", mark("Help"), key_display="F1"),
        Binding("q", "quit", mark("Quit")),
        Binding("1", "place('plan')", mark("Go to Plan"), show=False),
        Binding("2", "place('run')", mark("Go to Run"), show=False),
        Binding("3", "place('jobs')", mark("Go to Jobs"), show=False),
        Binding("4", "place('features')", mark("Go to Features"), show=False),
        Binding("5", "place('compare')", mark("Go to Compare"), show=False),
        Binding("T", "other_theme", mark("Light or dark"), show=False),
        Binding("ctrl+z", "suspend_process", show=False),
    ]

    class JobsLooked(Message):
        """The jobs stand differently than at the last look."""

        def __init__(self, seen: JobsSeen) -> None:
            super().__init__()
            self.seen = seen

    def __init__(
        self,
        services: Services,
        image_root: str | None,
        features_dir: str,
        *,
        intent: Intent | None = None,
        remembered: Remembered | None = None,
        ascii_only: bool = False,
        driver_class: type[Driver] | None = None,
    ) -> None:
        """Make the app.

        Args:
            remembered: of earlier starts; None neither greets nor remembers.
        """
        super().__init__(driver_class=driver_class)
        breaking.use_everywhere()
        self.crash = ""
        self._remembered = remembered
        self._services = services
        self._wanted = Wanted(intent or Intent(), image_root, features_dir)
        self._plan: Plan | None = None
        self._seen = JobsSeen()
        self._chosen_job = ""
        self._looking = False
        self._plain: list[LineFilter] = [HarmlessFilter(), *([ColourlessFilter()] if self.no_color else [])]
        self._plain += [AsciiFilter()] if ascii_only else []
        self._plain += [SixteenFilter()] if self.console.color_system == "standard" and not self.no_color else []
        self._plan_place = PlanPlace(services, self._wanted)
        self._places: dict[str, Place] = {"plan": self._plan_place}
        for name in NAMES:
            self.add_mode(name, partial(self._place, name))
        self.animation_level = "none"
        self._light = LightFilter()
        for theme in (THEME, LIGHT):
            self.register_theme(theme)
        self.theme = LIGHT.name if remembered is not None and remembered.theme == "light" else THEME.name

    @property
    def last_words(self) -> tuple[str, ...]:
        """What a user should know after the screen has left: jobs go on."""
        return tuple(tr("{job} keeps running: fsgr-tui attach {job}", job=status.name) for status in self._seen.running)

    def delay_update(self, delay: float = 0.001) -> None:
        """Show another place at once: the library holds it back for 50 ms, to hide transitions that there are none of."""
        super().delay_update(delay)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own filters, and those for terminals that show less; without colour, nothing may turn into one."""
        light = [self._light] if self.theme == LIGHT.name and not self.no_color else []
        return [*([] if self.no_color else super().get_line_filters()), *light, *self._plain]

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette offers what has a key here, and nothing else."""
        for shown, active in keys_of(screen):
            run = partial(self.run_action, active.binding.action, active.node)
            yield SystemCommand(tr(active.binding.description), tr("key {key}", key=shown), run)

    def on_mount(self) -> None:
        """Follow the jobs."""
        self._look_at_jobs()
        self.set_interval(JOBS_POLL_S, self._look_at_jobs)

    def action_place(self, name: str) -> None:
        """Go to a place."""
        # Not from under a question: its answer would be lost.
        if isinstance(self.screen, Place):
            self.switch_mode(name)

    def action_extract(self) -> None:
        """Go to the form, for an extraction."""
        self._prepare("extract")

    def action_train(self) -> None:
        """Go to the form, for the training that the plan recommends."""
        self._prepare("train")

    def _prepare(self, what: str) -> None:
        if isinstance(self.screen, Place):
            self._place("run").point_at(what)
            self.action_place("run")

    def action_help_quit(self) -> None:
        """Say how to leave to one who presses Ctrl-C."""
        self.notify(tr("q leaves; jobs go on."), markup=False)

    def action_other_theme(self) -> None:
        """Change between dark and light."""
        light = self.theme != LIGHT.name
        self.theme = LIGHT.name if light else THEME.name
        self._remember(theme="light" if light else "dark")

    def action_help(self) -> None:
        """Explain what is in front of the user."""
        page = help_for(self.screen)
        if page is not None:
            self.push_screen(page)

    def action_command_palette(self) -> None:
        """Open the palette."""
        from fsgr_tui.tui.screens.asking import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def on_plan_place_planned(self, message: PlanPlace.Planned) -> None:
        """Hand a new plan on."""
        self._plan = message.plan
        for place in self._places.values():
            place.show_plan(message.plan, self._wanted.features_dir)
        self._fill_top_lines()
        if self._remembered is not None and not self._remembered.greeted:
            self._greet(message.plan)

    def on_plan_place_intent_wanted(self) -> None:
        """Open the intent's form."""
        from fsgr_tui.tui.screens.intent import IntentScreen

        self.push_screen(IntentScreen(self._services, self._wanted), self._take_plan)

    def on_plan_place_steps_started(self, message: PlanPlace.StepsStarted) -> None:
        """Show the first of the new jobs."""
        self._show_job(message.names[0])

    def on_run_place_started(self, message: RunPlace.Started) -> None:
        """Show the new job."""
        self._show_job(message.name)

    def on_jobs_place_chosen_changed(self, message: JobsPlace.ChosenChanged) -> None:
        """Follow another job."""
        self._chosen_job = message.name
        self._look_at_jobs()

    def on_jobs_place_check_wanted(self, message: JobsPlace.CheckWanted) -> None:
        """Check a job's output."""
        self.action_place("features")
        self._place("features").point_at(message.path)

    def on_screen_app_jobs_looked(self, message: JobsLooked) -> None:
        """Hand on how the jobs stand."""
        self._seen = message.seen
        for place in self._places.values():
            place.show_jobs(message.seen)
        self._fill_top_lines()

    def _show_job(self, name: str) -> None:
        self.notify(tr("Started {job}", job=printable(name)), markup=False)
        self._chosen_job = name
        self._place("jobs").point_at(name)
        self._look_at_jobs()
        self.action_place("jobs")

    def _place(self, name: str) -> Place:
        """A place; it is made, and its code imported, when it is first wanted: the first paint needs the plan only."""
        if name not in self._places:
            place = self._places[name] = self._new_place(name)
            if self._plan is not None:
                place.show_plan(self._plan, self._wanted.features_dir)
            place.show_jobs(self._seen)
            self._fill_top_lines()
        return self._places[name]

    def _new_place(self, name: str) -> Place:
        if name == "run":
            from fsgr_tui.tui.screens.run import RunPlace

            return RunPlace(self._services)
        if name == "jobs":
            from fsgr_tui.tui.screens.jobs import JobsPlace

            return JobsPlace(self._services)
        if name == "compare":
            from fsgr_tui.tui.screens.compare import ComparePlace

            return ComparePlace()
        from fsgr_tui.tui.screens.features import FeaturesPlace

        return FeaturesPlace(self._services, self._wanted.features_dir)

    def _take_plan(self, new: NewPlan | None) -> None:
        if new is not None:
            self._wanted = new.wanted
            self._plan_place.take(new.wanted, new.plan)
            if self._remembered is not None:
                self._keep(self._remembered.with_wanted(str(Path.cwd()), new.wanted))

    def _greet(self, plan: Plan) -> None:
        from fsgr_tui.tui.greeting import greeting

        self._remember(greeted=True)
        self.push_screen(greeting(plan))

    def _remember(self, **changes: object) -> None:
        if self._remembered is not None:
            self._keep(msgspec.structs.replace(self._remembered, **changes))

    def _keep(self, remembered: Remembered) -> None:
        self._remembered = remembered
        self._save(remembered)

    @work(thread=True, group="remember")
    def _save(self, remembered: Remembered) -> None:
        self._services.remember(remembered)

    def _fill_top_lines(self) -> None:
        words = TopWords(_where(self._plan) if self._plan else (), len(self._seen.running))
        for place in self._places.values():
            place.show_top(words)

    def _look_at_jobs(self) -> None:
        # One look at a time: a file server that does not answer must not collect threads.
        if not self._looking:
            self._looking = True
            self._fetch_jobs(self._chosen_job)

    @work(thread=True, group="jobs")
    def _fetch_jobs(self, chosen: str) -> None:
        try:
            seen = self._services.jobs(chosen)
        except Problem as problem:
            seen = replace(self._seen, fault=problem.what)
        finally:
            self._looking = False
        if seen != self._seen:
            self.post_message(self.JobsLooked(seen))

    def _handle_exception(self, error: Exception) -> None:
        """Keep the text of a crash; it is told once the terminal is restored."""
        self.crash = self.crash or "".join(traceback.format_exception(error))
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """End without Textual's own page of a crash, which would print all local variables."""
        self._close_messages_no_wait()


def _where(plan: Plan) -> tuple[str, ...]:
    """Host, GPUs and data set in a few words."""
    count = len(plan.machine.gpus)
    gpus = trn("{count} GPU", "{count} GPUs", count) if count else tr("no GPU")
    root = plan.dataset.root.rstrip("/").rpartition("/")[2]
    where = (plan.machine.host.name, gpus, root or tr("no images"))
    return (tr("SIMULATED"), *where) if plan.simulated else where
