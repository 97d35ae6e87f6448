"""What a running child tells: a closed set of events, one JSON line each.

The product's own children append their events to the file named by the environment variable FSGR_TUI_EVENTS;
without it they go to standard output.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from fsgr_tui.core import jsontext

EVENTS_VARIABLE = "FSGR_TUI_EVENTS"


class Phase(msgspec.Struct, frozen=True, tag="phase"):
    """A new stretch of work begins; progress counts from 0 to `total` in `unit`s."""

    at: float
    name: str
    total: int | None = None
    unit: str = ""


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far the phase is.

    Attributes:
        at: Unix time in seconds.
        step: units done, those of an earlier run included.
        rate: units per second over a recent window; None while unknown.
        eta_s: seconds left at that rate.
        stages: share of the recent window that each stage was busy, 0..1.
        bottleneck: one sentence that names what holds the rate down.
    """

    at: float
    step: int
    total: int | None = None
    rate: float | None = None
    eta_s: float | None = None
    stages: dict[str, float] = {}
    bottleneck: str = ""


class Metric(msgspec.Struct, frozen=True, tag="metric"):
    """Measured values at a step, e.g. {"loss": 2.31}; None stands for a value that was not finite."""

    at: float
    step: int
    values: dict[str, float | None]


class Kept(msgspec.Struct, frozen=True, tag="kept"):
    """How much is safe: the steps that are in the checkpoint, from which a killed run would go on."""

    t: float
    step: int


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """Something that a person should know; the work goes on."""

    at: float
    level: Literal["info", "warning"]
    text: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """An image that could not be used, with the true reason."""

    at: float
    path: str
    image_id: int
    reason: str


class Result(msgspec.Struct, frozen=True, tag="result"):
    """What the work came to; the keys belong to the kind of work."""

    at: float
    kind: str
    values: dict[str, Any]


class Fault(msgspec.Struct, frozen=True, tag="fault"):
    """Why the work ended without its result; `unforeseen` for an exception that the child has no remedy for."""

    at: float
    what: str
    fix: str
    exit_code: int
    unforeseen: bool = False


Event = Phase | Progress | Metric | Kept | Notice | Refused | Result | Fault


class EventWriter:
    """Appends events to a file (or standard output), one whole line per write, from any thread.

    A fault of the event file (a full disk, say) never ends the work that reports through it: it is said once on
    standard error.
    """

    def __init__(self, path: str | None = None) -> None:
        target = path if path is not None else os.environ.get(EVENTS_VARIABLE)
        self._fd = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if target else sys.stdout.fileno()
        self._lock = threading.Lock()
        self._told = False

    def write(self, event: Event) -> None:
        """Append one event."""
        line = jsontext.encode(event) + b"\n"
        with self._lock:
            try:
                os.write(self._fd, line)
            except OSError as error:
                if not self._told:
                    self._told = True
                    print(f"fsgr-tui: events cannot be written: {error}", file=sys.stderr)  # noqa: T201 - last resort

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Begin a phase."""
        self.write(Phase(time.time(), name, total, unit))

    def progress(
        self,
        step: int,
        total: int | None = None,
        rate: float | None = None,
        stages: dict[str, float] | None = None,
        bottleneck: str = "",
    ) -> None:
        """Tell progress; the time left follows from the rate."""
        eta_s = (total - step) / rate if total is not None and rate else None
        self.write(Progress(time.time(), step, total, rate, eta_s, stages or {}, bottleneck))

    def metric(self, step: int, **values: float) -> None:
        """Tell measured values; values that are not finite are told as None."""
        finite = {name: value if abs(value) < float("inf") else None for name, value in values.items()}
        self.write(Metric(time.time(), step, finite))

    def kept(self, step: int) -> None:
        """Tell how many steps are safe."""
        self.write(Kept(time.time(), step))

    def notice(self, text: str) -> None:
        """Tell a person something worth knowing."""
        self.write(Notice(time.time(), "info", text))

    def warning(self, text: str) -> None:
        """Tell a person something that may be wrong."""
        self.write(Notice(time.time(), "warning", text))

    def refused(self, path: str, image_id: int, reason: str) -> None:
        """Tell that an image could not be used."""
        self.write(Refused(time.time(), path, image_id, reason))

    def result(self, kind: str, values: dict[str, Any]) -> None:
        """Tell what the work came to."""
        self.write(Result(time.time(), kind, values))

    def fault(self, what: str, fix: str, exit_code: int, *, unforeseen: bool = False) -> None:
        """Tell why the work ended."""
        self.write(Fault(time.time(), what, fix, exit_code, unforeseen))


class Silent:
    """Tells nobody: for work whose progress is told otherwise, or that nobody looks at."""

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Pass it over."""

    def progress(
        self,
        step: int,
        total: int | None = None,
        rate: float | None = None,
        stages: dict[str, float] | None = None,
        bottleneck: str = "",
    ) -> None:
        """Pass it over."""

    def warning(self, text: str) -> None:
        """Pass it over."""

    def refused(self, path: str, image_id: int, reason: str) -> None:
        """Pass it over."""


class EventReader:
    """Follows an event file that may not exist yet, that grows, and whose last line may be cut."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._offset = 0

    def new(self) -> Iterator[Event]:
        """The events that were completed since the last call; lines that are no event are passed over."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                chunk = file.read()
        except FileNotFoundError:
            return
        whole, _, _ = chunk.rpartition(b"\n")
        if not whole:
            return
        self._offset += len(whole) + 1
        for line in whole.split(b"\n"):
            try:
                yield jsontext.decode(line, Event)  # type: ignore[arg-type]  # mypy takes a union for no type
            except msgspec.MsgspecError:
                # A foreign line must not end the job's display; the log keeps it in any case.
                continue


class RateWindow:
    """Units per second over the recent past, so that a stall shows at once and a slow start is forgotten."""

    def __init__(self, seconds: float = 10.0) -> None:
        self._seconds = seconds
        self._points: list[tuple[float, int]] = []

    def add(self, step: int, at: float | None = None) -> None:
        """Note that `step` units were done at a time (monotonic seconds; now by default)."""
        now = time.monotonic() if at is None else at
        self._points.append((now, step))
        while len(self._points) > 2 and self._points[1][0] <= now - self._seconds:
            self._points.pop(0)

    def rate(self, at: float | None = None) -> float | None:
        """Units per second over the window up to now; None before the second point."""
        if len(self._points) < 2:
            return None
        now = time.monotonic() if at is None else at
        before = [point for point in self._points if point[0] <= now - self._seconds]
        first_at, first = before[-1] if before else self._points[0]
        return (self._points[-1][1] - first) / (now - first_at) if now > first_at else None
