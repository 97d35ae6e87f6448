"""Which images: split folders, a list of ids, a shard of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from fsgr_tui.core import coco
from fsgr_tui.core.errors import BadRequest, did_you_mean
from fsgr_tui.core.units import few
from fsgr_tui.features.annotations import captioned_images, named_images
from fsgr_tui.features.images import Image
from fsgr_tui.probes.dataset import list_images, require_folder, split_folder

IdKind = Literal["auto", "image", "annotation"]
ID_KINDS: tuple[IdKind, ...] = ("auto", "image", "annotation")

_AN_ID = (
    "An id is a whole number, of an image (9 for COCO_train2014_000000000009.jpg) or of a caption. "
    "Write one a line, or save integers with numpy.save."
)
_PERHAPS_CAPTIONS = " If they are annotation (caption) ids, add --annotations to resolve them."


class Selection(msgspec.Struct, frozen=True):
    """The images of an extraction.

    Attributes:
        notices: what a person should know about how they were found.
    """

    images: tuple[Image, ...]
    notices: tuple[str, ...] = ()


class IdList(msgspec.Struct, frozen=True):
    """A list of ids that restricts the images.

    Attributes:
        path: .npy, or text with one id a line.
        annotations: captions JSON or folder, through which annotation ids are resolved; empty for none.
        kind: what the ids are; auto looks.
    """

    path: str
    annotations: str = ""
    kind: IdKind = "auto"


def select_images(
    image_root: str, splits: Sequence[str], id_pattern: str = "", annotations: str = "", *, dead_links: bool = False
) -> tuple[Image, ...]:
    """The images of the splits, in ascending order of their ids.

    A name's id is the one that the annotations give it, else the one that it carries by the rule or the pattern.

    Args:
        dead_links: whether links to nothing are images too, for a job that refuses bad images by name.

    Raises:
        BadRequest: a folder is missing or holds no images, a name carries no id, or two files carry the same one.
    """
    if not splits:
        raise BadRequest("No split was given.", "Add --split train2014 (or val2014, karpathy, ...).")
    pattern = _compiled(id_pattern)
    named = named_images(Path(annotations)) if annotations else {}
    root = Path(image_root)
    require_folder(root)
    by_id: dict[int, str] = {}
    unnamed: list[str] = []
    for split in coco.split_names(tuple(splits)):
        folder = split_folder(root, split)
        if not folder.is_dir():
            here = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
            raise BadRequest(
                f"There is no folder {folder}.",
                did_you_mean(split, here) or f"Folders there: {', '.join(here[:8]) or 'none'}.",
            )
        before = len(by_id)
        for image in list_images(folder, dead_links=dead_links):
            image_id = named.get(image.name, coco.image_id(image.name, pattern))
            if image_id is None:
                unnamed.append(image.path)
            elif image_id in by_id:
                raise BadRequest(
                    f"Two files carry the image id {image_id}: {by_id[image_id]} and {image.path}.",
                    "Remove one of them.",
                )
            else:
                by_id[image_id] = image.path
        if len(by_id) == before and not unnamed:
            raise BadRequest(
                f"There are no images in {folder}.", f"Images end in {', '.join(sorted(coco.IMAGE_SUFFIXES))}."
            )
    if unnamed:
        raise BadRequest(
            f"{len(unnamed):,} image names carry no id, e.g. {unnamed[0]}.",
            f"The rule: {coco.ID_RULE}. For other names give --id-pattern with the digits in a group, "
            "e.g. --id-pattern '_([0-9]+)_small$'; or --annotations with a captions JSON whose `images` name them (NoCaps); "
            "or move those files out of the folder.",
        )
    return tuple(Image(image_id, by_id[image_id]) for image_id in sorted(by_id))


def restricted(images: tuple[Image, ...], ids: IdList) -> Selection:
    """The images that a list of ids names.

    Raises:
        BadRequest: the list cannot be read, names images that are not there, or its kind cannot be told.
    """
    wanted = _read_ids(Path(ids.path))
    here = {image.id: image for image in images}
    as_images = wanted & here.keys()
    if ids.kind == "annotation" and not ids.annotations:
        raise BadRequest(
            f"--ids-are annotation: nothing tells which images the captions in {ids.path} belong to.",
            "Add --annotations with the captions JSON, or its folder.",
        )
    captioned = captioned_images(Path(ids.annotations)) if ids.annotations else {}
    as_annotations = wanted & captioned.keys()
    kind = ids.kind if ids.kind != "auto" else _kind(ids, wanted, as_images, as_annotations)
    if kind == "image":
        maybe_captions = (
            ids.kind == "auto" and not ids.annotations and len(as_images) < coco.IMAGE_ID_SHARE * len(wanted)
        )
        _refuse_absent(ids.path, wanted - as_images, "no image here has", _PERHAPS_CAPTIONS if maybe_captions else "")
        return Selection(tuple(image for image in images if image.id in wanted))
    _refuse_absent(ids.path, wanted - as_annotations, "no caption has")
    resolved = {captioned[number] for number in wanted}
    _refuse_absent(ids.path, resolved - here.keys(), "(resolved to image ids) no image here has")
    told = f"{ids.path} holds annotation ids: {len(wanted):,} captions of {len(resolved):,} images."
    return Selection(tuple(image for image in images if image.id in resolved), (told,))


def shard(images: tuple[Image, ...], text: str) -> tuple[tuple[Image, ...], int, int]:
    """Part `i` of `n`, counted from 1: every n-th image, so that all parts take about the same time.

    Returns:
        The images, i and n.

    Raises:
        BadRequest: the text is not i/n, or there are fewer images than parts.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        raise BadRequest(f"--shard {text!r} is not a part like 2/8.", "Count from 1: the last of eight is 8/8.")
    if parts > len(images):
        raise BadRequest(f"--shard {text}: there are only {len(images):,} images.", "Use fewer parts.")
    return images[part - 1 :: parts], part, parts


def shard_path(output: Path, part: int, parts: int) -> Path:
    """The name of a part's own file, e.g. `coco.2-of-8.hdf5`."""
    return output.with_name(f"{output.stem}.{part}-of-{parts}{output.suffix}")


def _kind(ids: IdList, wanted: set[int], as_images: set[int], as_annotations: set[int]) -> IdKind:
    """Image ids or annotation ids: the kind that explains them all. COCO's two ranges overlap, so both may."""
    if as_images == wanted and as_annotations == wanted:
        raise BadRequest(
            f"All {len(wanted):,} ids in {ids.path} are image ids and annotation ids as well.",
            "Say which with --ids-are image or --ids-are annotation.",
        )
    if len(as_annotations) > len(as_images):
        return "annotation"
    if not as_images:
        hint = "" if ids.annotations else _PERHAPS_CAPTIONS
        raise BadRequest(
            f"None of the {len(wanted):,} ids in {ids.path} is the id of an image here.",
            f"Look at --image-root and --split.{hint}",
        )
    return "image"


def _refuse_absent(path: str, absent: set[int], what: str, hint: str = "") -> None:
    if absent:
        raise BadRequest(
            f"{path} names {len(absent):,} ids that {what}: {few(sorted(absent))}.",
            f"Look at --image-root, --split and --annotations.{hint}",
        )


def _read_ids(path: Path) -> set[int]:
    try:
        ids = _ids_of_array(path) if path.suffix == ".npy" else _ids_of_text(path)
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror or error}.", "Look at --ids.") from None
    if not ids:
        raise BadRequest(f"{path} names no id.", "Look at --ids.")
    return ids


def _ids_of_array(path: Path) -> set[int]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        # numpy raises ValueError for pickled objects as well as for text.
        raise BadRequest(f"{path} is no plain NumPy array of numbers.", _AN_ID) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        found = str(array.dtype) if isinstance(array, np.ndarray) else "several arrays"
        raise BadRequest(f"{path} holds {found}, not ids.", _AN_ID)
    return set(array.ravel().tolist())


def _ids_of_text(path: Path) -> set[int]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise BadRequest(
            f"{path} is no text, so no list of ids.", f"{_AN_ID} Such an array's name ends in .npy."
        ) from None
    ids = set()
    for number, line in enumerate(lines, 1):
        for word in line.split():
            if not (word.isascii() and word.isdigit()):
                named = coco.image_id(word)
                meant = "" if named is None else f" If the image of that name is meant, its id is {named}."
                raise BadRequest(f"{path}, line {number}: {word[:60]!r} is no id.", _AN_ID + meant)
            ids.add(int(word))
    return ids


def _compiled(id_pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(id_pattern) if id_pattern else None
    except re.error as error:
        raise BadRequest(
            f"--id-pattern {id_pattern!r} is no regular expression: {error}.",
            "Put the digits in a group: '_([0-9]+)$'.",
        ) from None
