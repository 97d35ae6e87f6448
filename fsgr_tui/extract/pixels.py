"""Image files to pixels: one policy for extraction, recomputation and realtime training.

Pictures are converted to RGB first and then resized with Pillow's antialiased bicubic filter. Rotation tags are not
applied, as in the field's training loaders; their number is told. Pillow's guard against decompression bombs stays on.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from fsgr_tui.core.extraction import Backend, Resize
from fsgr_tui.extract import fast

_ORIENTATION_TAG = 0x0112
_UPRIGHT = 1

# Above a quarter of a gigapixel Pillow raises; between that and half of it it warns, which becomes a remark here.
warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)


class UnreadableImage(Exception):  # noqa: N818 - a refusal, told in the report
    """An image file that gives no pixels, with the true reason."""


@dataclass(frozen=True)
class Picture:
    """Pixels of one image, and what is worth telling about its file.

    Attributes:
        pixels: uint8 (px, px, 3), RGB.
        rotated: whether the file carries a rotation tag, which was not applied.
        mislabelled: the true format when the suffix promises another.
        huge_px: the number of pixels when Pillow's guard would warn.
    """

    pixels: NDArray[np.uint8]
    rotated: bool = False
    mislabelled: str = ""
    huge_px: int = 0


def load_picture(path: str, px: int, resize: Resize, backend: Backend = "pillow") -> Picture:
    """Decode and resize one image file.

    Args:
        path: the file.
        px: edge of the square result.
        resize: "squash" or "crop".
        backend: "pillow", or "torchvision" for RGB and grey JPEG files; the others go through Pillow in any case.

    Raises:
        UnreadableImage: the file is missing, empty, cut off, no image, or too large.
    """
    try:
        with Pillow.open(path) as image:
            rotated = "exif" in image.info and image.getexif().get(_ORIENTATION_TAG, _UPRIGHT) != _UPRIGHT
            mislabelled = _true_format(path, image.format)
            count = image.width * image.height
            guard = Pillow.MAX_IMAGE_PIXELS or count
            if image.mode.startswith(("I", "F")):
                raise UnreadableImage(f"{image.mode} pixels (16 bits or more); convert it to 8 bits a channel")
            if backend == "torchvision" and image.format == "JPEG" and image.mode in ("RGB", "L"):
                pixels = fast.square(path, px, *_target(image.size, px, resize))
            else:
                pixels = _square(image.convert("RGB"), px, resize)
    except UnreadableImage:
        raise
    except Pillow.DecompressionBombError as error:
        raise UnreadableImage(f"too large to decode safely: {error}") from None
    except UnidentifiedImageError:
        raise UnreadableImage(_why_no_image(path)) from None
    except (OSError, ValueError, SyntaxError, MemoryError, RuntimeError) as error:
        # Pillow's plugins raise all of these for damaged files; which one depends on the format.
        raise UnreadableImage(_why_damaged(path, error)) from None
    return Picture(pixels, rotated, mislabelled, count if count > guard else 0)


def _square(image: Pillow.Image, px: int, resize: Resize) -> NDArray[np.uint8]:
    width, height = _target(image.size, px, resize)
    resized = image.resize((width, height), Pillow.Resampling.BICUBIC)
    if (width, height) == (px, px):
        return np.asarray(resized)
    left, top = round((width - px) / 2), round((height - px) / 2)
    return np.asarray(resized.crop((left, top, left + px, top + px)))


def _target(size: tuple[int, int], px: int, resize: Resize) -> tuple[int, int]:
    """Width and height that a picture is resized to, before a centre crop takes px x px of it."""
    if resize == "squash":
        return px, px
    short = min(size)
    return int(px * size[0] / short), int(px * size[1] / short)


def _true_format(path: str, found: str | None) -> str:
    promised = Pillow.registered_extensions().get(Path(path).suffix.lower())
    # MPO is what Pillow calls a JPEG that carries further pictures behind the first.
    return found or "" if promised and found and promised != found and {promised, found} != {"JPEG", "MPO"} else ""


def _why_no_image(path: str) -> str:
    with Path(path).open("rb") as file:
        head = file.read(16)
    if not head:
        return "empty (0 bytes)"
    if head.startswith(b"\x1f\x8b"):
        return "gzip data, not an image; unpack it"
    if not head.strip(b"\0"):
        return "begins with zeros: its copy or download was cut off"
    if head.lstrip().lower().startswith((b"<html", b"<!doc")):
        return "an HTML page, not an image"
    return "no image format that Pillow knows"


def _why_damaged(path: str, error: BaseException) -> str:
    file = Path(path)
    if file.is_symlink() and not file.exists():
        return f"a link to {file.readlink()}, which is not there"
    if isinstance(error, FileNotFoundError):
        return "file not found"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    size = file.stat().st_size
    return f"damaged or cut off ({size:,} bytes): {error}"
