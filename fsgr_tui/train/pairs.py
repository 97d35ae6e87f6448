"""Caption pairs as token tensors, and the order in which an epoch takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fsgr_tui.features.annotations import Pair
from fsgr_tui.train.vocabulary import PAD, Vocabulary


class EncodedPairs:
    """The pairs of a split, their captions as token ids.

    They lie in one flat array: COCO's 567,000 captions as small arrays would take ten times the memory.

    Attributes:
        image_ids: int64 (pairs,).
        digest: SHA-256 over the annotation ids in their order.
    """

    def __init__(self, pairs: Sequence[Pair], vocabulary: Vocabulary) -> None:
        encoded = [vocabulary.encode(pair.caption) for pair in pairs]
        self.image_ids = np.array([pair.image_id for pair in pairs], np.int64)
        self._tokens = torch.tensor([token for caption in encoded for token in caption], dtype=torch.int32)
        self._starts = np.cumsum([0, *map(len, encoded)])
        annotation_ids = np.array([pair.annotation_id for pair in pairs], "<i8")
        self.digest = hashlib.sha256(annotation_ids.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.image_ids)

    def images(self, members: Sequence[int]) -> list[int]:
        """Image ids of some pairs."""
        return [int(number) for number in self.image_ids[list(members)]]

    def words(self, members: Sequence[int]) -> int:
        """How many words, ends included, are to be said in some pairs."""
        return int(sum(self._starts[number + 1] - self._starts[number] - 1 for number in members))

    def tokens(self, members: Sequence[int]) -> Tensor:
        """Captions of some pairs, int64 (pairs, longest), padded at the end."""
        rows = [self._tokens[self._starts[number] : self._starts[number + 1]].long() for number in members]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def captions_by_image(pairs: Iterable[Pair]) -> dict[int, list[str]]:
    """What people wrote about each image, images and captions in the order of the pairs."""
    captions: dict[int, list[str]] = {}
    for pair in pairs:
        captions.setdefault(pair.image_id, []).append(pair.caption)
    return captions


@dataclass(frozen=True)
class EpochOrder:
    """The batches of each epoch, of pairs or of images: shuffled by seed and epoch alone, so that a resumed run finds its place again.

    Attributes:
        pairs: how many there are.
        batch_size: a last batch that is smaller is left out, as in the field's training code.
    """

    pairs: int
    batch_size: int
    seed: int

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.pairs // self.batch_size

    def batches(self, epoch: int, start: int = 0, stop: int | None = None) -> Iterator[list[int]]:
        """Pair numbers of the batches from `start` up to `stop` of an epoch."""
        # One number out of both: neighbouring seeds and epochs must not share an order.
        mixed = int.from_bytes(hashlib.sha256(f"{self.seed}/{epoch}".encode()).digest()[:7], "big")
        order = torch.randperm(self.pairs, generator=torch.Generator().manual_seed(mixed))
        for number in range(start, self.per_epoch if stop is None else stop):
            yield [int(pair) for pair in order[number * self.batch_size : (number + 1) * self.batch_size].tolist()]


def in_order(pairs: int, batch_size: int, most: int | None = None) -> list[range]:
    """Pair numbers of the batches of a validation, the smaller last one included, at most `most` batches."""
    return [range(start, min(start + batch_size, pairs)) for start in range(0, pairs, batch_size)][:most]
