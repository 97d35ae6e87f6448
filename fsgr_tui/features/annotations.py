"""Captions: COCO's JSON, and M2-style annotations: two caption files, and four lists of annotation ids that split them.

As in M2 Transformer's published loader, training takes train and restval. Annotation ids of the train list are looked
up in the captions of train2014 and those of the other lists in val2014's; where a list reaches over, the other file is
asked too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from fsgr_tui.core.coco import ANNOTATION_FILES, IMAGE_ID_SHARE
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import few

_CAPTION_FILES = ("captions_train2014.json", "captions_val2014.json")
_LISTS = ("train", "restval", "dev", "test")


class Pair(msgspec.Struct, frozen=True, gc=False):
    """One caption and the image that it describes."""

    image_id: int
    annotation_id: int
    caption: str


class Annotations(msgspec.Struct, frozen=True):
    """The pairs of each split, in the order of the id files; `train` holds restval too."""

    train: tuple[Pair, ...]
    dev: tuple[Pair, ...]
    test: tuple[Pair, ...]

    @property
    def shared_images(self) -> int:
        """Images that are trained on and validated with: 0 in a sound split."""
        return len({pair.image_id for pair in self.train} & {pair.image_id for pair in self.dev})


class _Caption(msgspec.Struct, frozen=True, gc=False):
    id: int
    image_id: int
    caption: str


class _ImageEntry(msgspec.Struct, frozen=True, gc=False):
    id: int
    file_name: str


class _CaptionFile(msgspec.Struct, frozen=True):
    annotations: list[_Caption]


class _ImageFile(msgspec.Struct, frozen=True):
    images: list[_ImageEntry]


def read_annotations(folder: Path) -> Annotations:
    """Read a folder of M2-style annotations.

    Raises:
        BadRequest: the folder or one of its files is missing or damaged, a list holds image ids instead of annotation
            ids, or ids that no caption has.
    """
    _check_files(folder)
    train2014, val2014 = (_read_captions(folder / name) for name in _CAPTION_FILES)
    pairs = {
        name: _pairs(
            folder / f"coco_{name}_ids.npy", *((train2014, val2014) if name == "train" else (val2014, train2014))
        )
        for name in _LISTS
    }
    return Annotations(pairs["train"] + pairs["restval"], pairs["dev"], pairs["test"])


class CaptionedIds(msgspec.Struct, frozen=True):
    """Image ids that are captioned, and the ids of their captions."""

    image_ids: frozenset[int]
    annotation_ids: frozenset[int]
    source: str


def captioned_images(path: Path) -> dict[int, int]:
    """Image id by annotation id, of a captions JSON or of a folder's captions_*.json files.

    Raises:
        BadRequest: there are no captions, or they are damaged.
    """
    files = sorted(path.glob("captions_*.json")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise BadRequest(
            tr("There are no captions at {path}.", path=path),
            tr("Name a captions JSON, or a folder with captions_train2014.json."),
        )
    return {pair.annotation_id: pair.image_id for file in files for pair in _read_captions(file).values()}


def named_images(path: Path) -> dict[str, int]:
    """Image id by file name, as the `images` of a captions JSON (or of a folder's) give them; empty where none does.

    Data sets whose names carry no number (NoCaps) tell their ids here alone.
    """
    names: dict[str, int] = {}
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        try:
            listed = msgspec.json.decode(file.read_bytes(), type=_ImageFile)
        except (OSError, msgspec.MsgspecError):
            continue
        names |= {entry.file_name.rpartition("/")[2]: entry.id for entry in listed.images}
    return names


def captioned_ids(path: Path) -> CaptionedIds:
    """The ids of M2-style annotations, of the captions_*.json files of another folder, or of one captions JSON.

    Raises:
        BadRequest: there are no captions, or they are damaged.
    """
    if path.is_dir() and all((path / name).is_file() for name in ANNOTATION_FILES):
        annotations = read_annotations(path)
        pairs = [*annotations.train, *annotations.dev, *annotations.test]
        return CaptionedIds(
            frozenset(pair.image_id for pair in pairs), frozenset(pair.annotation_id for pair in pairs), str(path)
        )
    image_of = captioned_images(path)
    return CaptionedIds(frozenset(image_of.values()), frozenset(image_of), str(path))


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise BadRequest(
            tr("There is no annotation folder {folder}.", folder=folder),
            tr("Name the folder with captions_train2014.json in it."),
        )
    if missing := [name for name in ANNOTATION_FILES if not (folder / name).is_file()]:
        raise BadRequest(
            tr("The annotation folder {folder} lacks {missing}.", folder=folder, missing=", ".join(missing)),
            tr(
                "M2-style annotations are these files: {annotation_files}.",
                annotation_files=", ".join(ANNOTATION_FILES),
            ),
        )


def _read_captions(path: Path) -> dict[int, Pair]:
    """The pairs of a caption file by annotation id."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_CaptionFile)
    except msgspec.ValidationError as error:
        raise BadRequest(
            tr("{path} is not a COCO caption file: {error}.", path=path, error=error),
            tr("Get it again from cocodataset.org."),
        ) from None
    except msgspec.DecodeError as error:
        raise BadRequest(
            tr("{path} is broken JSON: {error}.", path=path, error=error),
            tr("Its download may have been cut off; get it again."),
        ) from None
    except OSError as error:
        raise BadRequest(
            tr("{path} cannot be read: {reason}.", path=path, reason=error.strerror), tr("Look at its permissions.")
        ) from None
    return {entry.id: Pair(entry.image_id, entry.id, entry.caption) for entry in content.annotations}


def _pairs(path: Path, own: Mapping[int, Pair], other: Mapping[int, Pair]) -> tuple[Pair, ...]:
    """The pairs of an id file."""
    ids = _read_ids(path)
    if absent := [number for number in ids if number not in own and number not in other]:
        _refuse(path, ids, absent, {pair.image_id for known in (own, other) for pair in known.values()})
    return tuple(own[number] if number in own else other[number] for number in ids)


def _read_ids(path: Path) -> list[int]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        # numpy raises ValueError for pickled objects as well as for text.
        raise BadRequest(
            tr("{path} is no plain NumPy array: {error}.", path=path, error=error),
            tr("It has to hold annotation ids as integers."),
        ) from None
    except OSError as error:
        raise BadRequest(
            tr("{path} cannot be read: {error}.", path=path, error=error), tr("Look at its permissions.")
        ) from None
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else tr("an archive of several arrays")
        raise BadRequest(
            tr("{path} holds {found}.", path=path, found=found),
            tr("It has to be one row of annotation ids, as integers."),
        )
    return [int(number) for number in array.tolist()]


def _refuse(path: Path, ids: list[int], absent: list[int], image_ids: set[int]) -> None:
    if sum(number in image_ids for number in ids) >= IMAGE_ID_SHARE * len(ids):
        raise BadRequest(
            tr("{path} holds image ids, and M2's files hold annotation ids (first: {ids}).", path=path, ids=ids[0]),
            tr('List the "id" of each caption, not its "image_id"; or take the files that M2 Transformer publishes.'),
        )
    raise BadRequest(
        tr(
            "{path} names {n:,} of {total:,} annotation ids that no caption has: {absent}.",
            path=path,
            n=len(absent),
            total=len(ids),
            absent=few(absent),
        ),
        tr(
            "The id files and {caption_files} have to come from the same release.",
            caption_files=" / ".join(_CAPTION_FILES),
        ),
    )
