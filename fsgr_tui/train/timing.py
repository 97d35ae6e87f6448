"""How long steps take, and how much of that is waiting for data."""

from __future__ import annotations

import statistics
from array import array

WARM_UP_STEPS = 2
"""Steps that are not counted: the first ones load kernels, fill caches and start the loader."""


class StepClock:
    """Wall time of training steps; validation and checkpoints lie between steps and do not count.

    A step is from asking for its batch to knowing its loss, so on a GPU the device is waited for.
    """

    def __init__(self, skip: int = WARM_UP_STEPS) -> None:
        self._to_skip = skip
        self._steps_s = array("d")
        self._waits_s = array("d")

    def add(self, step_s: float, wait_s: float) -> None:
        """Count a step.

        Args:
            step_s: its whole wall time.
            wait_s: the part of it until its batch had come.
        """
        if self._to_skip:
            self._to_skip -= 1
            return
        self._steps_s.append(step_s)
        self._waits_s.append(wait_s)

    @property
    def counted(self) -> int:
        """Steps that the numbers stand on."""
        return len(self._steps_s)

    @property
    def median_s(self) -> float | None:
        """Median seconds per step; None before a step counted."""
        return statistics.median(self._steps_s) if self._steps_s else None

    @property
    def mean_s(self) -> float | None:
        """Mean seconds per step; None before a step counted."""
        return statistics.fmean(self._steps_s) if self._steps_s else None

    def wait_share(self, last: int | None = None) -> float | None:
        """Share of the time spent waiting for data, 0..1, over the last steps or all; None before a step counted."""
        steps_s, waits_s = (values[-last:] if last else values for values in (self._steps_s, self._waits_s))
        return sum(waits_s) / sum(steps_s) if steps_s else None
