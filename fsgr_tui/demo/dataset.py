"""Writes generated scenes the way COCO 2014 lies on disk: JPEG files, caption files, M2's id files."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.language import listed, tr
from fsgr_tui.demo.scenes import captions, draw, make_scene

# Raised whenever the same parameters would give other files.
GENERATOR_VERSION = 1

RECORD_NAME = "dataset.json"
# Stands in the folder from the first to the last file, so that a broken-off run is known as ours and is gone on with.
UNFINISHED_NAME = "dataset.unfinished.json"

# More than COCO's train2014 is no demo, and would fill a disk by a slip of the keyboard.
_MOST_PICTURES = 100_000
_JPEG_QUALITY = 88
_JPEG_END = b"\xff\xd9"
_DRAFT_ENDING = ".draft"

# COCO's first training image has the id 9. Each scene owns a block of ids, so ids are unique and leave gaps.
_FIRST_IMAGE_ID = 9
_IMAGE_ID_BLOCK = 7
# Annotation ids run through the range of the image ids, three apart: some equal the id of another image, as in COCO,
# so a program that takes one for the other gets a wrong picture or none. They grow faster than the image ids from a
# higher start, so none equals the id of its own image.
_FIRST_ANNOTATION_ID = 20
_ANNOTATION_ID_STEP = 3
_CAPTIONS_PER_IMAGE = 5

Split = Literal["train2014", "val2014"]
SPLITS: tuple[Split, ...] = ("train2014", "val2014")

Progress = Callable[[int, int], None]


class DemoParameters(msgspec.Struct, frozen=True):
    """What a data set is made from; equal parameters mean equal files."""

    train: int
    val: int
    seed: int
    generator: int = GENERATOR_VERSION


class DemoFacts(msgspec.Struct, frozen=True):
    """What a finished data set holds.

    Attributes:
        parameters: what it was made from.
        images: pictures of each id file: train, restval, dev, test.
        captions: sentences over all pictures.
        image_bytes: size of all JPEG files together.
    """

    parameters: DemoParameters
    images: dict[str, int]
    captions: int
    image_bytes: int


class Picture(msgspec.Struct, frozen=True):
    """One picture of the data set before it is drawn.

    Attributes:
        scene_index: its scene within the seed.
        annotation_ids: the ids of its five captions.
    """

    split: Split
    scene_index: int
    image_id: int
    annotation_ids: tuple[int, ...]

    @property
    def file_name(self) -> str:
        """COCO 2014's name, e.g. `COCO_train2014_000000000009.jpg`."""
        return f"COCO_{self.split}_{self.image_id:012d}.jpg"

    def path(self, root: Path) -> Path:
        """Where the JPEG file lies."""
        return root / "images" / self.split / self.file_name


class _ImageEntry(msgspec.Struct, frozen=True):
    id: int
    file_name: str
    width: int
    height: int


class _CaptionEntry(msgspec.Struct, frozen=True):
    id: int
    image_id: int
    caption: str


class _CaptionFile(msgspec.Struct, frozen=True):
    info: dict[str, str]
    images: list[_ImageEntry]
    annotations: list[_CaptionEntry]


def write_dataset(
    root: Path, *, train: int = 200, val: int = 80, seed: int = 0, on_progress: Progress | None = None
) -> DemoFacts:
    """Makes the data set in `root`, or leaves it as it is when it is already there.

    A run that was broken off is gone on with: whole files of the same parameters are kept.

    Args:
        root: a new or empty folder, or one that this function wrote with the same parameters.
        train: pictures in train2014.
        val: pictures in val2014; half of them become restval, a quarter each dev and test.
        seed: chooses the scenes; the first n pictures of a split are the same for every count.
        on_progress: called in this thread with the pictures done and the pictures in all.

    Raises:
        BadRequest: a count is too small, or the folder holds something else.
        MachineCannot: the folder cannot be written.
    """
    wanted = _checked_parameters(train, val, seed)
    try:
        recorded = _claimed(root, wanted)
        pictures = plan_pictures(wanted)
        if recorded and all(_is_whole(path) for path in _paths_of(root, pictures)):
            return recorded
        return _write_all(root, wanted, pictures, on_progress)
    except OSError as error:
        raise MachineCannot(
            tr("{root}: the demo data set cannot be written: {reason}.", root=root, reason=error.strerror or error),
            tr("Make room or choose a folder that you may write; the same command then goes on where it stopped."),
        ) from error


def plan_pictures(parameters: DemoParameters) -> tuple[Picture, ...]:
    """All pictures in order, train2014 first. Even scenes go to train2014 and odd ones to val2014, for every count."""
    counts: tuple[tuple[Split, int], ...] = (("train2014", parameters.train), ("val2014", parameters.val))
    return tuple(
        _planned(split, parameters.seed, 2 * number + offset)
        for offset, (split, count) in enumerate(counts)
        for number in range(count)
    )


def split_pictures(pictures: Iterable[Picture]) -> dict[str, tuple[Picture, ...]]:
    """The pictures of each id file: train, restval (the first half of val2014), dev and test (a quarter each)."""
    ordered = tuple(pictures)
    train = tuple(picture for picture in ordered if picture.split == "train2014")
    val = tuple(picture for picture in ordered if picture.split == "val2014")
    half = len(val) // 2
    quarter = (len(val) - half) // 2
    return {"train": train, "restval": val[:half], "dev": val[half : half + quarter], "test": val[half + quarter :]}


def _checked_parameters(train: int, val: int, seed: int) -> DemoParameters:
    if train < 1:
        raise BadRequest(
            tr("train={train}: a data set needs a picture to train on.", train=train), tr("Give 1 or more.")
        )
    if val < 4:
        raise BadRequest(tr("val={val}: too few for restval, dev and test.", val=val), tr("Give 4 or more."))
    if max(train, val) > _MOST_PICTURES:
        raise BadRequest(
            tr("train={train}, val={val}: too many for a demo.", train=train, val=val),
            tr("Give at most {most} each.", most=_MOST_PICTURES),
        )
    if not 0 <= seed < 2**63:
        raise BadRequest(
            tr("seed={seed} does not fit the data set's record.", seed=seed), tr("Give a number from 0 to 2^63 - 1.")
        )
    return DemoParameters(train, val, seed)


def _claimed(root: Path, wanted: DemoParameters) -> DemoFacts | None:
    """What a finished data set in the folder recorded, or None when it is still to be made.

    Raises:
        BadRequest: the folder is not free for this data set.
    """
    elsewhere = tr("Choose another folder, or delete this one if nothing in it is needed.")
    if root.exists() and not root.is_dir():
        raise BadRequest(tr("{root} is a file, not a folder.", root=root), tr("Choose another folder."))
    record, unfinished = root / RECORD_NAME, root / UNFINISHED_NAME
    try:
        facts = msgspec.json.decode(record.read_bytes(), type=DemoFacts) if record.exists() else None
        begun = msgspec.json.decode(unfinished.read_bytes(), type=DemoParameters) if unfinished.exists() else None
    except msgspec.MsgspecError as error:
        raise BadRequest(
            tr("{root} holds a data set that is not from here ({error}).", root=root, error=error), elsewhere
        ) from error
    held = facts.parameters if facts else begun
    if held and held != wanted:
        raise BadRequest(
            tr(
                "{root} holds another demo data set: {held}; asked for: {wanted}.",
                root=root,
                held=_told(held),
                wanted=_told(wanted),
            ),
            elsewhere,
        )
    if not held and root.exists() and any(not _is_draft(path) for path in root.iterdir()):
        raise BadRequest(
            tr("{root} holds files that are not from a demo data set (no {record}).", root=root, record=RECORD_NAME),
            elsewhere,
        )
    return facts


def _told(parameters: DemoParameters) -> str:
    return listed(f"{name} {value}" for name, value in msgspec.structs.asdict(parameters).items())


def _planned(split: Split, seed: int, scene_index: int) -> Picture:
    jitter = random.Random(f"{seed}/{scene_index}/id").randrange(_IMAGE_ID_BLOCK) if scene_index else 0
    first = _CAPTIONS_PER_IMAGE * scene_index
    return Picture(
        split=split,
        scene_index=scene_index,
        image_id=_FIRST_IMAGE_ID + _IMAGE_ID_BLOCK * scene_index + jitter,
        annotation_ids=tuple(
            _FIRST_ANNOTATION_ID + _ANNOTATION_ID_STEP * number for number in range(first, first + _CAPTIONS_PER_IMAGE)
        ),
    )


def _write_all(
    root: Path, wanted: DemoParameters, pictures: tuple[Picture, ...], on_progress: Progress | None
) -> DemoFacts:
    annotations = root / "m2_annotations"
    for folder in (annotations, *(root / "images" / split for split in SPLITS)):
        folder.mkdir(parents=True, exist_ok=True)
    _write_if_other(root / UNFINISHED_NAME, msgspec.json.encode(wanted))
    _write_images(root, wanted.seed, pictures, on_progress)
    for split in SPLITS:
        content = _caption_file(wanted, [picture for picture in pictures if picture.split == split])
        _write_if_other(annotations / f"captions_{split}.json", msgspec.json.encode(content))
    for name, members in split_pictures(pictures).items():
        _write_if_other(annotations / f"coco_{name}_ids.npy", _id_file(members))
    facts = _facts_of(root, wanted, pictures)
    _write_if_other(root / RECORD_NAME, msgspec.json.format(msgspec.json.encode(facts)))
    (root / UNFINISHED_NAME).unlink(missing_ok=True)
    return facts


def _write_images(root: Path, seed: int, pictures: tuple[Picture, ...], on_progress: Progress | None) -> None:
    # numpy and Pillow let go of the interpreter lock while they draw and compress.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        done = pool.map(partial(_write_image, root, seed), pictures)
        try:
            for count, _ in enumerate(done, start=1):
                if on_progress:
                    on_progress(count, len(pictures))
        except BaseException:
            # An interrupt or a full disk: the pictures that nobody has begun are not waited for.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write_image(root: Path, seed: int, picture: Picture) -> None:
    path = picture.path(root)
    if _is_whole(path):
        return
    packed = io.BytesIO()
    draw(make_scene(seed, picture.scene_index)).save(packed, "JPEG", quality=_JPEG_QUALITY)
    # Not forced to disk one by one: a file that a power cut empties fails `_is_whole` and is made again.
    _write_whole(path, packed.getvalue(), durable=False)


def _caption_file(wanted: DemoParameters, pictures: list[Picture]) -> _CaptionFile:
    images, annotations = [], []
    for picture in pictures:
        scene = make_scene(wanted.seed, picture.scene_index)
        images.append(_ImageEntry(picture.image_id, picture.file_name, scene.width, scene.height))
        annotations += [
            _CaptionEntry(annotation_id, picture.image_id, caption)
            for annotation_id, caption in zip(picture.annotation_ids, captions(scene), strict=True)
        ]
    return _CaptionFile(
        {"description": "Generated scenes of shapes", "version": str(wanted.generator)}, images, annotations
    )


def _id_file(pictures: tuple[Picture, ...]) -> bytes:
    """An .npy file of the annotation ids, int64, five in a row for each picture."""
    packed = io.BytesIO()
    np.save(packed, np.array([number for picture in pictures for number in picture.annotation_ids], dtype=np.int64))
    return packed.getvalue()


def _facts_of(root: Path, wanted: DemoParameters, pictures: tuple[Picture, ...]) -> DemoFacts:
    return DemoFacts(
        parameters=wanted,
        images={name: len(members) for name, members in split_pictures(pictures).items()},
        captions=_CAPTIONS_PER_IMAGE * len(pictures),
        image_bytes=sum(picture.path(root).stat().st_size for picture in pictures),
    )


def _paths_of(root: Path, pictures: tuple[Picture, ...]) -> list[Path]:
    """Every file of a finished data set but its record."""
    annotations = root / "m2_annotations"
    return [
        *(picture.path(root) for picture in pictures),
        *(annotations / f"captions_{split}.json" for split in SPLITS),
        *(annotations / f"coco_{name}_ids.npy" for name in split_pictures(())),
    ]


def _is_whole(path: Path) -> bool:
    """Whether a file is there and, if a JPEG, has its end mark (a power cut can leave a name without its content)."""
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            if path.suffix != ".jpg":
                return size_bytes > 0
            file.seek(max(0, size_bytes - len(_JPEG_END)))
            return file.read() == _JPEG_END
    except FileNotFoundError:
        return False


def _is_draft(path: Path) -> bool:
    return path.name.endswith(_DRAFT_ENDING)


def _write_if_other(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        _write_whole(path, content, durable=True)


def _write_whole(path: Path, content: bytes, *, durable: bool) -> None:
    """Puts a file in place at once: its final name never stands for a part of it.

    Args:
        path: the final name; the draft lies beside it.
        content: all bytes of the file.
        durable: whether the content is forced to disk before it gets its name.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}{_DRAFT_ENDING}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
