"""What is known of a data set: counts found, counts expected, bytes."""

from __future__ import annotations

import msgspec

from fsgr_tui.core import coco


class SplitFacts(msgspec.Struct, frozen=True):
    """One split's folder.

    Attributes:
        name: e.g. "train2014".
        folder: where its images lie, or would lie.
        found: image files there; 0 when the folder is missing.
        bytes: their size.
        expected: images of the published split; None for other data sets.
        ignored: sidecar files and files that are no images.
        unnamed: images whose name carries no id.
        unnamed_example: one of their names.
        remembered: whether the count was taken from an earlier plan, the folder being unchanged since.
    """

    name: str
    folder: str
    found: int
    bytes: int
    expected: int | None = None
    ignored: int = 0
    unnamed: int = 0
    unnamed_example: str = ""
    remembered: bool = False

    @property
    def images(self) -> int:
        """Images to plan with: what is there, or what the published split has when nothing is there."""
        return self.found or self.expected or 0

    @property
    def image_bytes(self) -> int:
        """Bytes of the images, by the average of the published splits where they are not there."""
        return self.bytes if self.found else self.images * coco.AVERAGE_JPEG_BYTES

    @property
    def missing_bytes(self) -> int:
        """Bytes that still have to be brought here."""
        return 0 if self.found else self.image_bytes


class DatasetFacts(msgspec.Struct, frozen=True):
    """The splits that a plan is for.

    Attributes:
        root: the image root; empty when the images are assumed.
        splits: one entry per folder.
        captions: training captions known from annotations or the published split.
        assumed: whether no image was looked at (the published counts are planned with).
    """

    root: str
    splits: tuple[SplitFacts, ...]
    captions: int
    assumed: bool = False

    @property
    def images(self) -> int:
        """Images of all splits."""
        return sum(split.images for split in self.splits)

    @property
    def image_bytes(self) -> int:
        """Bytes of all images."""
        return sum(split.image_bytes for split in self.splits)

    @property
    def missing_bytes(self) -> int:
        """Bytes of images that are not here yet."""
        return sum(split.missing_bytes for split in self.splits)

    @property
    def training_images(self) -> int:
        """Images of one training epoch; the Karpathy split keeps 10,000 of its images back."""
        if self.captions == coco.KARPATHY_TRAIN_CAPTIONS:
            return coco.KARPATHY_TRAIN_IMAGES
        everything = self.captions == 5 * self.images
        return self.images if everything else sum(split.images for split in training_splits(self.splits))

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(split.name for split in self.splits)


def training_splits(splits: tuple[SplitFacts, ...]) -> tuple[SplitFacts, ...]:
    """The splits that are trained on: those called train..., or all where none is."""
    return tuple(split for split in splits if split.name.startswith("train")) or splits


def training_captions(splits: tuple[SplitFacts, ...], *, karpathy: bool = True) -> int:
    """Caption pairs of one training epoch.

    Published splits give their published counts; other data sets are counted with five captions an image, the
    field's usual number.

    Args:
        karpathy: whether both splits of 2014 together train on Karpathy's 566,747 captions, as captioning papers do.
    """
    names = {split.name for split in splits}
    whole = all(split.expected is not None and split.images == split.expected for split in splits)
    both = set(coco.KARPATHY_SPLITS) <= names
    if whole and both and karpathy:
        return coco.KARPATHY_TRAIN_CAPTIONS
    if whole:
        return sum(
            coco.SPLITS[split.name].captions or 0 for split in training_splits(splits) if split.name in coco.SPLITS
        )
    # Of an incomplete Karpathy set, val2014 is trained on too (restval).
    return 5 * sum(split.images for split in (splits if both and karpathy else training_splits(splits)))
