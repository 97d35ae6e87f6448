"""Caption metrics as the field publishes them: CIDEr-D, BLEU and ROUGE-L of `pycocoevalcap`, without Java.

The scorers count words that are already split. Here they are split by `vocabulary.words_of`, which follows the rules of
the Penn Treebank tokenizer as far as COCO's captions use them; the original tokenizer is a Java program (`java.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fsgr_tui.core.errors import MissingExtra
from fsgr_tui.core.language import listed, tr, trn
from fsgr_tui.core.training import METRICS
from fsgr_tui.train.vocabulary import words_of

NOTHING = 1e-6
"""The scorers add something to avoid dividing by zero (1e-15 of a match, to the fourth root); below this there was none."""

Captions = Mapping[int, str]
References = Mapping[int, Sequence[str]]


def split_words(caption: str) -> str:
    """A caption as the scorers take it: its words with single spaces between."""
    return " ".join(words_of(caption))


def score(captions: Captions, references: References) -> dict[str, float]:
    """Score captions against what people wrote.

    Args:
        captions: one caption an image, split into words (`split_words`).
        references: at least one an image, split likewise; the same images.

    Returns:
        cider (CIDEr-D, 0 to 10), bleu_1 to bleu_4 and rouge_l (0 to 1); empty for no images.

    Raises:
        MissingExtra: `pycocoevalcap` is not installed.
    """
    if not captions:
        return {}
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ModuleNotFoundError as error:
        raise MissingExtra("train", "train", str(error.name)) from None
    said = {image: [caption] for image, caption in captions.items()}
    written = {image: list(references[image]) for image in captions}
    bleu, _ = Bleu(4).compute_score(written, said, verbose=0)
    cider, _ = Cider().compute_score(written, said)
    rouge, _ = Rouge().compute_score(written, said)
    return {name: float(value) for name, value in zip(METRICS, (cider, *bleu, rouge), strict=True)}


def doubts(scores: Mapping[str, float], captions: Captions) -> list[str]:
    """What makes scores suspicious, as sentences; nothing for sound ones."""
    told = []
    zero = [name for name, value in scores.items() if value < NOTHING]
    if empty := sum(not caption for caption in captions.values()):
        told.append(
            tr("{empty:,} of {all:,} captions are empty: the captioner ends at once.", empty=empty, all=len(captions))
        )
    if len(captions) == 1 and "cider" in zero:
        told.append(tr("CIDEr-D of a single image is 0 by definition: it weighs words by how few images have them."))
    elif "cider" in zero:
        told.append(
            tr(
                "cider is 0: no caption shares a telling word with its references. Captions and references do not "
                "belong together, or nothing was learned yet."
            )
        )
    elif zero:
        told.append(
            trn(
                "{names} is 0: no caption has so many words in a row right. In the first epochs that is usual.",
                "{names} are 0: no caption has so many words in a row right. In the first epochs that is usual.",
                len(zero),
                names=listed(zero),
            )
        )
    distinct = len(set(captions.values()))
    if len(captions) >= 10 and distinct == 1:
        told.append(
            tr("All {n:,} captions are the same sentence: the pictures do not decide the words yet.", n=len(captions))
        )
    return told
