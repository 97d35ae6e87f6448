"""The captioner with what trains it: one step, one look at a loss, and the state in between."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.train.captioner import Captioner, caption_loss
from fsgr_tui.train.device import arithmetic
from fsgr_tui.train.schedule import learning_rate
from fsgr_tui.train.vocabulary import PAD

GRADIENT_CLIP = 1.0
"""Largest norm of all gradients together."""

BAD_STEPS_IN_A_ROW = 10


class Learner:
    """Captioner, optimizer and, for fp16, the scale of the loss.

    Attributes:
        captioner: the model.
        device: where it is.
        rate: learning rate of the last step.
    """

    def __init__(self, spec: TrainSpec, feature_width: int, words: int, device: torch.device) -> None:
        # Both data paths start from the same weights and drop the same units, whatever the tower has drawn before.
        torch.manual_seed(spec.seed)
        self.captioner = Captioner(spec.size, feature_width, words).to(device)
        self.device = device
        self.rate = 0.0
        self._peak, self._warmup = spec.learning_rate, spec.warmup
        self._type = arithmetic(spec.precision, device)
        self._optimizer = torch.optim.AdamW(self.captioner.parameters(), lr=spec.learning_rate, betas=(0.9, 0.98))
        self._scaler = torch.amp.GradScaler("cuda", enabled=self._type == torch.float16)

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(parameter.numel() for parameter in self.captioner.parameters() if parameter.requires_grad)

    @property
    def arithmetic(self) -> str:
        """The type it computes in, by PyTorch's name."""
        return str(self._type).removeprefix("torch.")

    def step(self, grids: Tensor, tokens: Tensor, number: int) -> tuple[float, float]:
        """Learn from a batch; what is not finite changes no weight.

        Args:
            grids: float32 (captions, grid tokens, width) on the device.
            tokens: int64 (captions, length) on the device.
            number: of the step, from 0; decides the learning rate.

        Returns:
            The loss, and the norm of the gradients before clipping.
        """
        self.captioner.train()
        self.rate = learning_rate(number, self._peak, self._warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(grids, tokens, "mean")
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's own annotation is missing
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self.captioner.parameters(), GRADIENT_CLIP)
        # One wait for the device instead of two.
        loss_value, norm_value = torch.stack([loss.detach(), norm.float()]).tolist()
        if math.isfinite(loss_value) and math.isfinite(norm_value):
            self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss_value, norm_value

    @torch.no_grad()
    def summed_loss(self, grids: Tensor, tokens: Tensor) -> tuple[float, int]:
        """The loss summed over a batch's words without learning, and their number."""
        self.captioner.eval()
        return float(self._loss(grids, tokens, "sum")), int((tokens[:, 1:] != PAD).sum())

    def greedy(self, grids: Tensor) -> list[list[int]]:
        """The captioner's own captions as token ids (`Captioner.greedy`)."""
        self.captioner.eval()
        with self._autocast():
            return self.captioner.greedy(grids)

    def state(self) -> dict[str, Any]:
        """Weights and the optimizer's memory."""
        return {
            "captioner": self.captioner.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state.

        Raises:
            RuntimeError, ValueError, KeyError: it is of another captioner.
        """
        self.captioner.load_state_dict(state["captioner"])
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"] and self._scaler.is_enabled():
            self._scaler.load_state_dict(state["scaler"])

    def _loss(self, grids: Tensor, tokens: Tensor, reduction: str) -> Tensor:
        with self._autocast():
            scores = self.captioner(grids, tokens[:, :-1])
        return caption_loss(scores, tokens[:, 1:], reduction)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self._type, enabled=self._type != torch.float32)


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
