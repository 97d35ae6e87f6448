"""The reference captioner: a plain transformer from grid features to words."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgr_tui.core.training import CaptionerSize
from fsgr_tui.train.vocabulary import MAX_TOKENS, PAD


class Captioner(nn.Module):
    """Transformer encoder over grid tokens, transformer decoder over words, with an output of its own.

    Tied to the word embedding, the output would begin by repeating each word, far above a loss of ln(vocabulary).
    Layers normalise first, which trains stably without a long warm-up. Grid tokens get no positions of their own:
    CLIP's tokens carry theirs.

    Args:
        size: sizes of the transformer.
        feature_width: channels of a grid token.
        words: size of the vocabulary.
    """

    def __init__(self, size: CaptionerSize, feature_width: int, words: int) -> None:
        super().__init__()
        width = size.d_model
        self.project = nn.Sequential(nn.Linear(feature_width, width), nn.LayerNorm(width), nn.Dropout(size.dropout))
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**_layer(size)),
            size.layers,
            norm=nn.LayerNorm(width),
            enable_nested_tensor=False,
        )
        self.embed = nn.Embedding(words, width, padding_idx=PAD)
        self.position = nn.Parameter(torch.empty(MAX_TOKENS, width))
        self.dropout = nn.Dropout(size.dropout)
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(**_layer(size)), size.layers, norm=nn.LayerNorm(width)
        )
        self.output = nn.Linear(width, words, bias=False)
        nn.init.normal_(self.embed.weight, std=width**-0.5)
        nn.init.normal_(self.position, std=0.02)
        self._scale = math.sqrt(width)

    def forward(self, grids: Tensor, tokens: Tensor) -> Tensor:
        """Scores of the next word at every place.

        Args:
            grids: float (images, grid tokens, feature width).
            tokens: int64 (captions, length), begin token first, padded at the end; at most `MAX_TOKENS` long. One
                caption an image, or as many of each as fit; those of an image lie side by side.

        Returns:
            (captions, length, words); places of padding hold numbers without meaning.
        """
        memory = self.encode(grids)
        if len(tokens) != len(memory):
            memory = memory.repeat_interleave(len(tokens) // len(memory), 0)
        return self.decode(memory, tokens)

    def encode(self, grids: Tensor) -> Tensor:
        """Grid features to the decoder's memory, (captions, grid tokens, d_model)."""
        memory: Tensor = self.encoder(self.project(grids))
        return memory

    def embedded(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Words at their places, the first of them at place `start`: (captions, length, d_model)."""
        placed: Tensor = self.embed(tokens) * self._scale + self.position[start : start + tokens.shape[1]]
        return placed

    def decode(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Scores of the next word at every place, (captions, length, words)."""
        length = tokens.shape[1]
        x = self.dropout(self.embedded(tokens))
        future = torch.ones(length, length, dtype=torch.bool, device=tokens.device).triu(1)
        x = self.decoder(x, memory, tgt_mask=future, tgt_is_causal=True, tgt_key_padding_mask=tokens == PAD)
        scores: Tensor = self.output(x)
        return scores


def caption_loss(scores: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy over the words of a batch; padding does not count.

    Args:
        scores: (captions, length, words), of any float type; computed in fp32.
        targets: int64 (captions, length).
        reduction: "mean" over words, or "sum".
    """
    return functional.cross_entropy(
        scores.float().flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction=reduction
    )


def _layer(size: CaptionerSize) -> dict[str, Any]:
    return {
        "d_model": size.d_model,
        "nhead": size.heads,
        "dim_feedforward": size.feed_forward,
        "dropout": size.dropout,
        "batch_first": True,
        "norm_first": True,
    }
