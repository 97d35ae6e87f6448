"""How far a run is, and how good it was so far: the part of a checkpoint that is neither weights nor chance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fsgr_tui.core.training import TrainSpec

ENDS = 5
"""Steps that the first and the last loss are means of."""


@dataclass
class RunState:
    """How far a run is.

    Attributes:
        step: steps done, those passed over included.
        epoch: epochs done, of both kinds.
        position: batches done of the epoch at hand.
        critical_from: the epoch that self-critical training began with; None before.
        val_loss, scores: the newest; validated_step: the step that they were taken after.
        best, best_step: the best value of what decides, and the step that it was reached at.
        stale: epochs since, within this kind of training.
        first, last: the first and the last finite losses of cross-entropy, at most `ENDS` each.
        reward: mean reward of the newest self-critical step.
        curve: step, val_loss and scores of every validation.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    critical_from: int | None = None
    val_loss: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    validated_step: int = -1
    best: float | None = None
    best_step: int = -1
    stale: int = 0
    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    reward: float | None = None
    curve: list[dict[str, float]] = field(default_factory=list)

    def note(self, loss: float) -> None:
        """Keep a step's loss."""
        if math.isfinite(loss):
            self.first = [*self.first, loss][:ENDS]
            self.last = [*self.last, loss][-ENDS:]

    def note_validation(self, loss: float | None, scores: dict[str, float]) -> None:
        """Keep what a validation gave."""
        self.val_loss, self.scores, self.validated_step = loss, scores, self.step
        self.curve.append({"step": self.step, **({} if loss is None else {"val_loss": loss}), **scores})

    def kind_is_over(self, spec: TrainSpec) -> bool:
        """Whether the epochs of the kind at hand are done, or no longer worth it."""
        began, wanted = (0, spec.epochs) if self.critical_from is None else (self.critical_from, spec.critical.epochs)
        return self.epoch - began >= wanted or self.out_of_patience(spec)

    def out_of_patience(self, spec: TrainSpec) -> bool:
        """Whether too many epochs went by without a better one."""
        return spec.patience is not None and self.stale >= spec.patience

    def judge(self, by: str) -> bool:
        """Compare the newest validation with the best one; True, and remembered, when it is better.

        Args:
            by: "cider" or "loss".
        """
        value = self.val_loss if by == "loss" else self.scores.get("cider")
        if value is None or not math.isfinite(value):
            return False
        better = self.best is None or (value < self.best if by == "loss" else value > self.best)
        if better:
            self.best, self.best_step, self.stale = value, self.step, 0
        else:
            self.stale += 1
        return better
