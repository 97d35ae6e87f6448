"""Watches for losses and gradients that are not finite."""

from __future__ import annotations

import math

from fsgr_tui.core.errors import FoundFaults

BAD_STEPS_IN_A_ROW = 10


class LossGuard:
    """Watches for losses and gradients that are not finite: a few are passed over, many in a row end the run."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._first_bad = 0
        self._last_good: float | None = None

    def see(self, number: int, loss: float, norm: float) -> str:
        """Judge a step.

        Args:
            number: of the step, from 1.
            loss: its loss.
            norm: the norm of its gradients.

        Returns:
            What to warn of at the first bad step of a row, else nothing.

        Raises:
            FoundFaults: `BAD_STEPS_IN_A_ROW` steps were bad.
        """
        if math.isfinite(loss) and math.isfinite(norm):
            self._in_a_row, self._last_good = 0, loss
            return ""
        what = f"loss is {loss}" if not math.isfinite(loss) else f"norm of the gradients is {norm}"
        self._in_a_row += 1
        if self._in_a_row == 1:
            self._first_bad = number
            return f"Step {number:,}: the {what}. The step was passed over; {BAD_STEPS_IN_A_ROW} in a row end the run."
        if self._in_a_row >= BAD_STEPS_IN_A_ROW:
            raise self._fault(what)
        return ""

    def _fault(self, what: str) -> FoundFaults:
        before = (
            f"the last finite loss was {self._last_good:.4g}" if self._last_good is not None else "no loss was finite"
        )
        return FoundFaults(
            f"The {what} since step {self._first_bad:,}, {self._in_a_row} steps in a row; {before}.",
            "Check the features for values that are not finite, and try a lower --learning-rate. "
            "The last checkpoint is from before.",
        )
