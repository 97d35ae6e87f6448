"""Place 1: which way, why, does it fit, what next."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.units import printable
from fsgr_tui.tui.intent_form import Wanted
from fsgr_tui.tui.screens.place import Place
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.costs import CostsPanel
from fsgr_tui.tui.widgets.criteria import CriteriaPanel
from fsgr_tui.tui.widgets.details import DatasetPanel, GuidePanel, LadderPanel, NextPanel
from fsgr_tui.tui.widgets.machine import MachinePanel
from fsgr_tui.tui.widgets.panel import PlanPanel
from fsgr_tui.tui.widgets.storage import StoragePanel
from fsgr_tui.tui.widgets.verdict import VerdictPanel

REFRESH_S = 5.0

PANELS: tuple[type[PlanPanel], ...] = (
    VerdictPanel,
    MachinePanel,
    CostsPanel,
    StoragePanel,
    NextPanel,
    DatasetPanel,
    LadderPanel,
    GuidePanel,
)


class PlanPlace(Place):
    """The plan for this machine, kept up to date with its readings."""

    NAME: ClassVar[str] = mark("Plan")
    ABOUT: ClassVar[str] = mark(
        "What is here, and which way follows from it: CLIP in every training step (realtime, way A), or features "
        "that are extracted once (precomputed, way B). Every number stands with its ground: exact, measured, table or guess. "
        "The machine is read again every few seconds."
    )
    AUTO_FOCUS: ClassVar[str | None] = "Rows"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "app.extract", mark("Extract")),
        Binding("t", "app.train", mark("Train")),
        Binding("i", "intent", mark("Intent")),
        Binding("a", "steps", mark("Run all steps")),
        Binding("p", "preflight", mark("Preflight")),
        Binding("s", "save", mark("Save plan")),
        Binding("r", "look_again", mark("Refresh")),
    ]

    class Planned(Message):
        """There is a new plan."""

        def __init__(self, plan: Plan) -> None:
            super().__init__()
            self.plan = plan

    class NotPlanned(Message):
        """There is no plan, and why."""

        def __init__(self, problem: Problem) -> None:
            super().__init__()
            self.problem = problem

    class StepsStarted(Message):
        """The plan's steps run as jobs."""

        def __init__(self, names: tuple[str, ...]) -> None:
            super().__init__()
            self.names = names

    class Saved(Message):
        """What saving the plan came to."""

        def __init__(self, outcome: str | Problem) -> None:
            super().__init__()
            self.outcome = outcome

    class IntentWanted(Message):
        """The user wants to change what is planned."""

    def __init__(self, services: Services, wanted: Wanted) -> None:
        super().__init__()
        self._services = services
        self._wanted = wanted
        self._plan: Plan | None = None
        self._busy = self._showing = False

    def body(self) -> ComposeResult:
        """The panels; the first row holds the answer and what it stands on."""
        with VerticalScroll(id="plan", can_focus=False):
            yield VerdictPanel()
            yield MachinePanel()
            yield CriteriaPanel()
            yield CostsPanel()
            yield StoragePanel()
            yield NextPanel()
            yield DatasetPanel()
            yield LadderPanel()
            yield GuidePanel()

    def on_mount(self) -> None:
        """Plan after the first paint, then follow the machine."""
        self.call_after_refresh(self._fetch_plan)
        self.set_interval(REFRESH_S, self._follow_machine)

    def take(self, wanted: Wanted, plan: Plan) -> None:
        """Take over another intent with its plan."""
        self._wanted = wanted
        self.post_message(self.Planned(plan))

    def action_look_again(self) -> None:
        """Count the data set and read the machine again."""
        self._fetch_plan()

    def action_intent(self) -> None:
        """Ask for the intent."""
        self.post_message(self.IntentWanted())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer steps where there are some that can be run here."""
        if action in ("steps", "preflight"):
            return self._plan is not None and bool(self._plan.commands) and not self._plan.simulated
        if action == "save":
            return self._plan is not None
        return super().check_action(action, parameters)

    def action_steps(self) -> None:
        """Look at the steps, then run them one after the other."""
        self._open_steps(start=True)

    def action_preflight(self) -> None:
        """Look at what would stop the steps."""
        self._open_steps(start=False)

    def _open_steps(self, *, start: bool) -> None:
        from fsgr_tui.tui.screens.steps import StepsScreen

        if self._plan is not None:
            self.app.push_screen(StepsScreen(self._services, self._plan, start=start), self._started)

    def _started(self, names: tuple[str, ...] | None) -> None:
        if names:
            self.post_message(self.StepsStarted(names))

    @work(thread=True, group="save")
    def action_save(self) -> None:
        """Write the plan as a file that `fsgr-tui run` carries out."""
        if self._plan is None:
            return
        try:
            self.post_message(self.Saved(self._services.save_plan(self._plan)))
        except Problem as problem:
            self.post_message(self.Saved(problem))

    def on_plan_place_saved(self, message: Saved) -> None:
        """Say where it is, or why it is nowhere."""
        if isinstance(message.outcome, Problem):
            words = f"{message.outcome.what} {message.outcome.fix}"
            self.notify(printable(words), severity="warning", markup=False)
        else:
            self.notify(printable(tr("Saved. fsgr-tui run {path}", path=message.outcome)), markup=False)

    def _follow_machine(self) -> None:
        # One reading at a time: a disk that does not answer must not collect threads.
        if self._plan is not None and not self._plan.simulated and not self._busy and self.app.screen is self:
            self._busy = True
            self._fetch_again(self._plan)

    @work(thread=True, exclusive=True, group="plan")
    def _fetch_plan(self) -> None:
        wanted = self._wanted
        try:
            plan = self._services.plan(wanted)
        except Problem as problem:
            self.post_message(self.NotPlanned(problem))
        else:
            self.post_message(self.Planned(plan))

    @work(thread=True, group="machine")
    def _fetch_again(self, plan: Plan) -> None:
        try:
            fresh = self._services.replan(plan, self._wanted.features_dir)
        except Problem as problem:
            self.post_message(self.NotPlanned(problem))
            return
        finally:
            self._busy = False
        # A plan for another intent may have come in the meantime.
        if self._plan is plan and (fresh != plan or not self._showing):
            self.post_message(self.Planned(fresh))

    def on_plan_place_planned(self, message: Planned) -> None:
        """Draw the plan; panels whose text stayed the same send nothing."""
        self._plan, self._showing = message.plan, True
        self.refresh_bindings()
        for panel in PANELS:
            self.query_one(panel).show(message.plan)
        self.query_one(CriteriaPanel).show(message.plan)

    def on_plan_place_not_planned(self, message: NotPlanned) -> None:
        """Say why there is no plan, where the verdict would be."""
        self._showing = False
        for panel in PANELS:
            self.query_one(panel).clear()
        self.query_one(VerdictPanel).show_problem(message.problem.what, message.problem.fix)
        self.query_one(CriteriaPanel).clear()
