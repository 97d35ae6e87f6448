"""The learning rate by step: a straight warm-up, then the inverse square root, as for the first transformers."""

from __future__ import annotations

import math


def learning_rate(step: int, peak: float, warmup: int) -> float:
    """The rate of a step.

    It depends on nothing but these numbers, so a run that goes on with more epochs keeps its curve.

    Args:
        step: counts from 0.
        peak: the rate at the end of the warm-up.
        warmup: steps until then; 0 starts at the peak.

    Returns:
        A rate above 0: the first step already learns.
    """
    number, ramp = step + 1, max(1, warmup)
    return peak * (number / ramp if number <= ramp else math.sqrt(ramp / number))
