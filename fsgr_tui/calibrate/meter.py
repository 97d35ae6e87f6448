"""A stage's clock: stretches of work until its time is over, told while they come."""

from __future__ import annotations

import time
from collections.abc import Callable

from fsgr_tui.core.bench import LEAST_SPANS, Span, rate_of
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import Estimate, Unknown

TELL_S = 0.5
MOST_OVERRUN, LEAST_PATIENCE_S = 4.0, 20.0
"""A stage whose stretches are long may take so many times its time to get enough of them, and so long in any case (loader
processes start in it); then it is given up."""


class Stopped(Exception):  # noqa: N818 - control flow of a signal
    """The measurement was told to stop."""


class Meter:
    """Collects the stretches of one stage.

    Args:
        unit: of what is counted, e.g. "images".
        budget_s: time that the stage has.
        stopping: asked whether to stop.
        tell: called with (units so far, units a second) now and then.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        unit: str,
        budget_s: float,
        stopping: Callable[[], bool],
        tell: Callable[[int, float], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.unit = unit
        self.budget_s = budget_s
        self.clock = clock
        self._stopping = stopping
        self._tell = tell
        self._spans: list[Span] = []
        self._count = 0
        self._began = self._told = clock()

    def begin(self) -> None:
        """Start the time over: what was done up to now was warm-up."""
        self._began = self._told = self.clock()

    @property
    def open(self) -> bool:
        """Whether to go on: there is time left, or there are too few stretches yet and not far too much time went by."""
        if self._stopping():
            return False
        taken_s = self.clock() - self._began
        if len(self._spans) < LEAST_SPANS:
            return taken_s < max(MOST_OVERRUN * self.budget_s, LEAST_PATIENCE_S)
        return taken_s < self.budget_s

    def add(self, count: int, seconds: float) -> None:
        """Note a stretch of work."""
        self._spans.append(Span(count, seconds))
        self._count += count
        now = self.clock()
        if now - self._told >= TELL_S:
            self._told = now
            self._tell(self._count, self._count / max(now - self._began, 1e-9))

    def rate(self) -> Estimate | Unknown:
        """The rate of what was noted.

        Raises:
            Stopped: the measurement was told to stop, so the rate stands for nothing.
        """
        if self._stopping():
            raise Stopped
        rate = rate_of(self._spans, f"{self.unit}/s")
        if isinstance(rate, Unknown):
            seconds = self.clock() - self._began
            return Unknown(tr("{reason} in {seconds:.0f} s; give more --seconds", reason=rate.reason, seconds=seconds))
        return rate
