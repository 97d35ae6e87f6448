"""The rate of a counter over the recent past, from what is seen of it."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 30.0
CHANGES: Final = 5
_POINTS: Final = 512


class RecentRate:
    """Units per second over the last half minute, or over the last five changes where steps are slow.

    The first change of a counter is no rate: after a resume it jumps to where the earlier run stood.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._points: deque[tuple[float, int]] = deque(maxlen=_POINTS)
        self._fresh = True

    def restart(self) -> None:
        """The counter counts something else from now on."""
        self._points.clear()
        self._fresh = True

    def add(self, step: int, at: float) -> None:
        """Note what the counter shows at a time in seconds; a counter that goes back begins anew."""
        if self._points and step < self._points[-1][1]:
            self.restart()
        if self._points and step == self._points[-1][1]:
            return
        if self._points and self._fresh:
            self._points.clear()
            self._fresh = False
        if self._points and at <= self._points[-1][0]:
            # Several lines were read at once: their time is the same, only the last one counts.
            self._points[-1] = (self._points[-1][0], step)
            return
        self._points.append((at, step))

    def value(self, now: float) -> float | None:
        """Units per second; None before there are two points. It falls while the counter stands still."""
        if len(self._points) < 2:
            return None
        last_at, last = self._points[-1]
        recent = [point for point in self._points if point[0] >= last_at - self._window_s]
        if len(recent) <= CHANGES:
            recent = list(self._points)[-CHANGES - 1 :]
        first_at, first = recent[0]
        interval_s = (last_at - first_at) / (len(recent) - 1)
        # Between two steps nothing is overdue; beyond that the time without one counts.
        end = now if now - last_at > 2 * interval_s else last_at
        return (last - first) / (end - first_at) if end > first_at else None
