"""What stands beside the run form: what speaks against it, its command, its preflight, and the jobs that wait."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.tui.format import DIM
from fsgr_tui.tui.intent_form import BadField
from fsgr_tui.tui.order import command_for
from fsgr_tui.tui.run_fields import NOW
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.command import CommandPanel
from fsgr_tui.tui.widgets.preflight import Asked, Preflights
from fsgr_tui.tui.widgets.queue import QueueView
from fsgr_tui.tui.widgets.words import Words

FINDINGS, QUEUE = "findings", "queue"
"""What can also be looked at in the form's place, where the room is short."""


class Beside(Vertical):
    """Follows the form.

    Attributes:
        command: what the form stands for; empty while a field is wrong.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(id="beside")
        self.command: tuple[str, ...] = ()
        self._preflighted: tuple[str, ...] = ()
        self._outcome = Words(Text(tr("looking ..."), DIM), id="outcome")
        self._panel = CommandPanel()
        self._findings, self._queue = Preflights(services, id=FINDINGS), QueueView(services, id=QUEUE)

    def compose(self) -> ComposeResult:
        """One under the other; the styles say which of them have room."""
        yield self._outcome
        yield self._panel
        yield self._findings
        yield self._queue

    def on_mount(self) -> None:
        """Name the two that stand there empty."""
        self._findings.border_title = Text.assemble(" ", tr("Preflight"), " ")
        self._queue.border_title = Text.assemble(" ", tr("Queue"), " ")
        self._forget()

    def say(self, outcome: Text) -> None:
        """Say what speaks against the form, or that nothing does."""
        self._outcome.say(outcome)

    def show_jobs(self, waiting: Sequence[JobStatus]) -> None:
        """Show the jobs that wait."""
        self._queue.show(waiting)

    def show_command(self, texts: dict[str, str]) -> None:
        """Show the command of a form that was edited; findings of another one are not left standing."""
        try:
            self.command = command_for(texts)
            self._panel.show(self.command)
        except BadField as fault:
            self.command = ()
            self._panel.show_fault(fault)
        if self._preflighted and self._preflighted != self.command:
            self._forget()

    def preflight(self, texts: dict[str, str]) -> None:
        """Look for everything that would stop or spoil what the form stands for."""
        try:
            # What it waits for does not matter here.
            asked = Asked(command_for({**texts, "start": NOW})[1:])
        except BadField as fault:
            self._findings.say_problem(fault)
            return
        self._preflighted = self.command
        self._findings.look((asked,))

    def _forget(self) -> None:
        self._preflighted = ()
        self._findings.forget(
            tr("^t looks at everything that would stop or spoil it: weights, GPU, disk, every image, captions.")
        )
