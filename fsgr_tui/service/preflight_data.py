"""Preflight of the data: annotations, features, images and weights, each looked at as far as it can be without a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fsgr_tui.core import coco, preflight_lab
from fsgr_tui.core.errors import Problem
from fsgr_tui.core.lab import IdFile
from fsgr_tui.core.language import tr
from fsgr_tui.core.preflight import Finding, coverage_finding, from_problem, image_findings
from fsgr_tui.core.units import Unknown
from fsgr_tui.features.annotations import captioned_images
from fsgr_tui.features.captions import read_captions
from fsgr_tui.features.check import Expected, check_file
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.probes.dataset import list_images, split_folder
from fsgr_tui.probes.saved import read_saved
from fsgr_tui.service.model_choice import require_weights
from fsgr_tui.service.selection import select_images

_TORCH_SUFFIXES = (".pt", ".pth", ".bin")
_STRANGERS = 100


class Annotated(NamedTuple):
    """What the annotation folder says: findings, and the image ids that training needs (None when unknown)."""

    findings: list[Finding]
    image_ids: frozenset[int] | None
    annotation_ids: frozenset[int]


def caption_findings(path: Path) -> Annotated:
    """Captions of any kind that the built-in captioner reads; M2's folder file by file."""
    if path.is_dir() and any((path / name).is_file() for name in coco.ANNOTATION_FILES):
        return annotation_findings(path)
    try:
        captions = read_captions(path)
    except Problem as problem:
        return Annotated([from_problem(tr("captions {path}", path=path), problem, str(path))], None, frozenset())
    found = [
        Finding(
            tr("captions {path}", path=path), tr("{n:,} images ({kind})", n=len(captions.image_ids), kind=captions.kind)
        )
    ]
    found += [Finding(tr("captions {path}", path=path), notice) for notice in captions.notices]
    return Annotated(found, captions.image_ids or None, frozenset())


def annotation_findings(folder: Path) -> Annotated:
    """M2's folder, which the field's code reads: the two caption files and the four id files, each for itself."""
    if not folder.is_dir():
        absent = Finding(
            tr("annotations"),
            tr("{folder} is not a folder", folder=folder)
            if folder.exists()
            else tr("{folder} is not there", folder=folder),
            tr("a folder of M2-style annotations"),
            "stop",
            tr("Name the folder with captions_train2014.json and the id files."),
            "request",
        )
        return Annotated([absent], None, frozenset())
    missing = [name for name in coco.ANNOTATION_FILES if not (folder / name).is_file()]
    rows = [
        Finding(
            str(folder / name),
            tr("not there"),
            tr("one of M2's six annotation files"),
            "stop",
            tr("Take it from M2 Transformer's annotations."),
            subject=str(folder / name),
        )
        for name in missing
    ]
    image_of: dict[int, int] = {}
    for name in coco.ANNOTATION_FILES[:2]:
        if name in missing:
            continue
        try:
            captions = captioned_images(folder / name)
        except Problem as problem:
            rows.append(from_problem(str(folder / name), problem, str(folder / name)))
            continue
        rows.append(
            Finding(
                str(folder / name),
                tr("{n:,} captions of {total:,} images", n=len(captions), total=len(set(captions.values()))),
            )
        )
        image_of |= captions
    images = frozenset(image_of.values())
    files = [_id_file(folder / name, image_of, images) for name in coco.ANNOTATION_FILES[2:] if name not in missing]
    if image_of:
        rows += preflight_lab.id_file_findings([file for file, _ids in files])
    known = [ids & image_of.keys() for _file, ids in files]
    needed = frozenset(image_of[number] for ids in known for number in ids) or None
    return Annotated(rows, needed, frozenset(image_of))


def feature_findings(path: Path, annotated: Annotated) -> list[Finding]:
    """The check of a feature file, and every annotated image that it has no features of."""
    try:
        report = check_file(path, Expected(annotated.image_ids, tr("the annotations"), annotated.annotation_ids))
        ids = set(FeatureFile(path).ids.tolist())
    except Problem as problem:
        return [from_problem(tr("features {path}", path=path), problem, str(path))]
    rows = [
        Finding(
            tr("features {path}: {what}", path=path, what=row.label),
            row.detail or row.found,
            row.expected,
            "stop" if row.judgement == "bad" else "warn",
            f"fsgr-tui check {path}",
        )
        for row in report.rows
        if row.judgement != "ok" and row.what not in ("missing ids", "extra ids")
    ]
    rows.append(
        Finding(
            tr("features {path}", path=path),
            report.headline if report.good else tr("{images:,} images", images=report.images),
        )
    )
    if annotated.image_ids is not None:
        missing = sorted(annotated.image_ids - ids)
        remedy = tr(
            "Extract them too (--resume); the Karpathy split needs --split karpathy: train2014 and val2014 in one file."
        )
        rows.append(
            coverage_finding(
                tr("features of all images in {path}", path=path), missing, len(annotated.image_ids), remedy
            )
        )
    return rows


def stored_tokens(path: Path) -> int | None:
    """Tokens per image of a feature file; None when it cannot be read, which its own findings say."""
    try:
        shape = FeatureFile(path).row_shape
    except Problem:
        return None
    return int(shape[0]) if len(shape) == 2 else None


def realtime_findings(image_root: str, splits: Sequence[str], annotated: Annotated) -> list[Finding]:
    """Whether every annotated image is there."""
    try:
        images = select_images(image_root, splits)
    except Problem as problem:
        return [from_problem(tr("images {path}", path=image_root), problem, str(image_root))]
    rows = image_findings((), empty_images(Path(image_root), splits))
    if annotated.image_ids is not None:
        missing = sorted(annotated.image_ids - {image.id for image in images})
        rows.append(
            coverage_finding(
                tr("images in {image_root}", image_root=image_root),
                missing,
                len(annotated.image_ids),
                tr("Unpack all splits that the annotations use."),
            )
        )
    return rows


def weights_findings(weights: str) -> list[Finding]:
    """A weights file, looked into without executing it; nothing of tags and seeds."""
    try:
        require_weights(weights)
        if not weights.endswith(_TORCH_SUFFIXES):
            return []
        return [preflight_lab.weights_finding(weights, read_saved(Path(weights)))]
    except Problem as problem:
        return [from_problem(tr("CLIP weights {path}", path=weights), problem, str(weights))]


def is_tag(weights: str) -> bool:
    """Whether the weights are named by an open_clip tag, and not by a file or a seed."""
    return not weights.startswith("random:") and "/" not in weights and not Path(weights).suffix


def empty_images(root: Path, splits: Sequence[str]) -> list[str]:
    """Image files of no bytes, which a copy that was cut off leaves behind."""
    folders = [split_folder(root, name) for name in coco.split_names(tuple(splits))]
    return sorted(
        image.path for folder in folders if folder.is_dir() for image in list_images(folder) if image.bytes == 0
    )


def _id_file(path: Path, image_of: dict[int, int], images: frozenset[int]) -> tuple[IdFile, set[int]]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        return IdFile(str(path), Unknown(tr("it cannot be read as a plain NumPy array ({error})", error=error))), set()
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu" or array.size == 0:
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else tr("an archive of several arrays")
        return IdFile(str(path), Unknown(tr("it holds {found}", found=found))), set()
    ids = array.ravel().tolist()
    strangers = [number for number in ids if number not in image_of]
    return (
        IdFile(
            str(path),
            len(ids),
            len(ids) - len(strangers),
            sum(number in images for number in ids),
            tuple(strangers[:_STRANGERS]),
        ),
        set(ids),
    )
