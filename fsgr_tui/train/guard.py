"""Watches for losses and gradients that are not finite."""

from __future__ import annotations

import math

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.language import mark, tr

BAD_STEPS_IN_A_ROW = 10

_PASSED_OVER = {
    "loss": mark("Step {number:,}: the loss is {value}. The step was passed over; {most} in a row end the run."),
    "norm": mark(
        "Step {number:,}: the norm of the gradients is {value}. The step was passed over; {most} in a row end the run."
    ),
}
_ENDS = {
    "loss": mark("The loss is {value} since step {first:,}, {steps} steps in a row; {before}."),
    "norm": mark("The norm of the gradients is {value} since step {first:,}, {steps} steps in a row; {before}."),
}


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
        what, value = ("norm", norm) if math.isfinite(loss) else ("loss", loss)
        self._in_a_row += 1
        if self._in_a_row == 1:
            self._first_bad = number
            return tr(_PASSED_OVER[what], number=number, value=value, most=BAD_STEPS_IN_A_ROW)
        if self._in_a_row >= BAD_STEPS_IN_A_ROW:
            raise self._fault(what, value)
        return ""

    def _fault(self, what: str, value: float) -> FoundFaults:
        before = (
            tr("no loss was finite")
            if self._last_good is None
            else tr("the last finite loss was {loss:.4g}", loss=self._last_good)
        )
        return FoundFaults(
            tr(_ENDS[what], value=value, first=self._first_bad, steps=self._in_a_row, before=before),
            tr(
                "Check the features for values that are not finite, and try a lower --learning-rate. "
                "The last checkpoint is from before."
            ),
        )
