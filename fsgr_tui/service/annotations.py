"""Which images the annotations ask for: COCO captions JSON and M2-style id files, without the training code."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from fsgr_tui.core.errors import BadRequest


class _Annotation(msgspec.Struct):
    id: int
    image_id: int


class _Captions(msgspec.Struct):
    annotations: list[_Annotation]


class AnnotatedIds(msgspec.Struct, frozen=True):
    """Image ids that are captioned, and the ids of their captions."""

    image_ids: frozenset[int]
    annotation_ids: frozenset[int]
    source: str


def annotated_ids(path: Path) -> AnnotatedIds:
    """The ids of a captions JSON, or of all captions_*.json in a folder (restricted by the id files beside them).

    Raises:
        BadRequest: there is no such file, or it is no captions JSON.
    """
    files = sorted(path.glob("captions_*.json")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise BadRequest(f"There are no captions at {path}.", "Name a captions JSON, or a folder with captions_train2014.json.")
    image_of: dict[int, int] = {}
    for file in files:
        try:
            captions = msgspec.json.decode(file.read_bytes(), type=_Captions)
        except msgspec.MsgspecError as error:
            raise BadRequest(f"{file} is no COCO captions file: {error}.", "It needs `annotations` with `id` and `image_id`.") from None
        image_of.update((annotation.id, annotation.image_id) for annotation in captions.annotations)
    wanted = _listed(path, image_of) if path.is_dir() else None
    images = frozenset(image_of.values()) if wanted is None else frozenset(image_of[number] for number in wanted)
    return AnnotatedIds(images, frozenset(image_of), str(path))


def _listed(folder: Path, image_of: dict[int, int]) -> set[int] | None:
    """Annotation ids of the M2-style id files; None when there are no such files."""
    files = sorted(folder.glob("coco_*_ids.npy"))
    listed: set[int] = set()
    for file in files:
        try:
            ids = set(np.load(file, allow_pickle=False).ravel().tolist())
        except ValueError as error:
            raise BadRequest(f"{file} is no array of ids: {error}.", "Save it with numpy.save as integers.") from None
        unknown = ids - image_of.keys()
        if unknown:
            images = set(image_of.values())
            if len(ids & images) > len(ids) / 2 and len(unknown) > len(ids) / 2:
                raise BadRequest(f"{file} holds image ids; M2's id files hold annotation ids.", "Use the original id files.")
            raise BadRequest(f"{file} names {len(unknown):,} annotations that no captions file has, e.g. {min(unknown)}.", "Get matching files.")
        listed |= ids
    return listed if files else None
