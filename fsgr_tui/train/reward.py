"""CIDEr-D as the reward of self-critical training: document frequencies of the whole training set, counted once.

`pycocoevalcap` counts them over what it is asked to score, which for a batch would be another metric at every step. The
arithmetic is the same: over its own corpus both give the same number.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

LONGEST = 4
SIGMA = 6.0
SCALE = 10.0
"""n-grams of 1 to 4 words, the width of the penalty on length, the factor: CIDEr-D's published constants."""

_Grams = Counter[tuple[str, ...]]


class Reward:
    """CIDEr-D of single captions.

    Args:
        references: per image, captions split into words with spaces between.
    """

    def __init__(self, references: Mapping[int, Sequence[str]]) -> None:
        self._references = references
        self._log_images = math.log(max(1, len(references)))
        seen: Counter[tuple[str, ...]] = Counter()
        for captions in references.values():
            seen.update({gram for caption in captions for gram in _grams(caption)})
        # What one image alone has weighs like what none has; left out, the table is a quarter as large.
        self._log_images_with = {gram: math.log(count) for gram, count in seen.items() if count > 1}

    def __call__(self, image: int, captions: Sequence[str]) -> list[float]:
        """Rewards of some captions of one image."""
        references = [self._weighed(_grams(caption)) for caption in self._references[image]]
        return [self._similarity(self._weighed(_grams(caption)), references) for caption in captions]

    def _weighed(self, grams: _Grams) -> _Weighed:
        weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(LONGEST)]
        for gram, count in grams.items():
            weights[len(gram) - 1][gram] = count * (self._log_images - self._log_images_with.get(gram, 0.0))
        norms = [math.sqrt(sum(weight * weight for weight in part.values())) for part in weights]
        # The published code takes the number of word pairs for a caption's length.
        return weights, norms, sum(count for gram, count in grams.items() if len(gram) == 2)

    def _similarity(self, said: _Weighed, references: Sequence[_Weighed]) -> float:
        total = 0.0
        for written in references:
            penalty = math.exp(-((said[2] - written[2]) ** 2) / (2 * SIGMA**2))
            for ours, theirs, our_norm, their_norm in zip(said[0], written[0], said[1], written[1], strict=True):
                shared = sum(
                    min(weight, theirs[gram]) * theirs[gram] for gram, weight in ours.items() if gram in theirs
                )
                if our_norm and their_norm:
                    shared /= our_norm * their_norm
                total += shared * penalty
        return SCALE * total / (LONGEST * len(references))


_Weighed = tuple[list[dict[tuple[str, ...], float]], list[float], int]


def _grams(caption: str) -> _Grams:
    words = caption.split()
    return Counter(
        tuple(words[start : start + length])
        for length in range(1, LONGEST + 1)
        for start in range(len(words) - length + 1)
    )
