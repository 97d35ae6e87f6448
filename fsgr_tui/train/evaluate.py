"""A look at the captioner from outside: its loss on the validation captions, and what it says about their images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import torch
from torch import Tensor

from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.features.annotations import Pair
from fsgr_tui.train.data import GridSource
from fsgr_tui.train.learner import Learner
from fsgr_tui.train.pairs import EncodedPairs, captions_by_image, in_order
from fsgr_tui.train.ranks import Ranks
from fsgr_tui.train.vocabulary import Vocabulary

SAMPLES = 3


class Evaluation:
    """Validation of a run; every process takes its part of each batch.

    Args:
        pairs: the captions of the validation images.
        stops: asked before each batch; every process has to get the same answer.
    """

    def __init__(
        self,
        spec: TrainSpec,
        source: GridSource,
        learner: Learner,
        vocabulary: Vocabulary,
        pairs: Sequence[Pair],
        *,
        events: EventWriter,
        stops: Callable[[], bool],
    ) -> None:
        self._spec, self._source, self._learner, self._vocabulary = spec, source, learner, vocabulary
        self._encoded = EncodedPairs(pairs, vocabulary)
        self.written = captions_by_image(pairs)
        self._images = list(self.written)[: spec.max_eval_images]
        self._events, self._stops = events, stops

    def loss(self, most: int | None = None) -> float | None:
        """The mean loss over the words of the validation captions; None without captions, or when told to stop.

        Args:
            most: batches that are looked at; None for all.
        """
        batches = in_order(len(self._encoded), self._spec.batch_size, most)
        if not batches:
            return None
        self._events.phase("validate", batches[-1].stop, "pairs")
        sums = torch.zeros(2, dtype=torch.float64)
        parts = [self._ranks.part(members) for members in batches]
        with closing(self._source.batches(self._encoded.images(part) for part in parts if part)) as loaded:
            for members, part in zip(batches, parts, strict=True):
                if self._stops():
                    return None
                if part:
                    tokens = self._encoded.tokens(part).to(self._learner.device)
                    sums += torch.tensor(self._learner.summed_loss(self._grids(loaded), tokens), dtype=torch.float64)
                self._events.progress(members.stop, batches[-1].stop)
        total, words = self._ranks.summed(sums).tolist()
        return float(total) / float(words)

    def captions(self, images: Sequence[int] | None = None) -> dict[int, str] | None:
        """What the captioner says about images, words with spaces between; None when told to stop.

        Args:
            images: by default those of the validation.
        """
        images = self._images if images is None else images
        batches = in_order(len(images), self._spec.batch_size)
        if batches:
            self._events.phase("caption", len(images), "images")
        said: dict[int, str] = {}
        parts = [[images[number] for number in self._ranks.part(members)] for members in batches]
        with closing(self._source.batches(part for part in parts if part)) as loaded:
            for members, part in zip(batches, parts, strict=True):
                if self._stops():
                    return None
                rows = torch.zeros((0, 1), dtype=torch.long)
                if part:
                    rows = self._learner.captions(self._grids(loaded), self._spec.beam)
                for rank, theirs in enumerate(self._ranks.gathered(rows)):
                    others = images[members.start : members.stop][rank :: self._ranks.world]
                    said.update(zip(others, map(self._vocabulary.decode, theirs.tolist()), strict=True))
                self._events.progress(members.stop, len(images))
        return {image: said[image] for image in images}

    def samples(self) -> list[dict[str, Any]]:
        """What the captioner says about a few images, beside what a person said."""
        some = list(self.written)[:SAMPLES]
        said = (self.captions(some) or {}) if some else {}
        return [
            {"image_id": image, "caption": caption, "reference": self.written[image][0]}
            for image, caption in said.items()
        ]

    @torch.no_grad()
    def _grids(self, loaded: Iterator[Tensor]) -> Tensor:
        """Features of the next batch, without the memory that gradients through a trained tower would take."""
        return self._source.grids(next(loaded))

    @property
    def _ranks(self) -> Ranks:
        return self._learner.ranks
