"""Pixels to grid features: the tower, the choice of tokens, the pooling and the storage type."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.extraction import ModelChoice, Precision
from fsgr_tui.core.language import tr
from fsgr_tui.core.tower import FeatureShape, find_tower
from fsgr_tui.extract.device import chosen_device
from fsgr_tui.extract.model import LoadedTower, installed_towers, load_tower
from fsgr_tui.extract.text import class_embeddings
from fsgr_tui.features.manifest import Manifest
from fsgr_tui.features.planned import file_digest, planned_manifest

_STORED = {"float16": torch.float16, "float32": torch.float32, "int64": torch.int64, "uint8": torch.uint8}
_TORCH_TYPE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Encoded(NamedTuple):
    """What the tower gives for a batch, on its device.

    Attributes:
        grids: (images, *row_shape): float32 features, or int64 labels.
        class_tokens: float32 (images, width); None unless they are stored.
    """

    grids: Tensor
    class_tokens: Tensor | None = None


class Pending:
    """Features that the device may still be working on.

    On a GPU the copy to the host runs while the next batch is launched; `result` waits for it.
    """

    def __init__(self, grids: Tensor, class_tokens: Tensor | None, started: Any = None, ended: Any = None) -> None:
        self._grids = grids
        self._class_tokens = class_tokens
        self._started = started
        self._ended = ended

    def result(self) -> tuple[NDArray[np.generic], NDArray[np.generic] | None]:
        """Rows (images, *row_shape) and class tokens (images, width), in the storage type."""
        if self._ended is not None:
            self._ended.synchronize()
        return self._grids.numpy(), None if self._class_tokens is None else self._class_tokens.numpy()

    def device_s(self) -> float | None:
        """Seconds that the GPU took, once `result` was called; None on a CPU."""
        return self._started.elapsed_time(self._ended) / 1000 if self._ended is not None else None


class PixelEncoder:
    """The resized picture itself: the one exact shortcut when adapters or prompts inside CLIP are trained."""

    device = torch.device("cpu")
    precision = "none"

    def __init__(self, shape: FeatureShape) -> None:
        self.shape = shape

    def encode(self, pixels: Tensor) -> Pending:
        """A copy of the pixels, uint8 (images, px, px, 3): the pipeline fills its buffers anew."""
        return Pending(pixels.clone(), None)


class Encoder(nn.Module):
    """A frozen vision tower that gives the stored rows for pictures.

    Args:
        loaded: the tower with its source.
        shape: what a row is.
        device: where it runs.
        precision: arithmetic: fp32, bf16 or fp16.
        classes: for labels, text embeddings (classes, embed_dim).
        compiled: whether the tower goes through torch.compile.

    Attributes:
        ran_out: whether the memory did not hold a batch, so that it goes through in pieces of `chunk`.
    """

    def __init__(
        self,
        loaded: LoadedTower,
        shape: FeatureShape,
        device: torch.device,
        precision: str,
        *,
        classes: Tensor | None = None,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.loaded = loaded
        self.shape = shape
        self.device = device
        self.precision = precision
        # On a GPU autocast keeps the LayerNorms in fp32; on a CPU it would convert the weights anew at every call.
        self._autocast = device.type == "cuda" and precision != "fp32"
        self._type = torch.float32 if self._autocast else _TORCH_TYPE[precision]
        self.visual: Any = loaded.visual.to(device=device, dtype=self._type)
        if device.type == "cuda" and shape.tower.family == "resnet":
            # Pictures come as rows of pixels; a ViT has one convolution, a ResNet is made of them.
            self.visual.to(memory_format=torch.channels_last)
        self._mean: Tensor
        self._std: Tensor
        self.register_buffer("_mean", _scale(loaded.mean, device))
        self.register_buffer("_std", _scale(loaded.std, device))
        self._classes = None if classes is None else functional.normalize(classes.float(), dim=-1).to(device)
        self._tower = torch.compile(self._through_tower) if compiled else self._through_tower
        self._chunk = 0
        self.ran_out = False

    def forward(self, pixels: Tensor) -> Tensor:
        """Grid features of a batch.

        Args:
            pixels: uint8 (images, px, px, 3) on any device.

        Returns:
            float32 (images, tokens, width) on the encoder's device.
        """
        return self.encoded(pixels).grids

    @torch.inference_mode()
    def encoded(self, pixels: Tensor) -> Encoded:
        """Everything that is stored for a batch; see `forward`."""
        x = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        x = ((x - self._mean) / self._std).to(self._type)
        with torch.autocast(self.device.type, dtype=_TORCH_TYPE[self.precision], enabled=self._autocast):
            tokens = self._tower(x)
        if self.shape.stage == "labels":
            return Encoded(self._labelled(tokens.float()))
        if self.shape.tower.family == "resnet":
            return Encoded(self._pooled(tokens.float()))
        class_tokens = tokens[:, 0].float() if self.shape.global_token else None
        return Encoded(self._pooled(tokens[:, 1:].float()), class_tokens)

    def encode(self, pixels: Tensor) -> Pending:
        """Start to encode a batch; out of memory, it is tried in smaller pieces, and the size that worked is kept.

        Args:
            pixels: uint8 (images, px, px, 3), pinned where a GPU is used.

        Raises:
            MachineCannot: not even one image fits into the memory.
        """
        on_gpu = self.device.type == "cuda"
        started, ended = (_timer(), _timer()) if on_gpu else (None, None)
        if started is not None:
            started.record()
        kind = _STORED[self.shape.stored_dtype]
        grids = torch.empty((len(pixels), *self.shape.row_shape), dtype=kind, pin_memory=on_gpu)
        class_tokens = None
        if self.shape.global_token:
            class_tokens = torch.empty((len(pixels), self.shape.global_width), dtype=kind, pin_memory=on_gpu)
        self._chunk = self._chunk or len(pixels)
        start = 0
        while start < len(pixels):
            try:
                piece = self.encoded(pixels[start : start + self._chunk])
            except torch.OutOfMemoryError:
                self._smaller_chunk()
                continue
            stop = start + len(piece.grids)
            grids[start:stop].copy_(piece.grids.to(kind), non_blocking=True)
            if class_tokens is not None and piece.class_tokens is not None:
                class_tokens[start:stop].copy_(piece.class_tokens.to(kind), non_blocking=True)
            start = stop
        if ended is not None:
            ended.record()
        return Pending(grids, class_tokens, started, ended)

    @property
    def chunk(self) -> int:
        """Images that go through the tower at once; smaller than the batch after memory ran out."""
        return self._chunk

    def _smaller_chunk(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self._chunk <= 1:
            raise MachineCannot(
                tr(
                    "The memory of {device} does not hold {name} and one image.",
                    device=self.device,
                    name=self.shape.tower.name,
                ),
                tr("Free it (see nvidia-smi), or use another GPU with --device."),
            )
        self._chunk //= 2
        self.ran_out = True

    def _through_tower(self, x: Tensor) -> Tensor:
        """All tokens at the wanted stage, class token first: (images, 1 + tokens, width); a ResNet has none."""
        visual = self.visual
        if self.shape.tower.family == "resnet":
            grid = visual.forward_intermediates(x, indices=1, intermediates_only=True)["image_intermediates"][-1]
            return grid.flatten(2).transpose(1, 2)  # type: ignore[no-any-return]
        if self.shape.stage == "labels":
            return self._value_path(x)
        tokens: Tensor = visual.transformer(visual._embeds(x))  # noqa: SLF001 - open_clip has no public way to these tokens
        if self.shape.stage == "pre-ln_post":
            return tokens
        tokens = visual.ln_post(tokens)
        return tokens @ visual.proj if self.shape.stage == "projected" else tokens

    def _value_path(self, x: Tensor) -> Tensor:
        """Projected tokens of the last block's value path, as MaskCLIP takes them.

        The last block's attention is replaced by its value and output projections, each token looking at itself only;
        residuals, feed-forward, final LayerNorm and projection stay.
        """
        visual = self.visual
        last = visual.transformer.resblocks[-1]
        entering: list[Tensor] = []
        hook = last.register_forward_pre_hook(lambda _module, inputs: entering.append(inputs[0]))
        try:
            visual.transformer(visual._embeds(x))  # noqa: SLF001 - as above
        finally:
            hook.remove()
        tokens = entering[0] if visual.transformer.batch_first else entering[0].transpose(0, 1)
        attention = last.attn
        width = attention.embed_dim
        value = functional.linear(last.ln_1(tokens), attention.in_proj_weight[-width:], attention.in_proj_bias[-width:])
        tokens = tokens + last.ls_1(attention.out_proj(value))
        tokens = tokens + last.ls_2(last.mlp(last.ln_2(tokens)))
        return visual.ln_post(tokens) @ visual.proj  # type: ignore[no-any-return]

    def _labelled(self, tokens: Tensor) -> Tensor:
        """Index of the nearest class by cosine for each patch, int64 (images, tokens)."""
        if self._classes is None:
            raise RuntimeError("labels need the embeddings of the classes")
        return (functional.normalize(tokens[:, 1:], dim=-1) @ self._classes.T).argmax(-1)

    def _pooled(self, tokens: Tensor) -> Tensor:
        side, native = self.shape.side, self.shape.native_side
        if side == native:
            return tokens
        grid = tokens.transpose(1, 2).reshape(len(tokens), -1, native, native)
        return functional.adaptive_avg_pool2d(grid, side).flatten(2).transpose(1, 2)


AnyEncoder = Encoder | PixelEncoder


def make_encoder(choice: ModelChoice) -> Encoder:
    """The encoder of a choice.

    Raises:
        Problem: see `load_tower`; also when the device is not there.
    """
    device = chosen_device(choice.device)
    needs_text = choice.stage == "labels"
    loaded = load_tower(choice, with_text=needs_text)
    classes = class_embeddings(choice, loaded) if needs_text else None
    precision = _precision(choice.precision, device)
    return Encoder(loaded, choice.shape(loaded.tower), device, precision, classes=classes, compiled=choice.compiled)


def make_any_encoder(choice: ModelChoice) -> AnyEncoder:
    """As `make_encoder`; for the pixel cache no model is loaded."""
    if choice.stage != "pixels":
        return make_encoder(choice)
    return PixelEncoder(choice.shape(find_tower(choice.clip_model, installed_towers())))


def manifest_of(encoder: AnyEncoder, choice: ModelChoice) -> Manifest:
    """The manifest of what this encoder gives; counts, names and times are the caller's to add."""
    import open_clip
    import PIL

    made = msgspec.structs.replace(
        planned_manifest(encoder.shape, choice, encoder.precision),
        versions={
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "open_clip": str(open_clip.__version__),
            "pillow": PIL.__version__,
            "numpy": np.__version__,
        },
    )
    if isinstance(encoder, PixelEncoder):
        return made
    loaded = encoder.loaded
    return msgspec.structs.replace(
        made,
        weights_sha256=loaded.sha256,
        activation=loaded.activation,
        mean=loaded.mean,
        std=loaded.std,
        classes_sha256=file_digest(Path(choice.classes)) if choice.classes else "",
        device=_device_name(encoder.device),
    )


def _timer() -> Any:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


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
