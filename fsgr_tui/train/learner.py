"""The captioner with what trains it: one step, one look at a loss, and the state in between."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from fsgr_tui.core.training import TrainSpec
from fsgr_tui.train.adapters import AdaptedTower
from fsgr_tui.train.captioner import Captioner, caption_loss
from fsgr_tui.train.device import arithmetic
from fsgr_tui.train.generate import beam_search, greedy, sampled
from fsgr_tui.train.ranks import ALONE, Ranks
from fsgr_tui.train.schedule import learning_rate
from fsgr_tui.train.vocabulary import PAD

GRADIENT_CLIP = 1.0
"""Largest norm of all gradients together."""


class Learner:
    """Captioner, optimizer and, for fp16, the scale of the loss.

    Attributes:
        captioner: the model.
        device: where it is.
        rate: learning rate of the last step.
        ranks: the processes that learn together; each takes its part of a batch.
    """

    def __init__(
        self,
        spec: TrainSpec,
        feature_width: int,
        words: int,
        device: torch.device,
        *,
        ranks: Ranks = ALONE,
        tower: AdaptedTower | None = None,
    ) -> None:
        # Both data paths start from the same weights and drop the same units, whatever the tower has drawn before.
        torch.manual_seed(spec.seed)
        self.captioner = Captioner(spec.size, feature_width, words).to(device)
        self.device = device
        self.rate = 0.0
        self.ranks = ranks
        self._model = ranks.together(self.captioner)
        self._tower = tower
        if ranks.world > 1:
            # The weights are alike; what is dropped must not be.
            torch.manual_seed(spec.seed + ranks.rank)
        self._warmup = spec.warmup
        self._type = arithmetic(spec.precision, device)
        groups: list[dict[str, Any]] = [{"params": list(self.captioner.parameters()), "peak": spec.learning_rate}]
        if tower is not None and spec.adapters is not None:
            groups.append({"params": list(tower.adapters.parameters()), "peak": spec.adapters.learning_rate})
        self._trained = [parameter for group in groups for parameter in group["params"]]
        self._optimizer = torch.optim.AdamW(groups, lr=spec.learning_rate, betas=(0.9, 0.98))
        self._scaler = torch.amp.GradScaler("cuda", enabled=self._type == torch.float16)

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(parameter.numel() for parameter in self._trained if parameter.requires_grad)

    @property
    def arithmetic(self) -> str:
        """The type it computes in, by PyTorch's name."""
        return str(self._type).removeprefix("torch.")

    def step(self, grids: Tensor, tokens: Tensor, number: int, words: int | None = None) -> tuple[float, float]:
        """Learn from a batch; what is not finite changes no weight.

        Args:
            grids: float32 (captions, grid tokens, width) on the device.
            tokens: int64 (captions, length) on the device.
            number: of the step, from 0; decides the learning rate.
            words: to be said in the batch, those of the other processes included; counted where none is given.

        Returns:
            The mean loss per word, and the norm of the gradients before clipping (0 where only fp16's scale overflowed).
        """
        self.captioner.train()
        share = learning_rate(number, 1.0, self._warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * share
        words = words or int((tokens[:, 1:] != PAD).sum())
        with self._autocast():
            scores = self._model(grids, tokens[:, :-1])
        loss = caption_loss(scores, tokens[:, 1:], "sum") / words
        # Gradients are averaged over the processes; together they are to be those of the whole batch.
        return self._learn(loss * self.ranks.world, loss)

    def critical_step(self, grids: Tensor, samples: Tensor, advantages: Tensor, rate: float) -> tuple[float, float]:
        """Make captions likelier by what they are better than expected.

        Args:
            grids: float32 (images, grid tokens, width) on the device.
            samples: int64 (images x samples, length), those of an image side by side, padded behind the end.
            advantages: float32 (images x samples), reward less what it is held against.
            rate: learning rate; adapters keep their share of it.

        Returns:
            The loss, which is negative as often as not, and the norm of the gradients before clipping.
        """
        # As when the samples were drawn: dropout would weigh them by another captioner's opinion.
        self.captioner.eval()
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["peak"] / self._optimizer.param_groups[0]["peak"]
        with self._autocast():
            scores = self._model(grids, samples[:, :-1])
        said = samples[:, 1:]
        logs = -torch.nn.functional.cross_entropy(
            scores.float().flatten(0, 1), said.flatten(), ignore_index=PAD, reduction="none"
        ).view_as(said)
        per_caption = logs.sum(1) / (said != PAD).sum(1)
        loss = -(advantages * per_caption).mean()
        return self._learn(loss, loss / self.ranks.world)

    def _learn(self, loss: Tensor, shown: Tensor) -> tuple[float, float]:
        """Follow the gradients of a loss.

        Args:
            shown: this process's share of the loss that is told.
        """
        self.rate = self._optimizer.param_groups[0]["lr"]
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's own annotation is missing
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self._trained, GRADIENT_CLIP)
        total = self.ranks.summed(shown.detach().reshape(1))
        # One wait for the device instead of two.
        loss_value, norm_value = torch.stack([total[0], norm.float()]).tolist()
        if math.isfinite(loss_value) and math.isfinite(norm_value):
            self._scaler.step(self._optimizer)
        elif math.isfinite(loss_value) and self._scaler.get_scale() > 1:
            # The scale that keeps fp16's gradients from vanishing was too large for this step, as at every start; it
            # is halved, and nothing is wrong with the step.
            norm_value = 0.0
        self._scaler.update()
        return loss_value, norm_value

    @torch.no_grad()
    def summed_loss(self, grids: Tensor, tokens: Tensor) -> tuple[float, int]:
        """The loss summed over a batch's words without learning, and their number."""
        self.captioner.eval()
        with self._autocast():
            scores = self.captioner(grids, tokens[:, :-1])
        targets = tokens[:, 1:]
        return float(caption_loss(scores, targets, "sum")), int((targets != PAD).sum())

    @torch.no_grad()
    def captions(self, grids: Tensor, beam: int) -> Tensor:
        """The captioner's own captions as token ids, int64 (images, length); see `generate.beam_search`."""
        self.captioner.eval()
        with self._autocast():
            return beam_search(self.captioner, self.captioner.encode(grids), beam)

    @torch.no_grad()
    def drawn(self, grids: Tensor, samples: int, *, with_greedy: bool) -> tuple[Tensor, Tensor | None]:
        """Captions drawn at random, int64 (images x samples, length), and the greedy ones where they are asked for."""
        self.captioner.eval()
        with self._autocast():
            memory = self.captioner.encode(grids)
            return sampled(self.captioner, memory, samples), greedy(self.captioner, memory) if with_greedy else None

    def state(self) -> dict[str, Any]:
        """Weights and the optimizer's memory."""
        return {
            "captioner": self.captioner.state_dict(),
            "adapters": {} if self._tower is None else self._tower.adapters.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any], *, weights_only: bool = False) -> None:
        """Take over a state.

        Args:
            weights_only: leave out the optimizer's memory.

        Raises:
            RuntimeError, ValueError, KeyError: it is of another captioner.
        """
        self.captioner.load_state_dict(state["captioner"])
        if self._tower is not None:
            self._tower.adapters.load_state_dict(state["adapters"])
        if weights_only:
            return
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"] and self._scaler.is_enabled():
            self._scaler.load_state_dict(state["scaler"])

    def forget(self) -> None:
        """Empty the optimizer's memory, for training of another kind."""
        self._optimizer.state.clear()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self._type, enabled=self._type != torch.float32)
