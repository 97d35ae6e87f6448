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
from fsgr_tui.features.annotations import captioned_images, named_images
from fsgr_tui.features.images import Image
from fsgr_tui.probes.dataset import list_images, require_folder, split_folder

IdKind = Literal["auto", "image", "annotation"]
ID_KINDS: tuple[IdKind, ...] = ("auto", "image", "annotation")


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
    image_root: str, splits: Sequence[str], id_pattern: str = "", annotations: str = ""
) -> tuple[Image, ...]:
    """The images of the splits, in ascending order of their ids.

    A name's id is the one that the annotations give it, else the one that it carries by the rule or the pattern.

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
        for image in list_images(folder):
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
    captioned = captioned_images(Path(ids.annotations)) if ids.annotations else {}
    as_annotations = wanted & captioned.keys()
    kind = ids.kind if ids.kind != "auto" else _kind(ids, wanted, as_images, as_annotations)
    if kind == "image":
        _refuse_absent(ids.path, wanted - as_images, "no image here has")
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
        hint = "" if ids.annotations else " If they are annotation (caption) ids, add --annotations to resolve them."
        raise BadRequest(
            f"None of the {len(wanted):,} ids in {ids.path} is the id of an image here.",
            f"Look at --image-root and --split.{hint}",
        )
    return "image"


def _refuse_absent(path: str, absent: set[int], what: str) -> None:
    if absent:
        shown = ", ".join(map(str, sorted(absent)[:10])) + (", ..." if len(absent) > 10 else "")
        raise BadRequest(
            f"{path} names {len(absent):,} ids that {what}: {shown}.",
            "Look at --image-root, --split and --annotations.",
        )


def _read_ids(path: Path) -> set[int]:
    try:
        if path.suffix == ".npy":
            array = np.load(path, allow_pickle=False)
            if array.dtype.kind not in "iu":
                raise BadRequest(f"{path} holds {array.dtype}, not ids.", "Save integers with numpy.save.")
            ids = set(array.ravel().tolist())
        else:
            ids = {int(line) for line in path.read_text("utf-8").split() if line}
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.", "Look at --ids.") from None
    except ValueError as error:
        raise BadRequest(
            f"{path} is no list of ids: {error}.", "Write one number a line, or save integers with numpy.save."
        ) from None
    if not ids:
        raise BadRequest(f"{path} names no id.", "Look at --ids.")
    return ids


def _compiled(id_pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(id_pattern) if id_pattern else None
    except re.error as error:
        raise BadRequest(
            f"--id-pattern {id_pattern!r} is no regular expression: {error}.",
            "Put the digits in a group: '_([0-9]+)$'.",
        ) from None
