"""GPU memory of training in both ways. Priors of ViT-B/16 with adapters and prompts, within 40 percent."""

from __future__ import annotations

from fsgr_tui.core.tower import Tower
from fsgr_tui.core.units import GB, Estimate

SPREAD = 0.4

# Read off a lab's runs of the FSGR code: weights and optimizer, activations of an image in CLIP and in the caption
# model, and what the driver and the allocator take.
_CLIP_FIXED_GB = 1.2
_CLIP_IMAGE_GB = 0.157
_MODEL_FIXED_GB = 0.6
_MODEL_IMAGE_GB = 0.04
_RESERVE_REALTIME_GB = 1.25
_RESERVE_PRECOMPUTED_GB = 1.0


def _scale(tower: Tower) -> float:
    return tower.tokens * tower.width / (196 * 768)


def realtime_bytes(tower: Tower, batch_size: int) -> Estimate:
    """GPU memory of realtime training in bytes: CLIP resident, its activations kept for the adapters."""
    per_image = _CLIP_IMAGE_GB * _scale(tower) + _MODEL_IMAGE_GB
    return Estimate.around(
        (_CLIP_FIXED_GB + batch_size * per_image + _RESERVE_REALTIME_GB) * GB, SPREAD, "bytes", "table"
    )


def precomputed_bytes(batch_size: int) -> Estimate:
    """GPU memory of training on stored features in bytes."""
    total = _MODEL_FIXED_GB + batch_size * _MODEL_IMAGE_GB + _RESERVE_PRECOMPUTED_GB
    return Estimate.around(total * GB, SPREAD, "bytes", "table")


def largest_batch(tower: Tower, free_bytes: int, *, realtime: bool) -> int:
    """Largest batch whose likely need fits into so much free memory; 0 when none does."""
    if realtime:
        fixed, per_image = _CLIP_FIXED_GB + _RESERVE_REALTIME_GB, _CLIP_IMAGE_GB * _scale(tower) + _MODEL_IMAGE_GB
    else:
        fixed, per_image = _MODEL_FIXED_GB + _RESERVE_PRECOMPUTED_GB, _MODEL_IMAGE_GB
    return max(0, int((free_bytes / GB - fixed) / per_image))
