"""Storage: exact feature bytes, the breakdown per file system, and the ladder of choices."""

from __future__ import annotations

from fsgr_tui.core import coco
from fsgr_tui.core.dataset import DatasetFacts
from fsgr_tui.core.machine import Disk
from fsgr_tui.core.plan import FilesystemNeed, Intent, Rung, Storage, StorageItem
from fsgr_tui.core.tower import HDF5_BYTES_PER_KEY, Dtype, FeatureShape, Grid, Tower
from fsgr_tui.core.units import GB, Estimate

CHECKPOINT_BYTES = 1_060_000_000
"""A checkpoint of the FSGR model with its optimizer, as found in a lab."""

NAMED_CHECKPOINTS = 4
"""The lab's script keeps last, best and two more; and one for every epoch unless it is told otherwise."""

ANNOTATION_BYTES = GB
"""Captions, id files, vocabulary, text embeddings: the guide's own figure."""

RESERVE_SHARE = 0.02
RESERVE_BYTES = 5 * GB

_LADDER: tuple[tuple[Grid, Dtype], ...] = (
    ("native", "float32"),
    ("native", "float16"),
    ("7x7", "float32"),
    ("7x7", "float16"),
)


def checkpoint_bytes(epochs: int) -> Estimate:
    """Bytes of the checkpoints of one experiment: four named ones, one more likely, one an epoch at the most."""
    return Estimate(
        NAMED_CHECKPOINTS * CHECKPOINT_BYTES,
        (NAMED_CHECKPOINTS + 1) * CHECKPOINT_BYTES,
        (NAMED_CHECKPOINTS + epochs) * CHECKPOINT_BYTES,
        "bytes",
        "table",
    )


def with_reserve(need_bytes: float) -> int:
    """A need with two percent and 5 GB on top: a disk that is full to the brim stops more than this program."""
    return round(need_bytes * (1 + RESERVE_SHARE)) + RESERVE_BYTES


def temporary_bytes(images: int) -> int:
    """The peak beside the finished file: its head is copied aside while it is published, and the ledger."""
    return HDF5_BYTES_PER_KEY * images + 40 * images


def ladder(
    tower: Tower, dataset: DatasetFacts, intent: Intent, features_disk: Disk, same_disk: bool
) -> tuple[Rung, ...]:
    """The choices from the largest to the smallest, each with what it needs and whether it fits.

    Args:
        same_disk: whether images that are still missing would go to the features' disk too.
    """
    beside = checkpoint_bytes(intent.epochs).likely + (dataset.missing_bytes if same_disk else 0)
    rungs = []
    for grid, dtype in _LADDER:
        if grid == "7x7" and tower.side == 7:
            continue
        rungs.append(
            _rung(FeatureShape(tower, grid, dtype), dataset.split_names, dataset.images, beside, features_disk)
        )
    training = tuple(name for name in dataset.split_names if name.startswith("train"))
    if training and len(training) < len(dataset.split_names):
        images = sum(split.images for split in dataset.splits if split.name in training)
        smallest = FeatureShape(tower, "native" if tower.side == 7 else "7x7", "float16")
        rungs.append(_rung(smallest, training, images, beside, features_disk))
    return tuple(rungs)


def _rung(shape: FeatureShape, splits: tuple[str, ...], images: int, beside: float, disk: Disk) -> Rung:
    need = with_reserve(shape.file_bytes(images) + temporary_bytes(images) + beside)
    return Rung(
        grid=shape.grid,
        dtype=shape.dtype,
        splits=splits,
        tokens=shape.tokens,
        width=shape.tower.width,
        feature_bytes=shape.feature_bytes(images),
        need_bytes=need,
        fits=need <= disk.free_bytes if isinstance(disk.free_bytes, int) else None,
    )


def breakdown(
    dataset: DatasetFacts,
    intent: Intent,
    shape: FeatureShape | None,
    splits: tuple[str, ...],
    images_disk: Disk,
    features_disk: Disk,
) -> Storage:
    """What goes where.

    Args:
        shape: of the stored features; None when nothing is stored (realtime).
        splits: the splits that are stored.
    """
    items = [
        StorageItem(
            f"images {split.name}",
            images_disk.mount,
            Estimate.exact(split.image_bytes, "bytes")
            if split.found
            else Estimate.around(split.image_bytes, 0.05, "bytes", "table"),
            split.image_bytes if split.found else 0,
            f"{split.images:,} images" + ("" if split.found else ", not here yet"),
        )
        for split in dataset.splits
    ]
    if shape is not None:
        stored = [split for split in dataset.splits if split.name in splits]
        items += [
            StorageItem(
                f"features {split.name}",
                features_disk.mount,
                Estimate.exact(shape.feature_bytes(split.images), "bytes"),
                note=f"{split.images:,} x {shape.tokens} x {shape.tower.width} {shape.dtype}",
            )
            for split in stored
        ]
        images = sum(split.images for split in stored)
        items.append(
            StorageItem(
                "HDF5 keys and temporary head",
                features_disk.mount,
                Estimate(
                    300 * images, HDF5_BYTES_PER_KEY * images, 2 * HDF5_BYTES_PER_KEY * images, "bytes", "measured"
                ),
            )
        )
    small = all(name not in coco.SPLITS for name in dataset.split_names)
    items.append(
        StorageItem(
            "annotations",
            images_disk.mount,
            Estimate(0, 0 if small else ANNOTATION_BYTES, ANNOTATION_BYTES, "bytes", "guess"),
            note="captions, id files, vocabulary, text embeddings",
        )
    )
    items.append(
        StorageItem(
            "checkpoints",
            features_disk.mount,
            checkpoint_bytes(intent.epochs),
            note="of one experiment; keep best and last only",
        )
    )
    return Storage(tuple(items), _filesystems(items, images_disk, features_disk))


def _filesystems(items: list[StorageItem], *disks: Disk) -> tuple[FilesystemNeed, ...]:
    needs = []
    for disk in {disk.mount: disk for disk in disks}.values():
        need = sum(item.bytes.likely - item.present_bytes for item in items if item.filesystem == disk.mount)
        with_margin = with_reserve(need)
        fits = with_margin <= disk.free_bytes if isinstance(disk.free_bytes, int) else None
        needs.append(FilesystemNeed(disk.mount, disk.filesystem, disk.free_bytes, disk.total_bytes, round(need), fits))
    return tuple(needs)
