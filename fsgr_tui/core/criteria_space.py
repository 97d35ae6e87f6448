"""The criteria of space: features, images and checkpoints on their disks."""

from __future__ import annotations

from fsgr_tui.core.facts import BOTH, Facts
from fsgr_tui.core.guide import GUIDE_DISK_BYTES
from fsgr_tui.core.language import joined, mark, tr, trn
from fsgr_tui.core.plan import Criterion, Way
from fsgr_tui.core.storage import CHECKPOINT_BYTES, checkpoint_bytes
from fsgr_tui.core.units import Unknown, format_bytes

LEAST_CHECKPOINTS = 2
"""Last and best: without room for them no training can be kept."""

DISK_FOR_FEATURES = mark("disk for features")
DISK_FOR_IMAGES = mark("disk for images")
DISK_FOR_CHECKPOINTS = mark("disk for checkpoints")


def disk_space(facts: Facts) -> Criterion:
    """Does what would be stored fit? The guide's flat 100 GB is replaced by the computed need."""
    name, disk, rung = DISK_FOR_FEATURES, facts.situation.features_disk, facts.chosen
    blocks: tuple[Way, ...] = ("precomputed",)
    if disk.silence is not None:
        why = tr(
            "The disk of {path} did not answer; name another --features-dir, or look again when it is back.",
            path=disk.path,
        )
        return Criterion(name, str(disk.silence), tr("an answer"), "blocks", 4, why, blocks)
    if not disk.writable:
        why = tr("{path} is not writable; name another --features-dir.", path=disk.path)
        return Criterion(name, tr("not writable"), tr("writable"), "blocks", 4, why, blocks)
    need = facts.features_need
    if need.too_few_files:
        why = tr(
            "{mount} takes {possible} more files, and {needed:,} are needed.",
            mount=need.mount,
            possible=need.inodes_free,
            needed=need.files_needed,
        )
        return Criterion(
            name,
            tr("{inodes} inodes free", inodes=need.inodes_free),
            trn("{count:,} file", "{count:,} files", need.files_needed),
            "blocks",
            4,
            why,
            blocks,
        )
    free = disk.free_bytes
    if isinstance(free, Unknown):
        return Criterion(
            name, str(free), _guide_disk(), "neutral", 0, tr("Free space is not known; look before extracting.")
        )
    observed = tr("{size} free", size=format_bytes(free))
    if rung is None:
        least = facts.rungs[-1]
        why = tr(
            "Even {row} of {splits} needs {size} with all that lies beside it.",
            row=least.label,
            splits=", ".join(least.splits),
            size=format_bytes(least.need_bytes),
        )
        return Criterion(
            name, observed, tr("{size} needed", size=format_bytes(least.need_bytes)), "blocks", 4, why, blocks
        )
    why = tr(
        "{row} takes {features}; with all that lies beside it and the reserve {need}, not 100 GB.",
        row=rung.label,
        features=format_bytes(rung.feature_bytes),
        need=format_bytes(rung.need_bytes),
    )
    return Criterion(name, observed, _guide_disk(), "B", 3, why)


def _guide_disk() -> str:
    return tr("guide: {size} free", size=format_bytes(GUIDE_DISK_BYTES))


def images(facts: Facts) -> Criterion:
    """Are the images here, or is there room for them?"""
    name, dataset, need = DISK_FOR_IMAGES, facts.situation.dataset, facts.images_need
    if not dataset.missing_bytes:
        return Criterion(
            name,
            tr("{size} here", size=format_bytes(dataset.image_bytes)),
            tr("room for images"),
            "neutral",
            0,
            tr("Nothing has to be brought here."),
        )
    missing = sum(split.images for split in dataset.splits if not split.found)
    threshold = joined(format_bytes(dataset.missing_bytes), trn("{count:,} file", "{count:,} files", missing))
    free = need.free_bytes
    observed = str(free) if isinstance(free, Unknown) else tr("{size} free", size=format_bytes(free))
    if isinstance(need.inodes_free, int) and need.inodes_free < missing:
        why = tr(
            "{mount} takes {possible:,} more files, and every image is one.",
            mount=need.mount,
            possible=need.inodes_free,
        )
        return Criterion(name, tr("{inodes:,} inodes free", inodes=need.inodes_free), threshold, "blocks", 4, why, BOTH)
    if not facts.situation.images_disk.writable:
        why = tr("{path} is not writable, and the images are not there yet.", path=facts.situation.images_disk.path)
        return Criterion(name, tr("not writable"), threshold, "blocks", 4, why, BOTH)
    if isinstance(free, int) and free < dataset.missing_bytes:
        why = tr(
            "The images alone take {size}; {mount} has {free} free.",
            size=format_bytes(dataset.missing_bytes),
            mount=need.mount,
            free=format_bytes(free),
        )
        return Criterion(name, observed, threshold, "blocks", 4, why, BOTH)
    why = tr(
        "{missing:,} images have to be brought here; each needs an inode, and its zip lies beside them while it is unpacked.",
        missing=missing,
    )
    return Criterion(name, observed, threshold, "neutral", 0, why)


def checkpoints(facts: Facts) -> Criterion:
    """Checkpoints grow with the epochs unless they are capped."""
    intent, free = facts.situation.intent, facts.features_need.free_bytes
    size = checkpoint_bytes(intent.epochs, intent.runs)
    name, least = DISK_FOR_CHECKPOINTS, LEAST_CHECKPOINTS * CHECKPOINT_BYTES
    observed = str(free) if isinstance(free, Unknown) else tr("{size} free", size=format_bytes(free))
    threshold = tr(
        "{capped} capped, {uncapped} not", capped=format_bytes(size.likely), uncapped=format_bytes(size.high)
    )
    if isinstance(free, int) and free < least:
        why = tr(
            "Not even the last and the best checkpoint ({size}) find room on {mount}.",
            size=format_bytes(least),
            mount=facts.features_need.mount,
        )
        return Criterion(name, observed, threshold, "blocks", 4, why, BOTH)
    runs = (
        tr("{runs} experiments of {epochs} epochs", runs=intent.runs, epochs=intent.epochs)
        if intent.runs > 1
        else tr("{epochs} epochs", epochs=intent.epochs)
    )
    beside = facts.features_need.need_bytes - size.likely
    if isinstance(free, int) and beside + size.high > free:
        why = tr(
            "One an epoch, {runs} leave {size}, which does not fit: keep last and best, delete the rest.",
            runs=runs,
            size=format_bytes(size.high),
        )
    else:
        why = tr("Kept after every epoch, {runs} leave up to {size}.", runs=runs, size=format_bytes(size.high))
    return Criterion(name, observed, threshold, "neutral", 0, why)
