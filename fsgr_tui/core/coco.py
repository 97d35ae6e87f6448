"""The COCO splits of the captioning field: counts, sizes, and how a file name carries the image id."""

from __future__ import annotations

import re

import msgspec

from fsgr_tui.core.language import mark

AVERAGE_JPEG_BYTES = 163_500
"""Bytes of an average COCO image: the zips of train2014 and val2014 divided by their images (163.2 and 164.1 kB)."""

KARPATHY = "karpathy"
KARPATHY_SPLITS = ("train2014", "val2014")
"""The Karpathy split takes its images from both folders, so a file that serves it needs both."""

DATASETS: dict[str, tuple[str, ...]] = {
    "karpathy": ("train2014", "val2014"),
    "coco2014": ("train2014", "val2014"),
    "coco2017": ("train2017", "val2017"),
}
"""Data sets that can be planned without their images. `coco2014` trains on train2014 alone, `karpathy` on restval too."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


class CocoSplit(msgspec.Struct, frozen=True):
    """One published split.

    Attributes:
        images: number of image files.
        captions: number of public captions; None where none are public.
        zip_bytes: size of the published zip; unpacked JPEGs take about the same.
    """

    name: str
    images: int
    captions: int | None
    zip_bytes: int


# Counts and sizes: cocodataset.org's download page and the annotation files of 2014 and 2017.
SPLITS: dict[str, CocoSplit] = {
    split.name: split
    for split in (
        CocoSplit("train2014", 82_783, 414_113, 13_510_573_713),
        CocoSplit("val2014", 40_504, 202_654, 6_645_013_297),
        CocoSplit("test2014", 40_775, None, 6_660_437_059),
        CocoSplit("train2017", 118_287, 591_753, 19_336_861_798),
        CocoSplit("val2017", 5_000, 25_014, 815_585_330),
    )
}

KARPATHY_TRAIN_IMAGES = 113_287
KARPATHY_TRAIN_CAPTIONS = 566_747
KARPATHY_IMAGES = 123_287
"""Karpathy's split: 113,287 training images (82,783 of train2014 + 30,504 "restval" of val2014), 5,000 + 5,000 held out."""

ANNOTATION_FILES = (
    "captions_train2014.json",
    "captions_val2014.json",
    "coco_train_ids.npy",
    "coco_restval_ids.npy",
    "coco_dev_ids.npy",
    "coco_test_ids.npy",
)
"""M2-style annotations. The .npy files hold annotation (caption) ids, not image ids."""

IMAGE_ID_SHARE = 0.9
"""A list of ids of which at least this share are images' ids is one of images, not of annotations. True annotation ids of
COCO fall on some image's id in 14 of 100 cases, image ids in all: the two are far apart."""

ID_RULE = mark(
    "the image id is the number at the end of the base name: all of it (000000000009.jpg) "
    "or what follows the last underscore (COCO_train2014_000000000009.jpg)"
)

_ID_AT_END = re.compile(r"(?:^|_)([0-9]+)$")


def split_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The folder names behind split names: `karpathy` stands for train2014 and val2014. Order kept, no repeats."""
    expanded = [folder for name in names for folder in (KARPATHY_SPLITS if name == KARPATHY else (name,))]
    return tuple(dict.fromkeys(expanded))


def image_id(file_name: str, pattern: re.Pattern[str] | None = None) -> int | None:
    """The image id that a file's base name carries; None when it carries none.

    Only the base name counts: folders such as `coco_2017/` hold underscores and digits of their own.

    Args:
        file_name: base name with suffix.
        pattern: searched in the stem instead of the standard rule; its first group holds the digits.
    """
    stem = file_name.rpartition(".")[0] or file_name
    match = pattern.search(stem) if pattern else _ID_AT_END.search(stem)
    if not match:
        return None
    digits = match.group(1) if match.re.groups else match.group()
    # int() takes other scripts' digits and underscores; a file name with those is no COCO name.
    return int(digits) if digits.isascii() and digits.isdigit() else None


def is_sidecar(file_name: str) -> bool:
    """Whether a file was left by an operating system beside the pictures (AppleDouble, thumbnails, hidden files)."""
    return file_name.startswith(".") or file_name in {"Thumbs.db", "desktop.ini"}


def is_image_name(file_name: str) -> bool:
    """Whether a name says that the file is a picture."""
    suffix = file_name.rpartition(".")[2].lower()
    return not is_sidecar(file_name) and f".{suffix}" in IMAGE_SUFFIXES
