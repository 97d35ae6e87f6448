"""Trainable bottleneck adapters inside the frozen vision tower."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr
from fsgr_tui.core.training import Adapters
from fsgr_tui.extract.encoder import Encoder


class Adapter(nn.Module):
    """A bottleneck beside a block: down, GELU, up, added to what the block gives.

    The way up begins at zero, so that training starts from the tower as it was.
    """

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """The same shape and type; computed in fp32, or in autocast's type where that is on."""
        change: Tensor = self.up(functional.gelu(self.down(tokens.float())))
        return tokens + change.to(tokens.dtype)


class AdaptedTower(nn.Module):
    """A frozen tower with adapters in some of its blocks, from pictures to grid features with gradients.

    Args:
        encoder: the frozen tower on the training device.
        adapters: which blocks, how wide.
        seed: of the adapters' weights.

    Raises:
        BadRequest: the tower has no such blocks, or gives its features in another way.
    """

    def __init__(self, encoder: Encoder, adapters: Adapters, seed: int) -> None:
        super().__init__()
        tower = encoder.shape.tower
        if tower.family != "vit" or encoder.shape.stage != "post-ln_post":
            raise BadRequest(
                tr(
                    "{tower} cannot take adapters: they go into the blocks of a ViT, before its final LayerNorm.",
                    tower=tower.name,
                ),
                tr("Leave --adapter-b and --adapter-e out, or choose a ViT."),
            )
        blocks = encoder.visual.transformer.resblocks
        if not 0 <= adapters.first <= adapters.last < len(blocks):
            raise BadRequest(
                tr(
                    "{tower} has no blocks {first} to {last}: its blocks are 0 to {highest}.",
                    tower=tower.name,
                    first=adapters.first,
                    last=adapters.last,
                    highest=len(blocks) - 1,
                ),
                tr("Change --adapter-b or --adapter-e; FSGR's are 6 and 11 of ViT-B/16."),
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = {str(number): Adapter(tower.width, adapters.bottleneck) for number in _numbers(adapters)}
        self.adapters = nn.ModuleDict(made).to(encoder.device)
        # Not a submodule: the tower is no part of the state that is trained and kept.
        self._tower = (encoder,)
        for number in _numbers(adapters):
            blocks[number].register_forward_hook(self._hook(number))

    def forward(self, pixels: Tensor) -> Tensor:
        """Grid features, float32 (images, tokens, width), for uint8 pixels (images, px, px, 3)."""
        (encoder,) = self._tower
        # The encoder's own way runs in inference mode, through which no gradient passes; this is what it wraps.
        through: Any = Encoder.encoded.__wrapped__  # type: ignore[attr-defined]
        grids: Tensor = through(encoder, pixels).grids
        return grids

    def _hook(self, number: int) -> Any:
        adapter = self.adapters[str(number)]

        def added(_block: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            changed: Tensor = adapter(output)
            return changed

        return added


def _numbers(adapters: Adapters) -> range:
    return range(adapters.first, adapters.last + 1)
