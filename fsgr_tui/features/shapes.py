"""What a row's shape says: which tower it may come from, or which of the usual mistakes was made."""

from __future__ import annotations

import math

from fsgr_tui.core.language import tr
from fsgr_tui.core.tower import KNOWN, FeatureShape

_CLIP = [tower for tower in KNOWN.values() if not tower.name.startswith("fsgr-")]
_GRIDS = {(tokens, tower.width) for tower in _CLIP for tokens in (tower.tokens, 49, 64)}
_PROJECTED = {(tower.tokens, tower.embed_dim) for tower in _CLIP}
"""Shapes of grid features before and after the projection; (49, 768) is ViT-B/32's before it and could be another's after."""


def known_shape(shape: tuple[int, ...]) -> str:
    """Which towers give rows of this shape; empty when none that is known does."""
    names = [
        f"{tower.name} {'native' if grid == 'native' else grid}"
        for tower in KNOWN.values()
        for grid in ("native", "7x7", "8x8")
        if shape == (FeatureShape(tower, grid).tokens, tower.width) and FeatureShape(tower, grid).side <= tower.side
    ]
    return ", ".join(names[:3])


def shape_fault(shape: tuple[int, ...]) -> str:
    """The usual mistakes in a row's shape; empty when it is none of them."""
    grids = {tower.tokens for tower in KNOWN.values()} | {49, 64}
    widths = {tower.width for tower in _CLIP}
    projected = {tower.embed_dim for tower in _CLIP} - widths
    if len(shape) == 3 and shape[0] == 1:
        return tr("An extra batch axis: {shape} instead of {shape2}.", shape=shape, shape2=shape[1:])
    if not shape or 0 in shape:
        return tr("No values.") if shape else tr("One number per image, not a grid.")
    if len(shape) == 1:
        return tr("One pooled vector of {shape} per image, not a grid.", shape=shape[0])
    if len(shape) != 2:
        return tr("{n} axes instead of two (tokens, width).", n=len(shape))
    tokens, width = shape
    if tokens in widths and width in grids:
        return tr(
            "Transposed: {width} tokens of width {tokens} are stored as {tokens} x {width}.", width=width, tokens=tokens
        )
    if tokens - 1 in grids and width in widths | projected:
        return tr(
            "{tokens} tokens = {tokens2} + the class token, which should have been left out.",
            tokens=tokens,
            tokens2=tokens - 1,
        )
    if math.isqrt(tokens) ** 2 != tokens and math.isqrt(tokens - 1) ** 2 == tokens - 1 and tokens - 1 in grids:
        return tr(
            "{tokens} tokens are no square grid, and {tokens2} are: the class token was left in, it seems.",
            tokens=tokens,
            tokens2=tokens - 1,
        )
    if (tokens in grids and width in projected) or shape in _PROJECTED - _GRIDS:
        return tr(
            "Width {width} is that of projected features; grid features are taken before the projection.", width=width
        )
    return ""
