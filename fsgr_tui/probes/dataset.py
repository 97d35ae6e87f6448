"""What images are here: COCO-like folders, counted without opening a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fsgr_tui.core import coco
from fsgr_tui.core.dataset import DatasetFacts, SplitFacts, training_captions
from fsgr_tui.core.errors import BadRequest, MachineCannot, did_you_mean
from fsgr_tui.core.language import tr
from fsgr_tui.probes.counts import CountMemory, FolderCount

DEFAULT_SPLITS = coco.KARPATHY_SPLITS


class FoundImage(msgspec.Struct, frozen=True):
    """An image file as a folder lists it; a link to nothing has no bytes."""

    name: str
    path: str
    bytes: int


class Leftovers(msgspec.Struct, frozen=True):
    """What lies in a folder of images and is no image file.

    Attributes:
        others: entries whose names are no images': other suffixes, sidecar files, folders.
        no_files: folders and the like under images' names.
        dead_links: links to nothing under images' names.
    """

    others: int
    no_files: tuple[str, ...] = ()
    dead_links: tuple[str, ...] = ()


def split_folder(root: Path, split: str) -> Path:
    """Where a split's images lie: `root/split`, or the root itself when it bears the split's name."""
    return root if root.name == split and not (root / split).is_dir() else root / split


def list_images(folder: Path, *, dead_links: bool = False) -> Iterator[FoundImage]:
    """The image files of a folder, in no order; sidecar files and other files are left out.

    Args:
        dead_links: whether links to nothing that are named like images are listed too.

    Raises:
        MachineCannot: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not coco.is_image_name(entry.name):
                    continue
                if _is_file(entry):
                    yield FoundImage(entry.name, entry.path, entry.stat().st_size)
                elif dead_links and _leads_nowhere(entry):
                    yield FoundImage(entry.name, entry.path, 0)
    except PermissionError as error:
        raise MachineCannot(
            tr("{folder} cannot be read: {reason}.", folder=folder, reason=error.strerror),
            tr("Look at its permissions."),
        ) from None


def probe_leftovers(folder: Path) -> Leftovers:
    """What lies in a folder beside its image files.

    Raises:
        MachineCannot: the folder cannot be read.
    """
    others = 0
    strange: list[str] = []
    dead: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not coco.is_image_name(entry.name):
                    others += 1
                elif not _is_file(entry):
                    (dead if _leads_nowhere(entry) else strange).append(entry.path)
    except PermissionError as error:
        raise MachineCannot(
            tr("{folder} cannot be read: {reason}.", folder=folder, reason=error.strerror),
            tr("Look at its permissions."),
        ) from None
    return Leftovers(others, tuple(sorted(strange)), tuple(sorted(dead)))


def count_folder(folder: Path) -> FolderCount:
    """One listing of a folder: images, their bytes, other files.

    Raises:
        MachineCannot: the folder cannot be read.
    """
    found = size = unnamed = ignored = 0
    example = ""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if not coco.is_image_name(name) or not _is_file(entry):
                    ignored += not coco.is_image_name(name)
                    continue
                found += 1
                size += entry.stat().st_size
                if coco.image_id(name) is None:
                    unnamed += 1
                    example = example or name
    except PermissionError as error:
        raise MachineCannot(
            tr("{folder} cannot be read: {reason}.", folder=folder, reason=error.strerror),
            tr("Look at its permissions."),
        ) from None
    return FolderCount(found, size, ignored, unnamed, example)


def probe_split(root: Path, split: str, memory: CountMemory | None = None, *, recount: bool = False) -> SplitFacts:
    """Count one split. A folder that is not there gives no images, not an error: a plan may precede the download.

    Args:
        memory: counts of earlier plans; None counts without one.
        recount: count although an earlier count would do.

    Raises:
        MachineCannot: the folder cannot be read.
    """
    folder = split_folder(root, split)
    published = coco.SPLITS.get(split)
    expected = published.images if published else None
    if not folder.is_dir():
        return SplitFacts(split, str(folder), 0, 0, expected)
    known = memory.recall(folder) if memory and not recount else None
    if known is None:
        before = folder.stat()
        count = count_folder(folder)
        if memory:
            memory.keep(folder, before, count)
    else:
        count = known
    return SplitFacts(
        split, str(folder), count.found, count.bytes, expected, count.ignored, count.unnamed, count.unnamed_example,
        remembered=known is not None,
    )  # fmt: skip


def probe_dataset(
    root: str | None, splits: tuple[str, ...], memory: CountMemory | None = None, *, recount: bool = False
) -> DatasetFacts:
    """The data set for a plan.

    Args:
        root: the image root; None to plan with the published counts.
        splits: folder names or "karpathy"; empty for the splits that the root has, else both splits of 2014.
        memory, recount: as of `probe_split`.

    Raises:
        BadRequest: the root is no folder, or a split is neither there nor a published one.
    """
    if root is None:
        return assumed_dataset(coco.split_names(splits or DEFAULT_SPLITS))
    path = Path(root)
    require_folder(path)
    names = coco.split_names(splits) or _splits_here(path) or DEFAULT_SPLITS
    found = tuple(probe_split(path, name, memory, recount=recount) for name in names)
    for split in found:
        if not split.found and split.expected is None:
            here = _folders(path)
            raise BadRequest(
                tr("{folder} is not there, and {name!r} is no published split.", folder=split.folder, name=split.name),
                did_you_mean(split.name, [*here, *coco.SPLITS])
                or tr("Folders in {path}: {here}.", path=path, here=", ".join(here[:8]) or tr("none")),
            )
    return DatasetFacts(str(path), found, training_captions(found), assumed=not any(split.found for split in found))


def assumed_dataset(names: tuple[str, ...], *, karpathy: bool = True) -> DatasetFacts:
    """A data set by its published counts, none of its images being here.

    Args:
        karpathy: whether both splits of 2014 stand for the Karpathy split.

    Raises:
        BadRequest: a split is no published one.
    """
    facts = tuple(_assumed(name) for name in names)
    return DatasetFacts("", facts, training_captions(facts, karpathy=karpathy), assumed=True)


def require_folder(root: Path) -> None:
    """Raise BadRequest unless the image root is a folder."""
    if not root.exists():
        raise BadRequest(tr("The image root {root} is not there.", root=root), tr("Look at --image-root."))
    if not root.is_dir():
        raise BadRequest(
            tr("The image root {root} is a file.", root=root), tr("Name the folder that holds train2014 and val2014.")
        )


def _assumed(name: str) -> SplitFacts:
    if name not in coco.SPLITS:
        raise BadRequest(
            tr("{name!r} is no published split, so it cannot be planned without its images.", name=name),
            tr("Give --image-root, or one of: {names}.", names=", ".join((*coco.SPLITS, coco.KARPATHY))),
        )
    return SplitFacts(name, "", 0, 0, coco.SPLITS[name].images)


def _splits_here(root: Path) -> tuple[str, ...]:
    """Published splits whose folders are in the root; the root itself when it is one."""
    here = tuple(name for name in coco.SPLITS if (root / name).is_dir())
    return here or ((root.name,) if root.name in coco.SPLITS else ())


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads round in a circle
        return False


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not Path(entry.path).exists()


def _folders(root: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not coco.is_sidecar(entry.name))
