"""The fast pixel backend: torchvision's JPEG decoder and its antialiased uint8 resize.

Pixels differ from Pillow's by one level in a few of a thousand values; how much on a run's own images is measured and
recorded in the manifest.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

# torchvision announces the move of its decoders to torchcodec at every call; users can do nothing about it.
warnings.filterwarnings("ignore", message="The image decoding and encoding capabilities", category=DeprecationWarning)


def square(path: str, px: int, width: int, height: int) -> NDArray[np.uint8]:
    """Decode, resize to width x height, and take the central px x px.

    Returns:
        uint8 (px, px, 3), RGB.

    Raises:
        RuntimeError: the file is damaged.
    """
    picture = decode_jpeg(read_file(path), mode=ImageReadMode.RGB)
    picture = transforms.resize(picture, [height, width], interpolation=InterpolationMode.BICUBIC, antialias=True)
    if (width, height) != (px, px):
        picture = transforms.center_crop(picture, [px, px])
    pixels: NDArray[np.uint8] = picture.permute(1, 2, 0).contiguous().numpy()
    return pixels
