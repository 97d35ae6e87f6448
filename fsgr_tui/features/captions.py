"""Captions of every usual kind for training: M2's folder, Karpathy's JSON, COCO's JSON, and Flickr's lists.

Image ids are those that feature files are keyed by: Karpathy's `cocoid`, COCO's `image_id`, and for Flickr the number
that a file name carries, as an extraction takes it.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from fsgr_tui.core import coco
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import mark, tr
from fsgr_tui.features.annotations import Annotations, Pair, read_annotations

T = TypeVar("T")

HELD_OUT = 20
"""Of a list without splits every so many-th image is validated with."""

_SPLITS = {"train": "train", "restval": "train", "val": "dev", "dev": "dev", "validation": "dev", "test": "test"}
_KINDS = mark(
    "Known are: a folder of M2-style annotations; Karpathy's dataset_coco.json or dataset_flickr30k.json; COCO's "
    "captions_train*.json with captions_val*.json beside it; Flickr's .token, results.csv or captions.txt."
)


class Captions(msgspec.Struct, frozen=True):
    """Captions with their splits.

    Attributes:
        kind: of the source, in words.
        notices: what a person should know about how they were read.
        other_ids: numbers of the same images that are no image ids (annotation ids, Karpathy's `imgid`), by their name, marked for
            translation.
    """

    annotations: Annotations
    kind: str
    notices: tuple[str, ...] = ()
    other_ids: dict[str, frozenset[int]] = {}

    @property
    def image_ids(self) -> frozenset[int]:
        """All images that are captioned."""
        made = self.annotations
        return frozenset(pair.image_id for pairs in (made.train, made.dev, made.test) for pair in pairs)

    def explain(self, here: Iterable[int]) -> str:
        """What ids that are not the images' may be, as a sentence; empty when they are nothing known.

        Args:
            here: ids of features or pictures.
        """
        found = set(here)
        for name, ids in self.other_ids.items():
            if len(found & ids) > len(found & self.image_ids) and len(found & ids) >= 0.9 * min(len(found), len(ids)):
                return tr("The ids there are {name}, not image ids.", name=tr(name))
        return ""


class _Sentence(msgspec.Struct, frozen=True, gc=False):
    raw: str
    sentid: int | None = None


class _KarpathyImage(msgspec.Struct, frozen=True):
    filename: str
    split: str
    sentences: list[_Sentence]
    cocoid: int | None = None
    imgid: int | None = None


class _Karpathy(msgspec.Struct, frozen=True):
    images: list[_KarpathyImage]
    dataset: str = ""


class _CocoCaption(msgspec.Struct, frozen=True, gc=False):
    id: int
    image_id: int
    caption: str


class _Coco(msgspec.Struct, frozen=True):
    annotations: list[_CocoCaption]


def read_captions(path: Path) -> Captions:
    """Read captions of whatever kind they are.

    Raises:
        BadRequest: they are not there, damaged, of no known kind, or carry no usable image ids.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise BadRequest(tr("There are no captions at {path}: no annotation folder {path}.", path=path), tr(_KINDS))
    if path.suffix == ".json":
        return _json(path)
    return _listed(path)


def _folder(path: Path) -> Captions:
    """M2-style annotations, or COCO's caption files alone."""
    has_lists = any((path / name).is_file() for name in coco.ANNOTATION_FILES if name.endswith(".npy"))
    train = sorted(path.glob("captions_train*.json"))
    if not has_lists and train and len(train) == 1 and _validation_of(train[0]):
        return _coco(train[0], _decoded(train[0], _Coco))
    if not train and not has_lists:
        inside = sorted(file.name for file in path.glob("*.json"))[:5]
        told = (
            tr(
                "The annotation folder {path} holds no captions_train2014.json (its JSON files: {names}).",
                path=path,
                names=", ".join(inside),
            )
            if inside
            else tr("The annotation folder {path} holds no captions_train2014.json.", path=path)
        )
        raise BadRequest(told, tr(_KINDS))
    made = read_annotations(path)
    ids = frozenset(pair.annotation_id for pairs in (made.train, made.dev, made.test) for pair in pairs)
    return Captions(made, tr("M2-style annotations"), other_ids={mark("annotation (caption) ids"): ids})


def _json(path: Path) -> Captions:
    head = _decoded(path, dict[str, msgspec.Raw])
    if "annotations" in head:
        return _coco(path, _decoded(path, _Coco))
    if "images" in head:
        return _karpathy(path, _decoded(path, _Karpathy))
    raise BadRequest(
        tr("{path} holds no captions (its keys: {head}).", path=path, head=", ".join(list(head)[:6]) or tr("none")),
        tr(_KINDS),
    )


def _karpathy(path: Path, content: _Karpathy) -> Captions:
    pairs: dict[str, list[Pair]] = {"train": [], "dev": [], "test": []}
    number, nameless = 0, ""
    for image in content.images:
        split = _SPLITS.get(image.split)
        if split is None:
            raise BadRequest(
                tr(
                    "{path}: {filename} is of the split {split!r}.",
                    path=path,
                    filename=image.filename,
                    split=image.split,
                ),
                tr("Known are {splits}.", splits=", ".join(_SPLITS)),
            )
        image_id = image.cocoid if image.cocoid is not None else coco.image_id(image.filename)
        if image_id is None:
            nameless = nameless or image.filename
            continue
        for sentence in image.sentences:
            annotation = sentence.sentid if sentence.sentid is not None else number
            pairs[split].append(Pair(image_id, annotation, sentence.raw))
            number += 1
    if nameless:
        raise BadRequest(
            tr("{path}: the name {nameless} carries no image id.", path=path, nameless=nameless),
            tr("The rule: {rule}.", rule=coco.ID_RULE),
        )
    others = {
        mark("Karpathy's running numbers (imgid)"): frozenset(
            image.imgid for image in content.images if image.imgid is not None
        ),
        mark("annotation (sentence) ids"): frozenset(pair.annotation_id for split in pairs.values() for pair in split),
    }
    return _made(path, pairs, tr("Karpathy's JSON"), (), others)


def _coco(path: Path, content: _Coco) -> Captions:
    pairs: dict[str, list[Pair]] = {"train": _coco_pairs(content), "dev": [], "test": []}
    notices: tuple[str, ...] = ()
    validation = _validation_of(path)
    if validation:
        pairs["dev"] = _coco_pairs(_decoded(validation, _Coco))
        notices = (
            tr("Trained on {train}, validated on {validation} beside it.", train=path.name, validation=validation.name),
        )
    else:
        pairs, told = _held_out(pairs["train"])
        notices = (told,)
    others = {
        mark("annotation (caption) ids"): frozenset(pair.annotation_id for split in pairs.values() for pair in split)
    }
    return _made(path, pairs, tr("COCO captions"), notices, others)


def _coco_pairs(content: _Coco) -> list[Pair]:
    return [Pair(entry.image_id, entry.id, entry.caption) for entry in content.annotations]


def _validation_of(path: Path) -> Path | None:
    """The captions of the validation split beside those of a training split."""
    beside = path.with_name(path.name.replace("train", "val"))
    return beside if "train" in path.name and beside.is_file() else None


def _listed(path: Path) -> Captions:
    """Flickr's lists: `NAME#N TAB caption`, `NAME| N| caption`, `NAME,caption`, or a table with `raw` and `filename`."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(tr("{path} cannot be read as text: {error}.", path=path, error=error), tr(_KINDS)) from None
    pairs: dict[str, list[Pair]] = {"train": [], "dev": [], "test": []}
    has_splits = False
    for number, (line, name, split, caption) in enumerate(_rows(path, text)):
        image_id = coco.image_id(name)
        if image_id is None:
            raise BadRequest(
                tr("{path}, line {line}: the name {name!r} carries no image id.", path=path, line=line, name=name),
                tr(
                    "The rule: {rule}. Where names carry none, give the captions as COCO's JSON, whose `images` name them.",
                    rule=coco.ID_RULE,
                ),
            )
        has_splits = has_splits or bool(split)
        pairs[_SPLITS.get(split, "train")].append(Pair(image_id, number, caption))
    notices: tuple[str, ...] = ()
    if not has_splits:
        pairs, told = _held_out(pairs["train"])
        notices = (told,)
    return _made(path, pairs, tr("Flickr captions"), notices, {})


def _rows(path: Path, text: str) -> Iterator[tuple[int, str, str, str]]:
    """(line, file name, split or nothing, caption) of every caption."""
    lines = text.splitlines()
    first = lines[0] if lines else ""
    if "\t" in first and "#" in first.split("\t")[0]:
        for line, entry in enumerate(lines, 1):
            head, _, caption = entry.partition("\t")
            if entry.strip():
                yield line, head.rpartition("#")[0], "", caption.strip()
        return
    table = csv.reader(io.StringIO(text), delimiter="|" if "|" in first else ",", skipinitialspace=True)
    names = [cell.strip() for cell in next(table, [])]
    place = {name: names.index(name) for name in names}
    file_at = next((place[name] for name in ("filename", "image_name", "image") if name in place), None)
    text_at = next((place[name] for name in ("raw", "comment", "caption") if name in place), None)
    if file_at is None or text_at is None:
        raise BadRequest(
            tr("{path} is no list of captions (its first line: {first!r}).", path=path, first=first[:60]), tr(_KINDS)
        )
    for row in table:
        if not row:
            continue
        if len(row) <= max(file_at, text_at):
            # Flickr30k's results.csv has one such line.
            continue
        split = row[place["split"]].strip() if "split" in place else ""
        for caption in _several(row[text_at]):
            yield table.line_num, row[file_at].strip(), split, caption


def _several(cell: str) -> list[str]:
    """The captions of a cell: one, or a JSON list of them."""
    if not cell.lstrip().startswith("["):
        return [cell.strip()]
    try:
        return msgspec.json.decode(cell, type=list[str])
    except msgspec.MsgspecError:
        return [cell.strip()]


def _held_out(pairs: list[Pair]) -> tuple[dict[str, list[Pair]], str]:
    """Split captions that have no split, by a digest of the image id: the same images are held out every time."""
    held = {
        image
        for image in {pair.image_id for pair in pairs}
        if int(hashlib.sha256(str(image).encode()).hexdigest(), 16) % HELD_OUT == 0
    }
    split: dict[str, list[Pair]] = {"train": [], "dev": [], "test": []}
    for pair in pairs:
        split["dev" if pair.image_id in held else "train"].append(pair)
    return split, tr(
        "The captions name no splits: {n:,} images (one in {held_out}, by a digest of their ids) are held out to "
        "validate with. Scores on them compare with no published split.",
        n=len(held),
        held_out=HELD_OUT,
    )


def _made(
    path: Path, pairs: dict[str, list[Pair]], kind: str, notices: tuple[str, ...], others: dict[str, frozenset[int]]
) -> Captions:
    if not pairs["train"]:
        raise BadRequest(tr("{path} holds no captions to train on.", path=path), tr(_KINDS))
    made = Annotations(*(tuple(pairs[name]) for name in ("train", "dev", "test")))
    return Captions(made, kind, notices, others)


def _decoded(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.ValidationError as error:
        raise BadRequest(tr("{path} is no file of captions: {error}.", path=path, error=error), tr(_KINDS)) from None
    except msgspec.DecodeError as error:
        raise BadRequest(
            tr("{path} is broken JSON: {error}.", path=path, error=error),
            tr("Its download may have been cut off; get it again."),
        ) from None
    except OSError as error:
        raise BadRequest(
            tr("{path} cannot be read: {reason}.", path=path, reason=error.strerror), tr("Look at its permissions.")
        ) from None
