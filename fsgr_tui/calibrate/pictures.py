"""Pictures in place of a data set that is not here: COCO's usual size in pixels and bytes."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from fsgr_tui.core.coco import AVERAGE_JPEG_BYTES
from fsgr_tui.features.images import Image

SIZE = (640, 480)
"""The commonest size of COCO's pictures."""

COUNT = 48
_QUALITY = 90
_COARSE = (20, 15)
_MOST_NOISE = 64.0


def generate(folder: Path, count: int = COUNT) -> list[Image]:
    """Write pictures whose files are about as large as COCO's; the same ones every time.

    Raises:
        OSError: the folder cannot be written.
    """
    noise = _fitting_noise()
    made = []
    for number in range(1, count + 1):
        path = folder / f"{number:012d}.jpg"
        with path.open("wb") as file:
            file.write(_jpeg(number, noise))
            file.flush()
            os.fsync(file.fileno())
        made.append(Image(number, str(path)))
    return made


def _fitting_noise() -> float:
    """How much grain gives a file of COCO's average size: found by halving, on one picture."""
    low, high = 0.0, _MOST_NOISE
    for _ in range(7):
        middle = (low + high) / 2
        if len(_jpeg(1, middle)) < AVERAGE_JPEG_BYTES:
            low = middle
        else:
            high = middle
    return high


def _jpeg(seed: int, noise: float) -> bytes:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (_COARSE[1], _COARSE[0], 3), np.uint8)
    smooth = np.asarray(Pillow.fromarray(coarse).resize(SIZE, Pillow.Resampling.BICUBIC), np.float32)
    grain = generator.standard_normal(smooth.shape, np.float32)
    pixels = np.clip(smooth + noise * grain, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Pillow.fromarray(pixels).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
