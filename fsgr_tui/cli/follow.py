"""Following a job in a terminal or a log: progress, remarks, and a way out that loses nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from types import FrameType
from typing import Literal

from fsgr_tui.cli import text
from fsgr_tui.cli.logs import LogCopy
from fsgr_tui.core.errors import EXIT_FOUND_FAULTS, EXIT_HUNG_UP, EXIT_OK, BadRequest
from fsgr_tui.core.event import EventReader, Notice, Refused
from fsgr_tui.core.job import JobProgress, JobStatus
from fsgr_tui.core.job_words import progress_words
from fsgr_tui.core.language import sentences, tr
from fsgr_tui.core.units import printable
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder

POLL_S = 0.2
PLAIN_LINE_S = 15.0
REFUSED_SHOWN = 20


class _Interrupted(Exception):  # noqa: N818 - control flow of a signal
    def __init__(self, number: int) -> None:
        self.number = number


def follow(run: RunFolder, *, output: bool = False, last: int | None = None) -> JobStatus:
    """Show a job until it ends.

    Ctrl-C on a terminal asks once whether to stop the job or only to stop watching; without a terminal, SIGINT and
    SIGTERM stop the job. SIGHUP only ends the watching.

    Args:
        output: copy what the job prints to standard output, instead of a line of progress.
        last: of what it has printed already, only so many lines.

    Returns:
        The last status; its state is not final when the user only stopped watching.
    """
    view = _View(run, output=output, last=last)
    old = {number: signal.signal(number, _raise) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    stopping = False
    try:
        while True:
            try:
                return view.watch()
            except _Interrupted as interrupted:
                view.line.clear()
                if interrupted.number == signal.SIGHUP:
                    raise SystemExit(EXIT_HUNG_UP) from None
                answer = "stop" if stopping else _ask(run, interrupted.number)
                if answer == "leave":
                    return run.read_status()
                if answer == "stop":
                    _stop(run, interrupted.number, firm=stopping)
                    stopping = True
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def exit_code(status: JobStatus) -> int:
    """The exit code of the command that followed a job."""
    if status.exit_code is not None:
        return status.exit_code
    return EXIT_FOUND_FAULTS if status.state == "interrupted" else EXIT_OK


def _raise(number: int, _frame: FrameType | None) -> None:
    raise _Interrupted(number)


class _View:
    """What is shown of one job."""

    def __init__(self, run: RunFolder, *, output: bool, last: int | None) -> None:
        self.line = _ProgressLine()
        self._run = run
        self._events = EventReader(run.events)
        self._copy = LogCopy(run.log, sys.stdout.buffer, terminal=sys.stdout.isatty()) if output else None
        if self._copy is not None and last is not None:
            self._copy.skip_to_last(last)
        self._note = ""
        self._alarms: set[tuple[str, str]] = set()

    def watch(self) -> JobStatus:
        """Show the job to its end."""
        while True:
            # The status first: what ended the job was told before it.
            status = self._run.read_status()
            self._say_note(status)
            self._say_events()
            self._say_alarms(status)
            if self._copy is not None:
                self._copy.new()
            else:
                self.line.show(status.progress)
            if status.ended_for_good:
                if self._copy is not None:
                    self._copy.end_line()
                self.line.end(status)
                _ring()
                return status
            time.sleep(POLL_S)

    def _say_note(self, status: JobStatus) -> None:
        # How long ago another host gave its last sign changes all the time, and is said once.
        note = "" if status.life == "elsewhere" and self._note else status.note
        if note and note != self._note:
            self.line.say(f"{status.name}: {note}")
        self._note = note or self._note

    def _say_alarms(self, status: JobStatus) -> None:
        for alarm in status.alarms:
            if (alarm.kind, alarm.level) not in self._alarms:
                self._alarms.add((alarm.kind, alarm.level))
                self.line.say(tr("{level}: {text}", level=tr(alarm.level), text=sentences(alarm.text, alarm.advice)))
                _ring()

    def _say_events(self) -> None:
        for event in self._events.new():
            match event:
                case Notice():
                    self.line.say(tr("warning: {text}", text=event.text) if event.level == "warning" else event.text)
                case Refused():
                    self.line.refused(tr("refused: {path}: {reason}", path=event.path, reason=event.reason))
                case _:
                    pass


def _ring() -> None:
    """The bell, for those who look elsewhere; a pipe or a file has none."""
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        sys.stderr.write("\a")
        sys.stderr.flush()


def _ask(run: RunFolder, number: int) -> Literal["stop", "leave", "watch"]:
    """What an interruption means."""
    if number == signal.SIGTERM or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return "stop"
    question = tr("{name} runs on its own. [s]top it, [l]eave it running, or [w]atch on?", name=run.name)
    sys.stderr.write(f"\n{question} ")
    sys.stderr.flush()
    try:
        answer = sys.stdin.readline().strip().lower()
    except _Interrupted:
        return "stop"
    if answer.startswith("l"):
        text.echo(tr("Watch it again with: fsgr-tui attach {name}", name=run.name), sys.stderr)
        return "leave"
    return "stop" if answer.startswith("s") else "watch"


def _stop(run: RunFolder, number: int, *, firm: bool) -> None:
    said = (
        tr("Ending {name} now.", name=run.name)
        if firm
        else tr("Stopping {name} after its batch; once more ends it at once.", name=run.name)
    )
    text.echo(said, sys.stderr)
    # A job that ended in this very moment needs no stopping.
    with contextlib.suppress(BadRequest):
        control.ask_to_stop(run, number, firm=firm)


class _ProgressLine:
    """One line that is redrawn on a terminal, and a plain line now and then elsewhere."""

    def __init__(self) -> None:
        self._live = text.wants_colour(sys.stderr) or (sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb")
        self._phase = ""
        self._said_at = 0.0
        self._shown = ""
        self._refused = 0

    def say(self, message: str) -> None:
        self.clear()
        text.echo(f"  {printable(message)}", sys.stderr)

    def refused(self, message: str) -> None:
        self._refused += 1
        if self._refused <= REFUSED_SHOWN:
            self.say(message)

    def show(self, progress: JobProgress) -> None:
        if not progress.phase:
            return
        words = progress_words(progress)
        if self._live:
            room = text.width(sys.stderr) - 1
            if words != self._shown:
                sys.stderr.write("\r\x1b[2K" + text.cut(words, room))
                sys.stderr.flush()
                self._shown = words
            return
        now = time.monotonic()
        if progress.phase != self._phase or (now - self._said_at >= PLAIN_LINE_S and words != self._shown):
            self._phase, self._said_at, self._shown = progress.phase, now, words
            text.echo(words, sys.stderr)

    def clear(self) -> None:
        if self._live and self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
            self._shown = ""

    def end(self, status: JobStatus) -> None:
        self.clear()
        if self._refused > REFUSED_SHOWN:
            self.say(
                tr(
                    "... and {number:,} more refused images; `fsgr-tui logs {name} --events` lists all.",
                    number=self._refused - REFUSED_SHOWN,
                    name=status.name,
                )
            )
