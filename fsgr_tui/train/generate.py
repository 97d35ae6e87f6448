"""The captioner's own captions: greedy, beam search and samples, word by word with cached keys and values.

All three keep one row of state per caption at hand and choose only how a row goes on. Attention over the picture is
computed once per image; its captions share it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgr_tui.train.captioner import Captioner
from fsgr_tui.train.vocabulary import BOS, EOS, MAX_TOKENS, PAD, UNK

GENERATED_TOKENS = 22
"""Where a caption without an end is cut: 20 words, as in the field's evaluations, with begin and end."""

UNSAID = (PAD, BOS, UNK)
"""Tokens that are no words; an untrained captioner might still prefer them."""

_Choice = Callable[[Tensor], Tensor]


@dataclass
class _Layer:
    """One decoder layer while it decodes.

    Attributes:
        module: the layer.
        picture: keys and values over the picture, (images, heads, grid tokens, head width) each.
        past: keys and values of the words so far, (captions, heads, words, head width) each.
    """

    module: nn.TransformerDecoderLayer
    picture: tuple[Tensor, Tensor]
    past: tuple[Tensor, Tensor] | None = None


class Decoding:
    """The scores of the next word for captions that grow.

    Args:
        captioner: in eval mode.
        memory: what `Captioner.encode` gave, (images, grid tokens, d_model).
        per_image: captions of each image; they lie side by side.
    """

    def __init__(self, captioner: Captioner, memory: Tensor, per_image: int = 1) -> None:
        self._captioner = captioner
        self._per_image = per_image
        self._length = 0
        self._layers: list[_Layer] = []
        for module in captioner.decoder.layers:
            if not isinstance(module, nn.TransformerDecoderLayer):
                raise TypeError(f"{type(module).__name__} is no decoder layer")
            keys, values = _projected(module.multihead_attn, memory, "kv")
            self._layers.append(_Layer(module, (keys, values)))

    def next_scores(self, words: Tensor) -> Tensor:
        """Log-probabilities of the next word.

        Args:
            words: int64 (captions,), the newest word of each caption.

        Returns:
            float32 (captions, vocabulary); tokens that are no words have -inf.
        """
        captioner = self._captioner
        x = captioner.embedded(words.unsqueeze(1), self._length)
        for layer in self._layers:
            x = self._through(layer, x)
        self._length += 1
        norm = captioner.decoder.norm
        scores = captioner.output(x if norm is None else norm(x))[:, 0].float()
        scores[:, list(UNSAID)] = -torch.inf
        return functional.log_softmax(scores, -1)

    def keep(self, captions: Tensor) -> None:
        """Go on with these captions only, int64 (captions,): the same one may be kept several times."""
        for layer in self._layers:
            if layer.past is not None:
                layer.past = (layer.past[0][captions], layer.past[1][captions])

    def _through(self, layer: _Layer, x: Tensor) -> Tensor:
        module = layer.module
        query, keys, values = _projected(module.self_attn, module.norm1(x), "qkv")
        if layer.past is not None:
            keys, values = (torch.cat([old, new], 2) for old, new in zip(layer.past, (keys, values), strict=True))
        layer.past = (keys, values)
        x = x + _attended(module.self_attn, query, keys, values)
        (query,) = _projected(module.multihead_attn, module.norm2(x), "q")
        # The captions of an image become queries over the same keys instead of getting copies of them.
        captions, heads, _, width = query.shape
        query = query.view(-1, self._per_image, heads, width).transpose(1, 2)
        seen = _attended(module.multihead_attn, query, *layer.picture)
        x = x + seen.reshape(captions, 1, heads * width)
        fed: Tensor = module.linear2(functional.relu(module.linear1(module.norm3(x))))
        return x + fed


@torch.no_grad()
def greedy(captioner: Captioner, memory: Tensor, max_tokens: int = GENERATED_TOKENS) -> Tensor:
    """The likeliest word at every step.

    Args:
        captioner: in eval mode.
        memory: (images, grid tokens, d_model).
        max_tokens: where a caption without an end is cut.

    Returns:
        int64 (images, at most max_tokens): token ids, begin token first, padded behind the end token.
    """
    return _grown(captioner, memory, 1, max_tokens, lambda scores: scores.argmax(-1))


@torch.no_grad()
def sampled(captioner: Captioner, memory: Tensor, samples: int, max_tokens: int = GENERATED_TOKENS) -> Tensor:
    """Captions drawn word by word from the captioner's own distribution, with PyTorch's global generator.

    Returns:
        int64 (images x samples, at most max_tokens); the samples of an image lie side by side.
    """
    return _grown(captioner, memory, samples, max_tokens, lambda scores: torch.multinomial(scores.exp(), 1).squeeze(1))


def _grown(captioner: Captioner, memory: Tensor, per_image: int, max_tokens: int, choose: _Choice) -> Tensor:
    decoding = Decoding(captioner, memory, per_image)
    words = torch.full((len(memory) * per_image,), BOS, dtype=torch.long, device=memory.device)
    columns, ended = [words], torch.zeros_like(words, dtype=torch.bool)
    while len(columns) < min(max_tokens, MAX_TOKENS) and not bool(ended.all()):
        words = choose(decoding.next_scores(words)).masked_fill(ended, PAD)
        columns.append(words)
        ended |= words == EOS
    return torch.stack(columns, 1)


@torch.no_grad()
def beam_search(captioner: Captioner, memory: Tensor, beam: int, max_tokens: int = GENERATED_TOKENS) -> Tensor:
    """The likeliest caption among those that a beam of the likeliest beginnings finds.

    A caption's score is the sum of the log-probabilities of its words and its end, as in M2 Transformer's published
    beam search. A caption that has ended keeps its place in the beam until better ones push it out.

    Args:
        captioner: in eval mode.
        memory: (images, grid tokens, d_model).
        beam: beginnings that are kept per image; 1 is `greedy`.
        max_tokens: where captions are cut.

    Returns:
        int64 (images, at most max_tokens): the best caption of each image, padded behind the end token.
    """
    if beam == 1:
        return greedy(captioner, memory, max_tokens)
    images, device = len(memory), memory.device
    decoding = Decoding(captioner, memory, beam)
    first = torch.arange(images, device=device).unsqueeze(1) * beam
    tokens = torch.full((images * beam, 1), BOS, dtype=torch.long, device=device)
    # All beginnings of an image are alike at first: only one of them may go on.
    totals = torch.full((images, beam), -torch.inf, device=device)
    totals[:, 0] = 0.0
    ended = torch.zeros(images * beam, dtype=torch.bool, device=device)
    while tokens.shape[1] < min(max_tokens, MAX_TOKENS) and not bool(ended.all()):
        scores = decoding.next_scores(tokens[:, -1])
        # What has ended goes on with padding, at no cost.
        scores[ended] = -torch.inf
        scores[ended, PAD] = 0.0
        candidates = (totals.view(-1, 1) + scores).view(images, -1)
        totals, chosen = candidates.topk(beam, -1)
        rows = (first + chosen // scores.shape[1]).flatten()
        words = (chosen % scores.shape[1]).flatten()
        tokens = torch.cat([tokens[rows], words.unsqueeze(1)], 1)
        decoding.keep(rows)
        ended = ended[rows] | (words == EOS)
    return tokens[(first.squeeze(1) + totals.argmax(-1))]


def _projected(attention: nn.MultiheadAttention, x: Tensor, which: str) -> tuple[Tensor, ...]:
    """Queries, keys or values of an attention as asked for, (rows, heads, places, head width) each."""
    width, heads = attention.embed_dim, attention.num_heads
    parts = ["qkv".index(letter) for letter in which]
    weights, bias = attention.in_proj_weight.view(3, width, width), attention.in_proj_bias.view(3, width)
    return tuple(
        functional.linear(x, weights[part], bias[part]).view(len(x), -1, heads, width // heads).transpose(1, 2)
        for part in parts
    )


def _attended(attention: nn.MultiheadAttention, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """(rows, queries, d_model)."""
    seen = functional.scaled_dot_product_attention(query, keys, values)
    return attention.out_proj(seen.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]
