"""Preflights of one or several commands: they run beside the screen, one after the other, and can be left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.text import Text
from textual import work
from textual.message import Message
from textual.worker import get_current_worker

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import tr
from fsgr_tui.core.preflight import Finding, PreflightReport
from fsgr_tui.core.units import printable
from fsgr_tui.tui.format import DIM
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.findings import FindingsView, Looked

TICK_S = 1.0


@dataclass(frozen=True)
class Asked:
    """A command to look at.

    Attributes:
        command: without the program's name.
        outputs: what it makes; later commands need not find it.
    """

    command: tuple[str, ...]
    step: str = ""
    outputs: tuple[str, ...] = ()


class Preflights(FindingsView):
    """Looks when told to, shows how far it is, and posts `Done` at the end."""

    class Done(Message):
        """All is looked at.

        Attributes:
            ready: whether nothing stops the first command.
        """

        def __init__(self, *, ready: bool) -> None:
            super().__init__()
            self.ready = ready

    class Found(Message):
        """What is known so far, or why nothing is."""

        def __init__(self, asked: tuple[Asked, ...], outcome: tuple[PreflightReport, ...] | Problem) -> None:
            super().__init__()
            self.asked = asked
            self.outcome = outcome

    def __init__(self, services: Services, *, steps: bool = False, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(steps=steps, id=id)
        self._services = services
        self._asked: tuple[Asked, ...] = ()
        self._done = self._seconds = 0

    def on_mount(self) -> None:
        """Count the seconds while it looks."""
        self.set_interval(TICK_S, self._tick)

    def look(self, asked: Sequence[Asked]) -> None:
        """Look at these commands from now on, instead of what was asked before."""
        self._asked, self._done, self._seconds = tuple(asked), 0, 0
        self._say_looking()
        self._look(self._asked)

    def forget(self, words: str) -> None:
        """Nothing that is being looked at matters any more; say something else."""
        self._asked = ()
        self.say(Text(words, DIM))

    @property
    def looking(self) -> bool:
        """Whether an answer is still to come."""
        return self._done < len(self._asked)

    @work(thread=True, exclusive=True, group="preflight")
    def _look(self, asked: tuple[Asked, ...]) -> None:
        reports: list[PreflightReport] = []
        made: list[str] = []
        for one in asked:
            if get_current_worker().is_cancelled:
                return
            try:
                report = self._services.preflight(one.command)
            except Problem as problem:
                self.post_message(self.Found(asked, problem))
                return
            # What an earlier step makes is not there yet, and need not be.
            left = tuple(finding for finding in report.findings if not _is_about(finding, made))
            reports.append(msgspec.structs.replace(report, findings=left))
            made += one.outputs
            self.post_message(self.Found(asked, tuple(reports)))

    def on_preflights_found(self, message: Found) -> None:
        """Show what is known so far."""
        message.stop()
        if message.asked is not self._asked:
            return
        if isinstance(message.outcome, Problem):
            self._done = len(self._asked)
            self.say_problem(message.outcome)
            self.post_message(self.Done(ready=False))
            return
        self._done = len(message.outcome)
        self.show([Looked(report, one.step) for report, one in zip(message.outcome, self._asked, strict=False)])
        if self.looking:
            self._say_looking()
        else:
            self.post_message(self.Done(ready=not message.outcome[0].stops))

    def _tick(self) -> None:
        if self.looking:
            self._seconds += 1
            self._say_looking()

    def _say_looking(self) -> None:
        step = self._asked[self._done].step
        if step:
            words = tr(
                "looking at {step} ({number} of {steps}) ... {seconds} s",
                step=printable(step), number=self._done + 1, steps=len(self._asked), seconds=self._seconds,
            )  # fmt: skip
        else:
            words = tr("looking at everything that would stop or spoil it ... {seconds} s", seconds=self._seconds)
        self.head(Text(words, DIM))


def _is_about(finding: Finding, paths: list[str]) -> bool:
    told = f"{finding.what} {finding.found} {finding.needed}"
    return any(path in told or Path(path).name in told for path in paths)
