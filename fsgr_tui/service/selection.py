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
from fsgr_tui.core.language import mark, sentences, tr
from fsgr_tui.core.units import few
from fsgr_tui.features.annotations import captioned_images, named_images
from fsgr_tui.features.images import Image
from fsgr_tui.probes.dataset import list_images, require_folder, split_folder

IdKind = Literal["auto", "image", "annotation"]
ID_KINDS: tuple[IdKind, ...] = ("auto", "image", "annotation")

_AN_ID = mark(
    "An id is a whole number, of an image (9 for COCO_train2014_000000000009.jpg) or of a caption. "
    "Write one a line, or save integers with numpy.save."
)
_PERHAPS_CAPTIONS = mark("If they are annotation (caption) ids, add --annotations to resolve them.")


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
        raise BadRequest(tr("No split was given."), tr("Add --split train2014 (or val2014, karpathy, ...)."))
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
                tr("There is no folder {folder}.", folder=folder),
                did_you_mean(split, here) or tr("Folders there: {names}.", names=", ".join(here[:8]) or tr("none")),
            )
        before = len(by_id)
        for image in list_images(folder, dead_links=dead_links):
            image_id = named.get(image.name, coco.image_id(image.name, pattern))
            if image_id is None:
                unnamed.append(image.path)
            elif image_id in by_id:
                raise BadRequest(
                    tr(
                        "Two files carry the image id {id}: {first} and {second}.",
                        id=image_id,
                        first=by_id[image_id],
                        second=image.path,
                    ),
                    tr("Remove one of them."),
                )
            else:
                by_id[image_id] = image.path
        if len(by_id) == before and not unnamed:
            raise BadRequest(
                tr("There are no images in {folder}.", folder=folder),
                tr("Images end in {suffixes}.", suffixes=", ".join(sorted(coco.IMAGE_SUFFIXES))),
            )
    if unnamed:
        raise BadRequest(
            tr("{number:,} image names carry no id, e.g. {example}.", number=len(unnamed), example=unnamed[0]),
            tr(
                "The rule: {rule}. For other names give --id-pattern with the digits in a group, e.g. --id-pattern "
                "'_([0-9]+)_small$'; or --annotations with a captions JSON whose `images` name them (NoCaps); or move those "
                "files out of the folder.",
                rule=tr(coco.ID_RULE),
            ),
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
            tr("--ids-are annotation: nothing tells which images the captions in {path} belong to.", path=ids.path),
            tr("Add --annotations with the captions JSON, or its folder."),
        )
    captioned = captioned_images(Path(ids.annotations)) if ids.annotations else {}
    as_annotations = wanted & captioned.keys()
    kind = ids.kind if ids.kind != "auto" else _kind(ids, wanted, as_images, as_annotations)
    if kind == "image":
        maybe_captions = (
            ids.kind == "auto" and not ids.annotations and len(as_images) < coco.IMAGE_ID_SHARE * len(wanted)
        )
        words = mark("{path} names {number:,} ids that no image here has: {few}.")
        _refuse_absent(words, ids.path, wanted - as_images, tr(_PERHAPS_CAPTIONS) if maybe_captions else "")
        return Selection(tuple(image for image in images if image.id in wanted))
    _refuse_absent(mark("{path} names {number:,} ids that no caption has: {few}."), ids.path, wanted - as_annotations)
    resolved = {captioned[number] for number in wanted}
    words = mark("{path} names {number:,} ids that (resolved to image ids) no image here has: {few}.")
    _refuse_absent(words, ids.path, resolved - here.keys())
    told = tr(
        "{path} holds annotation ids: {captions:,} captions of {images:,} images.",
        path=ids.path,
        captions=len(wanted),
        images=len(resolved),
    )
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
        raise BadRequest(
            tr("--shard {part} is not a part like 2/8.", part=repr(text)), tr("Count from 1: the last of eight is 8/8.")
        )
    if parts > len(images):
        raise BadRequest(
            tr("--shard {part}: there are only {images:,} images.", part=text, images=len(images)),
            tr("Use fewer parts."),
        )
    return images[part - 1 :: parts], part, parts


def shard_path(output: Path, part: int, parts: int) -> Path:
    """The name of a part's own file, e.g. `coco.2-of-8.hdf5`."""
    return output.with_name(f"{output.stem}.{part}-of-{parts}{output.suffix}")


def _kind(ids: IdList, wanted: set[int], as_images: set[int], as_annotations: set[int]) -> IdKind:
    """Image ids or annotation ids: the kind that explains them all. COCO's two ranges overlap, so both may."""
    if as_images == wanted and as_annotations == wanted:
        raise BadRequest(
            tr(
                "All {number:,} ids in {path} are image ids and annotation ids as well.",
                number=len(wanted),
                path=ids.path,
            ),
            tr("Say which with --ids-are image or --ids-are annotation."),
        )
    if len(as_annotations) > len(as_images):
        return "annotation"
    if not as_images:
        hint = "" if ids.annotations else tr(_PERHAPS_CAPTIONS)
        raise BadRequest(
            tr("None of the {number:,} ids in {path} is the id of an image here.", number=len(wanted), path=ids.path),
            sentences(tr("Look at --image-root and --split."), hint),
        )
    return "image"


def _refuse_absent(words: str, path: str, absent: set[int], hint: str = "") -> None:
    if absent:
        raise BadRequest(
            tr(words, path=path, number=len(absent), few=few(sorted(absent))),
            sentences(tr("Look at --image-root, --split and --annotations."), hint),
        )


def _read_ids(path: Path) -> set[int]:
    try:
        ids = _ids_of_array(path) if path.suffix == ".npy" else _ids_of_text(path)
    except OSError as error:
        raise BadRequest(
            tr("{path} cannot be read: {reason}.", path=path, reason=error.strerror or error), tr("Look at --ids.")
        ) from None
    if not ids:
        raise BadRequest(tr("{path} names no id.", path=path), tr("Look at --ids."))
    return ids


def _ids_of_array(path: Path) -> set[int]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        # numpy raises ValueError for pickled objects as well as for text.
        raise BadRequest(tr("{path} is no plain NumPy array of numbers.", path=path), tr(_AN_ID)) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        found = str(array.dtype) if isinstance(array, np.ndarray) else tr("several arrays")
        raise BadRequest(tr("{path} holds {found}, not ids.", path=path, found=found), tr(_AN_ID))
    return set(array.ravel().tolist())


def _ids_of_text(path: Path) -> set[int]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise BadRequest(
            tr("{path} is no text, so no list of ids.", path=path),
            sentences(tr(_AN_ID), tr("Such an array's name ends in .npy.")),
        ) from None
    ids = set()
    for number, line in enumerate(lines, 1):
        for word in line.split():
            if not (word.isascii() and word.isdigit()):
                named = coco.image_id(word)
                meant = "" if named is None else tr("If the image of that name is meant, its id is {id}.", id=named)
                raise BadRequest(
                    tr("{path}, line {number}: {word} is no id.", path=path, number=number, word=repr(word[:60])),
                    sentences(tr(_AN_ID), meant),
                )
            ids.add(int(word))
    return ids


def _compiled(id_pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(id_pattern) if id_pattern else None
    except re.error as error:
        raise BadRequest(
            tr("--id-pattern {pattern} is no regular expression: {error}.", pattern=repr(id_pattern), error=error),
            tr("Put the digits in a group: '_([0-9]+)$'."),
        ) from None
