"""The jobs that wait, in their order, and what each waits for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.job import JobStatus, Waiting
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import DIM
from fsgr_tui.tui.screens.asking import Question
from fsgr_tui.tui.seen import JobsSeen
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.rows import Column, Row, Rows
from fsgr_tui.tui.widgets.words import Words

WAITING: dict[Waiting, str] = {
    "": mark("its start"),
    "jobs": mark("other jobs"),
    "queue": mark("its turn"),
    "gpu": mark("a GPU"),
}


class QueueView(Vertical):
    """A table of waiting jobs, the next one first; one can be taken out."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("x,delete", "take_out", mark("Take it out"))]

    class NotTakenOut(Message):
        """Why a job still waits."""

        def __init__(self, problem: Problem) -> None:
            super().__init__()
            self.problem = problem

    def __init__(self, services: Services, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self._services = services
        self._rows = Rows(
            (Column("#", 3), Column(mark("job"), 30), Column(mark("waits for"), 12), Column(mark("command")))
        )
        self._nothing, self._detail = Words(classes="nothing"), Words(classes="detail")
        self._jobs: dict[str, JobStatus] = {}

    def compose(self) -> ComposeResult:
        """The table, and what stands there without it."""
        yield self._nothing
        yield self._rows
        yield self._detail

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self.show(())

    def show(self, jobs: Sequence[JobStatus]) -> None:
        """Show the jobs that wait."""
        self._nothing.display, self._rows.display = not jobs, bool(jobs)
        self._nothing.say(Text(tr("No job waits."), DIM))
        self._jobs = {status.name: status for status in jobs}
        self._rows.show([_row(number, status) for number, status in enumerate(jobs, start=1)])
        self._describe()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Tell all of the job under the cursor."""
        message.stop()
        self._describe()

    def _describe(self) -> None:
        status = self._jobs.get(self._rows.chosen)
        if status is None:
            self._detail.say("")
            return
        command = Text(printable(shlex.join(status.command)))
        self._detail.say(layout.lines(Text(printable(status.note), DIM), command) if status.note else command)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's signature
        """Nothing can be taken out of an empty queue."""
        return action != "take_out" or self._rows.display

    def action_take_out(self) -> None:
        """Ask, then tell the waiting job to end."""
        name = self._rows.chosen
        question = Question(
            tr("Take {name} out of the queue?", name=name),
            tr("It has not begun, so no work is lost. Jobs that wait for it will not begin either."),
        )

        def answered(yes: bool | None) -> None:
            if yes:
                self._take_out(name)

        self.app.push_screen(question, answered)

    @work(thread=True, group="take-out")
    def _take_out(self, name: str) -> None:
        try:
            self._services.stop(name)
        except Problem as problem:
            self.post_message(self.NotTakenOut(problem))

    def on_queue_view_not_taken_out(self, message: NotTakenOut) -> None:
        """Say why."""
        self.notify(printable(f"{message.problem.what} {message.problem.fix}"), severity="warning", markup=False)


def waiting_jobs(seen: JobsSeen) -> tuple[JobStatus, ...]:
    """Those that have not begun, the one that was asked for first in front."""
    return tuple(status for status in reversed(seen.statuses) if status.state == "queued")


def _row(number: int, status: JobStatus) -> Row:
    return Row(
        status.name,
        (
            (str(number), DIM),
            (status.name, "bold"),
            (tr(WAITING[status.waiting]), ""),
            (shlex.join(status.command), DIM),
        ),
    )
