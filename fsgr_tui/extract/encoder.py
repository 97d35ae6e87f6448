"""Pixels to grid features: the tower, the choice of tokens, the pooling and the storage type."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.extraction import ModelChoice, Precision
from fsgr_tui.core.tower import FeatureShape
from fsgr_tui.extract.device import chosen_device
from fsgr_tui.extract.model import LoadedTower, load_tower
from fsgr_tui.extract.pixels import ANTIALIAS, DECODER, INTERPOLATION
from fsgr_tui.features.manifest import Manifest

STAGE = "post-ln_post"

_TORCH_TYPE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Pending:
    """Features that the device may still be working on.

    On a GPU the copy to the host runs while the next batch is launched; `result` waits for it.
    """

    def __init__(self, host: Tensor, started: Any = None, ended: Any = None) -> None:
        self._host = host
        self._started = started
        self._ended = ended

    def result(self) -> NDArray[np.generic]:
        """The features, (images, tokens, width), in the storage type."""
        if self._ended is not None:
            self._ended.synchronize()
        features: NDArray[np.generic] = self._host.numpy()
        return features

    def device_s(self) -> float | None:
        """Seconds that the GPU took, once `result` was called; None on a CPU."""
        return self._started.elapsed_time(self._ended) / 1000 if self._ended is not None else None


class Encoder(nn.Module):
    """A frozen vision tower that gives the stored grid for pictures.

    Attributes:
        shape: what a row is.
        device: where it runs.
        precision: arithmetic in use: fp32, bf16 or fp16.
        loaded: the tower with its source.
    """

    def __init__(self, loaded: LoadedTower, shape: FeatureShape, device: torch.device, precision: str) -> None:
        super().__init__()
        self.loaded = loaded
        self.shape = shape
        self.device = device
        self.precision = precision
        # On a GPU autocast keeps the LayerNorms in fp32; on a CPU it would convert the weights anew at every call.
        self._mean: Tensor
        self._std: Tensor
        self._autocast = device.type == "cuda" and precision != "fp32"
        self._type = torch.float32 if self._autocast else _TORCH_TYPE[precision]
        self.visual = loaded.visual.to(device=device, dtype=self._type)
        self.visual.output_tokens = True  # type: ignore[assignment]  # open_clip's switch for patch tokens
        self.register_buffer("_mean", _scale(loaded.mean, device))
        self.register_buffer("_std", _scale(loaded.std, device))
        self._chunk = 0

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> Tensor:
        """Grid features of a batch.

        Args:
            pixels: uint8 (images, px, px, 3) on any device.

        Returns:
            float32 (images, tokens, width) on the encoder's device.
        """
        x = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        x = ((x - self._mean) / self._std).to(self._type)
        with torch.autocast(self.device.type, dtype=_TORCH_TYPE[self.precision], enabled=self._autocast):
            tokens = self._tokens(x)
        return self._pooled(tokens.float())

    def encode(self, pixels: Tensor) -> Pending:
        """Start to encode a batch; out of memory, it is tried in smaller pieces, and the size that worked is kept.

        Args:
            pixels: uint8 (images, px, px, 3), pinned where a GPU is used.

        Raises:
            MachineCannot: not even one image fits into the GPU's memory.
        """
        stored = torch.float16 if self.shape.dtype == "float16" else torch.float32
        if self.device.type != "cuda":
            return Pending(self(pixels).to(stored))
        started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        started.record()
        host = torch.empty((len(pixels), self.shape.tokens, self.shape.tower.width), dtype=stored, pin_memory=True)
        self._chunk = self._chunk or len(pixels)
        start = 0
        while start < len(pixels):
            piece = pixels[start : start + self._chunk]
            try:
                host[start : start + len(piece)].copy_(self(piece).to(stored), non_blocking=True)
            except torch.cuda.OutOfMemoryError:
                self._smaller_chunk()
                continue
            start += len(piece)
        ended.record()
        return Pending(host, started, ended)

    @property
    def chunk(self) -> int:
        """Images that go through the tower at once after memory ran out; 0 before the first batch."""
        return self._chunk

    def _smaller_chunk(self) -> None:
        torch.cuda.empty_cache()
        if self._chunk <= 1:
            raise MachineCannot(
                f"The memory of {self.device} does not hold {self.shape.tower.name} and one image.",
                "Free it (see nvidia-smi), or use another GPU with --device.",
            )
        self._chunk //= 2

    def _tokens(self, x: Tensor) -> Tensor:
        """Native tokens (images, tokens, width), class token left out."""
        if self.shape.tower.family == "resnet":
            grid = self.visual.forward_intermediates(x, indices=1, intermediates_only=True)["image_intermediates"][-1]  # type: ignore[operator]
            return grid.flatten(2).transpose(1, 2)  # type: ignore[no-any-return]
        _, tokens = self.visual(x)
        return tokens  # type: ignore[no-any-return]

    def _pooled(self, tokens: Tensor) -> Tensor:
        side, native = self.shape.side, self.shape.native_side
        if side == native:
            return tokens
        grid = tokens.transpose(1, 2).reshape(len(tokens), -1, native, native)
        return functional.adaptive_avg_pool2d(grid, side).flatten(2).transpose(1, 2)


def make_encoder(choice: ModelChoice) -> Encoder:
    """The encoder of a choice.

    Raises:
        Problem: see `load_tower`; also when the device is not there.
    """
    device = chosen_device(choice.device)
    loaded = load_tower(choice)
    shape = FeatureShape(loaded.tower, choice.grid, choice.dtype).checked()
    return Encoder(loaded, shape, device, _precision(choice.precision, device))


def manifest_of(encoder: Encoder, choice: ModelChoice) -> Manifest:
    """The manifest of what this encoder gives; counts, names and times are the caller's to add."""
    import open_clip
    import PIL

    loaded, shape = encoder.loaded, encoder.shape
    return Manifest(
        clip_model=loaded.tower.name,
        weights=choice.weights,
        weights_sha256=loaded.sha256,
        activation=loaded.activation,
        image_px=shape.input_px,
        resize=choice.resize,
        interpolation=INTERPOLATION,
        antialias=ANTIALIAS,
        decoder=DECODER,
        mean=loaded.mean,
        std=loaded.std,
        stage=STAGE if shape.tower.family == "vit" else "last stage",
        grid=shape.grid,
        pooling=shape.pooling,
        tokens=shape.tokens,
        width=shape.tower.width,
        dtype=shape.dtype,
        precision=encoder.precision,
        device=_device_name(encoder.device),
        versions={
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "open_clip": str(open_clip.__version__),
            "pillow": PIL.__version__,
            "numpy": np.__version__,
        },
    )


def _scale(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device).view(1, 3, 1, 1) * 255


def _precision(wanted: Precision, device: torch.device) -> str:
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "fp16"
    return "bf16" if _cpu_has_bf16() else "fp32"


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 itself; without that, bf16 is slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"
