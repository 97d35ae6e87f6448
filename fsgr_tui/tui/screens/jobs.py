"""Place 3: all jobs, and the one that is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import ScreenResume
from textual.message import Message

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import printable
from fsgr_tui.tui.screens.asking import Question
from fsgr_tui.tui.screens.place import Place
from fsgr_tui.tui.seen import JobsSeen, output_of
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.job_panel import JobPanel, LogPanel
from fsgr_tui.tui.widgets.job_table import COLUMNS, job_row, title
from fsgr_tui.tui.widgets.rows import Rows

CLOCK_S = 5.0
"""How long a time that is shown may stand still while nothing else changes."""


class JobsPlace(Place):
    """Shows what it is told of the jobs; asks to stop them."""

    NAME: ClassVar[str] = mark("Jobs")
    ABOUT: ClassVar[str] = mark(
        "Every job that was started from this screen or a shell. Jobs belong to no terminal: they go on when this "
        "screen is closed, and show here again. `interrupted` means that the job's runner is gone without a word."
    )
    AUTO_FOCUS: ClassVar[str | None] = "Rows"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "stop", mark("Stop")),
        Binding("l", "log", mark("Log")),
        Binding("m", "curves", mark("Curves")),
        Binding("u", "resume", mark("Go on")),
        Binding("o", "report", mark("Report")),
        Binding("x", "remove", mark("Delete")),
        Binding("c", "check", mark("Check its output")),
        Binding("e", "app.extract", mark("Extract")),
    ]

    class ChosenChanged(Message):
        """Another job is looked at."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class CheckWanted(Message):
        """A job's output is to be checked."""

        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

    class Told(Message):
        """What an action on a job came to."""

        def __init__(self, outcome: str | Problem) -> None:
            super().__init__()
            self.outcome = outcome

    class Reported(Message):
        """A job's page was written."""

        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._seen = JobsSeen()
        self._table = Rows(COLUMNS, id="jobs")
        self._job, self._log = JobPanel(), LogPanel()

    def body(self) -> ComposeResult:
        """The table, the chosen job, and its log."""
        yield self._table
        yield self._job
        yield self._log

    def on_mount(self) -> None:
        """Draw what is known, and let times go on."""
        self._draw()
        self.set_interval(CLOCK_S, self._tick)

    def on_screen_resume(self, event: ScreenResume) -> None:  # noqa: ARG002 - Textual hands it over
        """Draw what was told while another place was in front."""
        self._draw()

    def _tick(self) -> None:
        if self.is_current:
            self._draw()

    def show_jobs(self, seen: JobsSeen) -> None:
        """Show how the jobs stand."""
        self._seen = seen
        if self.is_mounted and self.is_current:
            self._draw()

    def point_at(self, what: str) -> None:
        """Look at this job as soon as it is known."""
        self._table.choose(what)

    @property
    def chosen(self) -> JobStatus | None:
        """The job under the cursor."""
        return self._seen.find(self._table.chosen)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer stopping for what runs, and checking for what has an output."""
        status = self.chosen
        if action == "stop":
            return status is not None and not status.ended_for_good
        if action in ("log", "report", "curves"):
            return status is not None
        if action == "resume":
            return (
                status is not None and status.ended_for_good and not (status.state == "done" and not status.exit_code)
            )
        if action == "remove":
            return status is not None and status.ended_for_good
        if action == "check":
            return status is not None and bool(output_of(status))
        return super().check_action(action, parameters)

    def action_stop(self) -> None:
        """Ask once, then tell the job."""
        status = self.chosen
        if status is None:
            return
        words = tr("It is asked to end. What it wrote so far stays, and u goes on with it where that can be done.")
        if status.kind == "extract":
            words = tr("It ends after its batch; what was finished is kept, and Extract with `resume` goes on.")
        if status.state == "stopping":
            words = tr("It was told already. This ends it at once; what was finished is kept.")

        def answered(yes: bool | None) -> None:
            if yes:
                self._tell_to_stop(status.name)

        self.app.push_screen(Question(tr("Stop {job}?", job=status.name), words), answered)

    def action_check(self) -> None:
        """Have the job's output checked."""
        status = self.chosen
        if status is not None:
            self.post_message(self.CheckWanted(output_of(status)))

    def action_log(self) -> None:
        """Open the whole log."""
        from fsgr_tui.tui.screens.log import LogScreen

        if self.chosen is not None:
            self.app.push_screen(LogScreen(self._services, self.chosen.name))

    def action_curves(self) -> None:
        """Draw the job's numbers, and those of other jobs of its kind."""
        from fsgr_tui.tui.screens.curves import CurvesScreen

        status = self.chosen
        if status is not None:
            others = [other.name for other in self._seen.statuses if other.kind == status.kind and other is not status]
            self.app.push_screen(CurvesScreen(self._services, status.name, tuple(others)))

    def action_resume(self) -> None:
        """Go on with the job."""
        if self.chosen is not None:
            self._go_on(self.chosen.name)

    def action_report(self) -> None:
        """Write the job's page."""
        if self.chosen is not None:
            self._write_report(self.chosen.name)

    def action_remove(self) -> None:
        """Ask once, then delete the job's folder."""
        status = self.chosen
        if status is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._delete(status.name)

        words = tr("Its status, events and log go. What it made (feature files, checkpoints) stays.")
        self.app.push_screen(Question(tr("Delete {job}?", job=status.name), words), answered)

    @work(thread=True, group="act")
    def _tell_to_stop(self, name: str) -> None:
        self._act(lambda: self._services.stop(name))

    @work(thread=True, group="act")
    def _go_on(self, name: str) -> None:
        self._act(lambda: tr("Going on: {jobs}", jobs=", ".join(self._services.resume(name))))

    @work(thread=True, group="act")
    def _write_report(self, name: str) -> None:
        self._act(lambda: self.post_message(self.Reported(self._services.report(name))))

    @work(thread=True, group="act")
    def _delete(self, name: str) -> None:
        self._act(lambda: self._services.remove(name))

    def _act(self, action: Callable[[], object]) -> None:
        """Do something to a job, in a worker; what it came to is told."""
        try:
            said = action()
        except Problem as problem:
            self.post_message(self.Told(problem))
        else:
            if isinstance(said, str):
                self.post_message(self.Told(said))

    def on_jobs_place_told(self, message: Told) -> None:
        """Say what came of it."""
        if isinstance(message.outcome, Problem):
            words = f"{message.outcome.what} {message.outcome.fix}"
            self.notify(printable(words), severity="warning", markup=False, timeout=10)
        else:
            self.notify(printable(message.outcome), markup=False, timeout=10)

    def on_jobs_place_reported(self, message: Reported) -> None:
        """Say where the page is."""
        from fsgr_tui.tui.screens.written import WrittenScreen

        words = tr("One page without anything from elsewhere: open it in a browser, or attach it to an e-mail.")
        self.app.push_screen(WrittenScreen(tr("The report is written"), message.path, words))

    @on(Rows.Chosen)
    def _other_job(self, event: Rows.Chosen) -> None:
        event.stop()
        self.post_message(self.ChosenChanged(event.key))
        self._draw()

    def _draw(self) -> None:
        now = self._services.now()
        self._table.show([job_row(status, now) for status in self._seen.statuses])
        self._table.border_title = title(self._seen)
        status, course = self.chosen, self._seen.course
        self._table.display = self._log.display = bool(self._seen.statuses)
        if status is None:
            self._job.show_none()
            self._log.show(None)
        elif course is not None and course.name == status.name:
            self._job.show(status, course, now)
            self._log.show(course)
        self.refresh_bindings()
