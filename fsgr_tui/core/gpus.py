"""GPUs by name: memory, peak arithmetic, and published rates of the CLIP towers."""

from __future__ import annotations

import re

import msgspec

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import mark, sentences, tr
from fsgr_tui.core.machine import Gpu
from fsgr_tui.core.units import GIB, Unknown


class GpuModel(msgspec.Struct, frozen=True):
    """One GPU as its maker sells it.

    Attributes:
        name: as people write it; the driver's longer name contains it.
        memory_gib: the sizes it is sold with.
        tflops: dense fp16 with fp32 accumulation, 10^12 operations a second.
        base32, base16, large14: images/s of ViT-B/32, ViT-B/16, ViT-L/14 where published.
        unified: whether it shares the host's memory.
    """

    name: str
    memory_gib: tuple[int, ...]
    tflops: float
    base32: float | None = None
    base16: float | None = None
    large14: float | None = None
    unified: bool = False


# Memory and TFLOPS: the makers' data sheets. Rates: DeiT's table (V100, fp32), clip-retrieval's notes (A100, resizing
# included), timm's result tables (3090, 4090, the model alone). Longer names stand before the shorter ones in them.
GPU_MODELS = (
    GpuModel("V100", (16, 32), 125, None, 292, 63),
    GpuModel("A100", (40, 80), 312, 2500, 1100, 312),
    GpuModel("RTX 3090", (24,), 71, 5090, 1387, 360),
    GpuModel("RTX 4090", (24,), 165, 10128, 2270, 658),
    GpuModel("H200", (141,), 989),
    GpuModel("H100", (80,), 989),
    GpuModel("RTX A6000", (48,), 155),
    GpuModel("RTX 6000 Ada", (48,), 364),
    GpuModel("L40S", (48,), 362),
    GpuModel("L40", (48,), 181),
    GpuModel("L4", (24,), 121),
    GpuModel("A10G", (24,), 70),
    GpuModel("A10", (24,), 125),
    GpuModel("A30", (24,), 165),
    GpuModel("A40", (48,), 150),
    GpuModel("T4", (16,), 65),
    GpuModel("RTX 2080 Ti", (11,), 54),
    GpuModel("GB10", (128,), 125, unified=True),
)

_COUNT = re.compile(r"^(\d{1,2})\s*[xX]\s*(?=\S)")
_MEMORY = re.compile(r"[-\s](\d{1,3})\s*Gi?B?\b(?!\S)", re.IGNORECASE)
_SLICE = re.compile(r"MIG\s+(\d)g\.(\d{1,3})gb", re.IGNORECASE)
_SLICES_OF_A_GPU = 7
"""Compute slices of a GPU in MIG mode (NVIDIA's MIG user guide)."""


def model_of(gpu: Gpu) -> GpuModel | None:
    """The table's entry for a GPU, by the name that its driver gives; laptop parts share names but not rates."""
    name = gpu.name.lower()
    if "laptop" in name or "max-q" in name:
        return None
    return next((model for model in GPU_MODELS if _named(model.name.lower(), name)), None)


def _named(model: str, name: str) -> bool:
    """Whether a driver's name holds a model's: as words of their own, form factors behind them allowed."""
    return re.search(rf"(?<![a-z0-9]){re.escape(model.removeprefix('rtx '))}(?![0-9a-rt-z])", name) is not None


def compute_share(gpu: Gpu) -> float:
    """What part of its GPU's arithmetic a MIG slice has, by its name; 1 for a whole GPU."""
    found = _SLICE.search(gpu.name)
    return int(found[1]) / _SLICES_OF_A_GPU if found else 1.0


def gpus_like(text: str, vram_bytes: int | None = None) -> tuple[Gpu, ...]:
    """The idle GPUs that a wish such as `RTX 3090`, `8xA100 40GB` or `H100 MIG 1g.10gb` stands for.

    Args:
        vram_bytes: their memory; None for what the maker sells (the largest, where there are several sizes).

    Raises:
        BadRequest: no such GPU is known; the message lists near names.
    """
    count, wish = 1, " ".join(text.split())
    if numbered := _COUNT.match(wish):
        count, wish = int(numbered[1]), wish[numbered.end() :]
    if not 1 <= count <= 16:
        raise BadRequest(
            tr("--gpu {text} asks for {number} GPUs.", text=repr(text), number=count),
            tr("Ask for 1 to 16, e.g. 8xA100."),
        )
    mig = _SLICE.search(wish)
    bare = _SLICE.sub("", wish)
    size = _MEMORY.search(bare)
    bare = (bare[: size.start()] if size else bare).strip(" -")
    named = re.sub(r"\b(nvidia|geforce|tesla)\b", "", bare, flags=re.IGNORECASE).strip()
    found = next((model for model in GPU_MODELS if _key(model.name) in (_key(named), _key(f"RTX {named}"))), None)
    if found is None:
        raise BadRequest(tr("The GPU {text} is not in the table.", text=repr(text)), _near(named))
    gib = int(mig[2]) if mig else int(size[1]) if size else found.memory_gib[-1]
    if not mig and gib not in found.memory_gib:
        sizes = tr(" or ").join(map(str, found.memory_gib))
        raise BadRequest(
            tr("A {name} has {sizes} GB, not {gib}.", name=found.name, sizes=sizes, gib=gib),
            tr("Leave the size out, or give --vram."),
        )
    total = vram_bytes or gib * GIB
    name = f"NVIDIA {found.name}{f' MIG {mig[1]}g.{mig[2]}gb' if mig else ''}"
    if found.unified:
        shared = Unknown(mark("it shares the host's memory"))
        return tuple(
            Gpu(index, f"simulated-{index}", name, shared, shared, shared, 0, 0, shared_memory=True)
            for index in range(count)
        )
    return tuple(Gpu(index, f"simulated-{index}", name, total, total, 0, 0, 0, mig=bool(mig)) for index in range(count))


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _near(name: str) -> str:
    from difflib import get_close_matches

    by_key = {_key(model.name): model.name for model in GPU_MODELS}
    near = get_close_matches(_key(name), list(by_key), n=3, cutoff=0.5)
    known = ", ".join(model.name for model in GPU_MODELS)
    return sentences(
        tr("Did you mean {names}?", names=", ".join(by_key[key] for key in near)) if near else "",
        tr("Known: {names}. For another one give --vram, e.g. --vram 12GB.", names=known),
    )
