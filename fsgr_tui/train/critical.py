"""Self-critical training: captions that score better than expected become likelier (Rennie et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fsgr_tui.core.training import SelfCritical
from fsgr_tui.train.learner import Learner
from fsgr_tui.train.metrics import split_words
from fsgr_tui.train.reward import Reward
from fsgr_tui.train.vocabulary import Vocabulary


class CriticalStep(NamedTuple):
    """What a step came to: loss, norm of the gradients, and the mean CIDEr-D of the captions that were drawn."""

    loss: float
    norm: float
    reward: float


class Critic:
    """Draws captions, rewards them, and lets the learner follow.

    Args:
        asked: how.
        written: captions of the training images, as people wrote them.
    """

    def __init__(self, asked: SelfCritical, written: Mapping[int, Sequence[str]], vocabulary: Vocabulary) -> None:
        self._asked, self._vocabulary = asked, vocabulary
        self._reward = Reward({image: [split_words(text) for text in texts] for image, texts in written.items()})

    def step(self, learner: Learner, grids: Tensor, images: Sequence[int]) -> CriticalStep:
        """One step on a batch.

        Args:
            grids: float32 (images, grid tokens, width) on the learner's device.
            images: their ids.
        """
        with_greedy = self._asked.baseline == "greedy"
        samples, best_guess = learner.drawn(grids.detach(), self._asked.samples, with_greedy=with_greedy)
        rewards = self._rewards(samples, images)
        if best_guess is None:
            # The mean of the image's other samples: its own would pull the advantage towards zero.
            others = rewards.shape[1] - 1
            expected = (rewards.sum(1, keepdim=True) - rewards) / others
        else:
            expected = self._rewards(best_guess, images)
        advantages = (rewards - expected).flatten().to(learner.device)
        loss, norm = learner.critical_step(grids, samples, advantages, self._asked.learning_rate)
        shared = learner.ranks.summed(rewards.mean().reshape(1) / learner.ranks.world)
        return CriticalStep(loss, norm, float(shared))

    def _rewards(self, captions: Tensor, images: Sequence[int]) -> Tensor:
        """float32 (images, captions of each)."""
        said = list(map(self._vocabulary.decode, captions.tolist()))
        each = len(said) // len(images)
        return torch.tensor(
            [self._reward(image, said[place * each : (place + 1) * each]) for place, image in enumerate(images)]
        )
