"""Storage: exact feature bytes, the breakdown per file system, and the ladder of choices."""

from __future__ import annotations

import msgspec

from fsgr_tui.core import coco
from fsgr_tui.core.dataset import SplitFacts
from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.machine import Disk
from fsgr_tui.core.plan import FilesystemNeed, ItemKind, Rung, Storage, StorageItem
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.tower import HDF5_BYTES_PER_KEY, FeatureShape, Grid, Tower
from fsgr_tui.core.units import GB, Estimate

CHECKPOINT_BYTES = 1_060_000_000
"""A checkpoint of the FSGR model with its optimizer, as found in a lab."""

NAMED_CHECKPOINTS = 4
"""The lab's script keeps last, best and two more; and one for every epoch unless it is told otherwise."""

ANNOTATION_BYTES = GB
"""Captions, id files, vocabulary, text embeddings: the guide's own figure."""

RESERVE_SHARE = 0.02
RESERVE_BYTES = 5 * GB

_FILES_OF_A_BUILD = 2
"""The feature file, and its ledger while it is written."""


class Stored(msgspec.Struct, frozen=True):
    """One feature file: its rows and the splits in it."""

    shape: FeatureShape
    splits: tuple[str, ...]

    def images(self, situation: Situation) -> int:
        """Images in it."""
        return sum(split.images for split in self._within(situation))

    def feature_bytes(self, situation: Situation) -> int:
        """Exact bytes of its features."""
        return self.shape.feature_bytes(self.images(situation))

    def _within(self, situation: Situation) -> list[SplitFacts]:
        return [split for split in situation.dataset.splits if split.name in self.splits]


def checkpoint_bytes(epochs: int, experiments: int = 1) -> Estimate:
    """Bytes of checkpoints: four named ones of one experiment, likely one more, one an epoch of each at the most.

    The likely value holds when checkpoints are capped: when those of an experiment go before the next one begins.
    """
    return Estimate(
        NAMED_CHECKPOINTS * CHECKPOINT_BYTES,
        (NAMED_CHECKPOINTS + 1) * CHECKPOINT_BYTES,
        (NAMED_CHECKPOINTS + epochs) * experiments * CHECKPOINT_BYTES,
        "bytes",
        "table",
    )


def reserve_bytes(need_bytes: float) -> int:
    """What should stay free beside a need, since a disk that is full to the brim stops more than this program; nothing where nothing is written."""
    return round(need_bytes * RESERVE_SHARE) + RESERVE_BYTES if need_bytes > 0 else 0


def temporary_bytes(images: int) -> int:
    """The peak beside the finished file: its head is copied aside while it is published, and the ledger."""
    return HDF5_BYTES_PER_KEY * images + 40 * images


def ladder(situation: Situation, tower: Tower) -> tuple[Rung, ...]:
    """The choices from the largest to the smallest, each with what it needs and whether it fits."""
    splits = situation.dataset.split_names
    rungs = [rung(situation, Stored(shape, splits)) for shape in _shapes(tower, situation.intent.grid)]
    training = tuple(name for name in splits if name.startswith("train"))
    if training and len(training) < len(splits):
        rungs.append(rung(situation, Stored(_shapes(tower, situation.intent.grid)[-1], training)))
    return tuple(rungs)


def _shapes(tower: Tower, asked: Grid) -> list[FeatureShape]:
    """Native tokens, the grid that was asked for, and 49 tokens, each in both storage types, the largest first."""
    grids: list[Grid] = ["native"]
    if tower.side > 7:
        grids += [asked] if asked.startswith("7x7") else ["7x7"]
    if asked not in grids and not (tower.side == 7 and asked == "7x7"):
        grids.append(asked)
    shapes = [FeatureShape(tower, grid, dtype) for grid in grids for dtype in ("float32", "float16")]
    return sorted(shapes, key=lambda shape: -shape.bytes_per_image)


def rung(situation: Situation, stored: Stored) -> Rung:
    """One choice with all that has to lie on the features' file system beside it."""
    need = need_on_features_disk(situation, (stored,))
    return Rung(
        grid=stored.shape.grid,
        dtype=stored.shape.dtype,
        splits=stored.splits,
        tokens=stored.shape.tokens,
        width=stored.shape.tower.width,
        feature_bytes=stored.feature_bytes(situation),
        need_bytes=need.need_bytes + need.reserve_bytes,
        fits=need.fits,
    )


def need_on_features_disk(situation: Situation, stored: tuple[Stored, ...]) -> FilesystemNeed:
    """What the features' file system has to hold, with these feature files."""
    return _need(situation, items_of(situation, stored), situation.features_disk)


def items_of(situation: Situation, stored: tuple[Stored, ...]) -> list[StorageItem]:
    """What goes where; the reserve is not among it."""
    dataset, images_on, features_on = situation.dataset, situation.images_disk.mount, situation.features_disk.mount
    if situation.one_disk:
        images_on = features_on
    items = [_images(split, images_on) for split in dataset.splits]
    for file in stored:
        items += _features(situation, file, features_on)
    if unpacked := _unpacking(dataset.splits, images_on):
        items.append(unpacked)
    published = any(name in coco.SPLITS for name in dataset.split_names)
    items += [
        StorageItem(
            tr("annotations"),
            features_on,
            Estimate(0, ANNOTATION_BYTES if published else 0, ANNOTATION_BYTES, "bytes", "guess"),
            note=tr("captions, id files, vocabulary, text embeddings"),
            kind="annotations",
        ),
        StorageItem(
            tr("checkpoints"),
            features_on,
            checkpoint_bytes(situation.intent.epochs, situation.intent.runs),
            note=tr("of one experiment, capped at five; uncapped up to the upper end"),
            kind="checkpoints",
            files=NAMED_CHECKPOINTS + 1,
        ),
    ]
    return items


def _images(split: SplitFacts, mount: str) -> StorageItem:
    here = split.found > 0
    size = float(split.image_bytes)
    return StorageItem(
        tr("images {split}", split=split.name),
        mount,
        Estimate.exact(size, "bytes") if here else Estimate.around(size, 0.05, "bytes", "table"),
        split.image_bytes if here else 0,
        trn("{count:,} image", "{count:,} images", split.images)
        if here
        else trn("{count:,} image, not here yet", "{count:,} images, not here yet", split.images),
        "images",
        0 if here else split.images,
    )


def _features(situation: Situation, file: Stored, mount: str) -> list[StorageItem]:
    shape, images = file.shape, file.images(situation)
    named = f" {shape.tower.name}" if len(situation.towers) > 1 else ""
    what = mark("pixels {split}") if shape.stage == "pixels" else mark("features {split}")
    items = [
        StorageItem(
            tr(what, split=f"{split.name}{named}"),
            mount,
            Estimate.exact(shape.feature_bytes(split.images), "bytes"),
            note=f"{split.images:,} x {shape.words}",
            kind="features",
        )
        for split in situation.dataset.splits
        if split.name in file.splits
    ]
    keys = shape.keys_per_image * images
    head = Estimate(300 * keys, HDF5_BYTES_PER_KEY * keys, HDF5_BYTES_PER_KEY * keys, "bytes", "measured")
    return [
        *items,
        StorageItem(
            tr("HDF5 keys") + named, mount, head, note=tr("{keys:,} keys", keys=keys), kind="features", files=1
        ),
        StorageItem(
            tr("while publishing") + named,
            mount,
            Estimate.exact(temporary_bytes(images), "bytes"),
            note=tr("the file's head copied aside, and the ledger; gone afterwards"),
            kind="temporary",
            files=_FILES_OF_A_BUILD - 1,
        ),
    ]


def _unpacking(splits: tuple[SplitFacts, ...], mount: str) -> StorageItem | None:
    """The largest zip that is still to come: it lies beside its images until they are unpacked."""
    sizes = [coco.SPLITS[split.name].zip_bytes for split in splits if not split.found and split.name in coco.SPLITS]
    if not sizes:
        return None
    size = Estimate.exact(max(sizes), "bytes")
    note = tr("while unpacking; gone afterwards")
    return StorageItem(tr("largest zip"), mount, size, note=note, kind="temporary", files=1)


def breakdown(situation: Situation, stored: tuple[Stored, ...]) -> Storage:
    """What goes where, with the reserve, and the sums per file system."""
    items = items_of(situation, stored)
    disks = [situation.features_disk]
    if not situation.one_disk:
        disks.insert(0, situation.images_disk)
    needs = tuple(_need(situation, items, disk) for disk in disks)
    items += [
        StorageItem(
            tr("reserve"), need.mount, Estimate.exact(need.reserve_bytes, "bytes"),
            note=tr("2 % and 5 GB that should stay free"), kind="reserve",
        )
        for need in needs
        if need.reserve_bytes
    ]  # fmt: skip
    return Storage(tuple(items), needs)


def _need(situation: Situation, items: list[StorageItem], disk: Disk) -> FilesystemNeed:
    here = [item for item in items if item.filesystem == disk.mount]
    need = round(_peak(here, _unpacking(situation.dataset.splits, disk.mount)))
    files = sum(item.files for item in here)
    reserve = reserve_bytes(need)
    judged = FilesystemNeed(
        disk.mount, disk.filesystem, disk.free_bytes, disk.total_bytes, need, None, reserve, disk.quota_bytes, files, disk.inodes_free,
    )  # fmt: skip
    enough = need + reserve <= disk.free_bytes if isinstance(disk.free_bytes, int) else None
    fits = False if need and judged.too_few_files else enough
    return msgspec.structs.replace(judged, fits=True if need == 0 else fits)


def _peak(items: list[StorageItem], zip_item: StorageItem | None) -> float:
    """The most that lies there at once: the images beside their zip, or later everything beside a file being published."""

    def more(*kinds: ItemKind) -> float:
        return sum(item.bytes.likely - item.present_bytes for item in items if item.kind in kinds)

    zips = zip_item.bytes.likely if zip_item in items and zip_item is not None else 0.0
    publishing = [item.bytes.likely for item in items if item.kind == "temporary" and item != zip_item]
    everything = more("images", "features", "annotations", "checkpoints") + max(publishing, default=0.0)
    return max(more("images") + zips, everything)
