"""Looking at run folders for the screen: how every job stands, and the course of the one that is looked at."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.event import EventReader, Kept, Phase, Progress
from fsgr_tui.core.units import printable
from fsgr_tui.jobs.folder import RunFolder, all_runs
from fsgr_tui.tui.seen import JobCourse, JobsSeen

JOBS_SHOWN = 200
RATES_KEPT = 400
LOG_TAIL_BYTES = 64_000
LOG_TAIL_LINES = 300


class RunWatch:
    """Reads run folders again and again, and of the chosen job only what is new."""

    def __init__(self) -> None:
        self._chosen = ""
        self._events: EventReader | None = None
        self._rates: deque[float] = deque(maxlen=RATES_KEPT)
        self._log_stamp: tuple[int, int] = (0, 0)
        self._log: tuple[str, ...] = ()
        self._heard: float | None = None

    def look(self, chosen: str) -> JobsSeen:
        """How all jobs stand.

        Args:
            chosen: the job whose course is wanted; the newest one when it is empty or gone.
        """
        runs = all_runs()[:JOBS_SHOWN]
        statuses, unreadable = [], []
        for run in runs:
            try:
                statuses.append(run.read_status())
            except BadRequest:
                unreadable.append(run.name)
        wanted = next((run for run in runs if run.name == chosen), runs[0] if runs else None)
        return JobsSeen(tuple(statuses), self._course(wanted) if wanted else None, tuple(unreadable))

    def _course(self, run: RunFolder) -> JobCourse:
        if run.name != self._chosen or self._events is None:
            self._chosen, self._events = run.name, EventReader(run.events)
            self._rates.clear()
            self._log_stamp, self._log, self._heard = (0, 0), (), None
        for event in self._events.new():
            if not isinstance(event, Kept):
                self._heard = max(event.at, self._heard or 0.0)
            match event:
                case Phase():
                    self._rates.clear()
                case Progress(rate=float(rate)):
                    self._rates.append(rate)
                case _:
                    pass
        self._read_log(run.log)
        return JobCourse(run.name, tuple(self._rates), self._log, self._heard)

    def _read_log(self, path: Path) -> None:
        try:
            stat = path.stat()
        except OSError:
            # A job that has not begun has no log yet.
            return
        stamp = (stat.st_size, stat.st_mtime_ns)
        if stamp != self._log_stamp:
            self._log_stamp, self._log = stamp, log_tail(path)
            if stat.st_size:
                self._heard = max(stat.st_mtime, self._heard or 0.0)


def log_tail(path: Path, size: int = LOG_TAIL_BYTES, count: int = LOG_TAIL_LINES) -> tuple[str, ...]:
    """The last lines of a log as a terminal would have left them: what a carriage return took back is gone."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - size))
        tail = file.read(size)
    whole = tail.decode("utf-8", "replace").split("\n")
    if end > size and "\r" not in whole[0]:
        # The first line was cut somewhere in its middle; behind a carriage return it would be whole.
        whole = whole[1:]
    kept = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in whole]
    return tuple(printable(line) for line in kept if line)[-count:]
