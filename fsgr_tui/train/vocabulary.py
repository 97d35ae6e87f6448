"""Captions to token ids and back: lower case, without punctuation, as the field's caption metrics count words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr

PAD, BOS, EOS, UNK = range(4)
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")

MAX_TOKENS = 54
"""Longest caption in tokens, begin and end included: M2 Transformer's published max_len. Longer ones are cut."""

MIN_WORD_COUNT = 5
FEWEST_WORDS = 20
"""A vocabulary below this comes from a demo-sized set, where a frequency limit would leave nothing to say."""

# The Penn Treebank splits contractions (do n't, man 's) and keeps inner hyphens (t-shirt) and decimal points (3.5).
_NEGATION = re.compile(r"(?<=\w)n't\b")
_CONTRACTION = re.compile(r"(?<=\w)'(s|re|ve|ll|d|m)\b")
_WORD = re.compile(r"n't\b|'(?:s|re|ve|ll|d|m)\b|\d+(?:[.,:]\d+)+|[^\W_]+(?:[-'][^\W_]+)*")


def words_of(caption: str) -> list[str]:
    """The words of a caption, lower case, punctuation left out."""
    text = unicodedata.normalize("NFKC", caption).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return _WORD.findall(_CONTRACTION.sub(r" '\1", _NEGATION.sub(" n't", text)))


@dataclass(frozen=True)
class Vocabulary:
    """The words that a captioner knows.

    Attributes:
        words: by token id; the four special tokens come first.
    """

    words: tuple[str, ...]

    @classmethod
    def from_captions(cls, captions: Iterable[str], min_count: int = MIN_WORD_COUNT) -> Vocabulary:
        """The words that occur often enough, the commonest first, ties in alphabetical order.

        Args:
            captions: of the training split only; words of the validation split would leak.
            min_count: rarer words are left out, unless fewer than `FEWEST_WORDS` would be left.

        Raises:
            BadRequest: the captions hold no words at all.
        """
        counts = Counter(word for caption in captions for word in words_of(caption))
        if not counts:
            raise BadRequest(tr("The training captions hold no words."), tr("Look into the caption files."))
        if sum(count >= min_count for count in counts.values()) < FEWEST_WORDS:
            min_count = 1
        kept = (word for word, count in counts.items() if count >= min_count)
        return cls((*SPECIAL, *sorted(kept, key=lambda word: (-counts[word], word))))

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def encode(self, caption: str) -> list[int]:
        """Token ids with begin and end; unknown words become one token, and what is too long is cut before the end."""
        ids = [self._ids.get(word, UNK) for word in words_of(caption)[: MAX_TOKENS - 2]]
        return [BOS, *ids, EOS]

    def decode(self, ids: Sequence[int]) -> str:
        """The words up to the end token, joined by spaces; begin and padding are left out."""
        until_end = ids[: ids.index(EOS)] if EOS in ids else ids
        return " ".join(self.words[number] for number in until_end if number not in (PAD, BOS))
