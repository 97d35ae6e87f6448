"""Training steps of both ways: the captioner of this program on real or on synthetic captions."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor

from fsgr_tui.calibrate.meter import Meter
from fsgr_tui.core.bench import memory_line
from fsgr_tui.core.calibration import MemoryLine
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.core.units import Estimate, Unknown
from fsgr_tui.features.annotations import read_annotations
from fsgr_tui.train.data import GridSource
from fsgr_tui.train.learner import Learner
from fsgr_tui.train.pairs import EncodedPairs
from fsgr_tui.train.timing import WARM_UP_STEPS
from fsgr_tui.train.vocabulary import BOS, EOS, PAD, SPECIAL, Vocabulary

SYNTHETIC_WORDS = 10_201
"""Vocabulary of M2 Transformer's published model on COCO (rows of its word embedding)."""

SYNTHETIC_LENGTHS = (8, 16)
"""Words of a synthetic caption, from and to; COCO's captions have 10.5 on average, few more than 16."""

_MOST_PAIRS = 20_000
_ROUGH_PAIRS = 4


class Captions:
    """Token batches.

    Args:
        folder: M2-style annotations; empty for random words.

    Attributes:
        words: size of the vocabulary.
    """

    def __init__(self, folder: str) -> None:
        self._chance = random.Random(0)
        self._pairs: EncodedPairs | None = None
        self.words = SYNTHETIC_WORDS
        if folder:
            pairs = read_annotations(Path(folder)).train
            vocabulary = Vocabulary.from_captions(pair.caption for pair in pairs)
            # COCO's 567,000 captions as tokens would take longer than the measurement.
            sample = pairs[:: max(1, len(pairs) // _MOST_PAIRS)]
            self._pairs, self.words = EncodedPairs(sample, vocabulary), len(vocabulary)

    def batch(self, count: int) -> Tensor:
        """Captions drawn at random, int64 (count, longest), padded at the end."""
        if self._pairs is not None:
            return self._pairs.tokens(self._chance.choices(range(len(self._pairs)), k=count))
        first, last = len(SPECIAL), self.words - 1
        rows = [
            [BOS, *(self._chance.randint(first, last) for _ in range(self._chance.randint(*SYNTHETIC_LENGTHS))), EOS]
            for _ in range(count)
        ]
        return torch.nn.utils.rnn.pad_sequence(list(map(torch.tensor, rows)), batch_first=True, padding_value=PAD)


class Steps:
    """Measures training steps with one captioner.

    Args:
        spec: arithmetic and sizes.
        feature_width, tokens: of the grids.
    """

    def __init__(
        self, spec: TrainSpec, captions: Captions, feature_width: int, tokens: int, device: torch.device
    ) -> None:
        self._learner = Learner(spec, feature_width, captions.words, device)
        self._captions = captions
        self._device = device
        self._shape = (tokens, feature_width)
        self._number = 0

    def rough_seconds(self) -> tuple[float, float]:
        """Roughly how long a step takes without its data, whatever its batch, and on top for each caption pair.

        For choosing a batch that fits into the time.
        """
        one_s, few_s = (self._rough_s(pairs) for pairs in (1, _ROUGH_PAIRS))
        per_pair_s = max(0.0, few_s - one_s) / (_ROUGH_PAIRS - 1)
        return max(0.0, one_s - per_pair_s), per_pair_s

    def _rough_s(self, pairs: int) -> float:
        grids = torch.zeros((pairs, *self._shape), device=self._device)
        # The first step of a shape loads and plans.
        self._step(grids)
        began = time.perf_counter()
        self._step(grids)
        return time.perf_counter() - began

    def measure(self, source: GridSource, ids: Sequence[int], batch_size: int, meter: Meter) -> Estimate | Unknown:
        """Caption pairs/s of steps whose grids come from a source, loaded ahead as in training.

        Args:
            ids: images to draw from.
        """
        done = 0
        with closing(source.batches(_drawn(ids, batch_size))) as loaded:
            last = meter.clock()
            for batch in loaded:
                self._step(source.grids(batch))
                now, done = meter.clock(), done + 1
                if done < WARM_UP_STEPS:
                    pass
                elif done == WARM_UP_STEPS:
                    meter.begin()
                else:
                    meter.add(batch_size, now - last)
                last = now
                if not meter.open:
                    break
        return meter.rate()

    def memory(
        self, source: GridSource, ids: Sequence[int], batch_size: int, outside_bytes: int
    ) -> MemoryLine | Unknown:
        """GPU memory of steps over the batch size.

        Args:
            outside_bytes: what the driver holds for this process beside PyTorch's allocator.
        """
        if self._device.type != "cuda":
            return Unknown(mark("no GPU"))
        small = batch_size // 2
        try:
            peaks = [self._peak_bytes(source, ids, size) for size in (small, batch_size) if size]
        except torch.OutOfMemoryError:
            return Unknown(
                tr(
                    "the GPU's memory does not hold a step with batches of {batch_size}; give a smaller --batch-size",
                    batch_size=batch_size,
                )
            )
        if len(peaks) < 2:
            return Unknown(tr("a batch of 1 has no smaller one to draw a line through"))
        return memory_line(small, peaks[0] + outside_bytes, batch_size, peaks[1] + outside_bytes)

    def _peak_bytes(self, source: GridSource, ids: Sequence[int], batch_size: int) -> int:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        with closing(source.batches(_drawn(ids, batch_size))) as loaded:
            self._step(source.grids(next(loaded)))
        return torch.cuda.max_memory_reserved(self._device)

    def _step(self, grids: Tensor) -> None:
        # The learner waits for the device when it asks for the loss, so what is timed is done.
        self._learner.step(grids, self._captions.batch(len(grids)).to(self._device), self._number)
        self._number += 1


def _drawn(ids: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Image ids of batches without end, repeats allowed, as caption pairs bring their images."""
    chance = random.Random(0)
    while True:
        yield chance.choices(ids, k=batch_size)
