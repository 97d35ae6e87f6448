"""The check: may these features be trained on? Ours and everybody else's files, without the model.

Every row of a report says what was looked at, what was expected, what was found, and how that is judged.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.units import few
from fsgr_tui.features.checkable import Checkable, open_checkable, open_class_tokens
from fsgr_tui.features.images import ids_digest
from fsgr_tui.features.manifest import FIELD_WORDS, IDENTITY, Manifest, short_value
from fsgr_tui.features.opening import NotAFeatureFile, open_hdf5
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.features.shapes import known_shape, shape_fault
from fsgr_tui.features.values import SAME, CheckRow, Judgement, RowValues, few_ids

CHECK_SCHEMA = "fsgr-tui/check/1"
SAMPLE_ROWS = 1000
MINOR = frozenset({"precision", "decoder"})
"""Arithmetic and decoder shift the last digits; everything else makes other features."""

UNTOLD = mark("same features")
"""The row about what a file without manifest does not tell."""
Tell = Callable[[int, int], None]


class CheckReport(msgspec.Struct, frozen=True):
    """What is known of a file.

    Attributes:
        good: whether no row is bad.
        looked_at: rows whose values were read; rows: all of them.
        missing, extra: image ids (the first 1000).
    """

    path: str
    good: bool
    headline: str
    rows: tuple[CheckRow, ...]
    images: int
    looked_at: int
    depth: str
    missing: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    manifest: Manifest | None = None
    recompute: dict[str, object] | None = None
    schema: str = CHECK_SCHEMA


class Expected(msgspec.Struct, frozen=True):
    """What the file is held against; None where nothing was given.

    Attributes:
        ids: the image ids that must be there.
        source: where they come from, in words.
        annotation_ids: ids of captions, to tell the two kinds apart.
        identity: manifest fields that the training will use, where they are known.
        identity_source: where those come from, in words.
        minor: fields of it in which a difference is told and no fault.
    """

    ids: frozenset[int] | None = None
    source: str = ""
    annotation_ids: frozenset[int] = frozenset()
    identity: dict[str, Any] = {}
    identity_source: str = ""
    minor: frozenset[str] = MINOR


def check_file(
    path: Path,
    expected: Expected,
    *,
    deep: bool = False,
    sample: int = SAMPLE_ROWS,
    tell: Tell | None = None,
    seed: int = 0,
) -> CheckReport:
    """Check one file.

    Args:
        expected: what must be in it.
        deep: read every row and compare its CRC32; otherwise `sample` rows, chosen at random.
        tell: called with (rows read, rows to read).
        seed: of the sample.

    Raises:
        NotAFeatureFile: it cannot be read as features at all; the message says what it is.
        BadRequest, MachineCannot: it is not there, or may not be read.
    """
    file = open_checkable(path)
    ids = file.ids.tolist()
    chosen = ids if deep or len(ids) <= sample else sorted(random.Random(seed).sample(ids, sample))
    rows = [
        _layout_row(file),
        *_source_rows(file),
        _shape_row(file),
        _dtype_row(file),
        *_key_rows(file),
        *_count_rows(file),
        *_converted_rows(file),
    ]
    id_rows, missing, extra = _id_rows(file, expected)
    rows += id_rows
    regions = file.layout.suffix == "features"
    if not file.layout.uniform:
        rows += _shapes_row(path, file, file.ids.tolist(), regions=regions)
    elif file.manifest is None and isinstance(file, FeatureFile) and not file.layout.padded_keys:
        rows += _shapes_row(path, file, chosen, regions=regions)
    class_tokens, token_rows = _class_tokens(file)
    rows += token_rows
    if not file.layout.padded_keys:
        values = RowValues(file, class_tokens=class_tokens, deep=deep)
        for start in range(0, len(chosen), 64):
            values.add(chosen[start : start + 64])
            if tell:
                tell(min(start + 64, len(chosen)), len(chosen))
        rows += values.rows(len(ids))
    rows.append(_manifest_row(file))
    rows += _same_rows(file, expected)
    file.close()
    if class_tokens is not None:
        class_tokens.close()
    bad = [row for row in rows if row.judgement == "bad"]
    depth = tr("quick: {rows:,} of {total:,} rows, chosen at random", rows=len(chosen), total=len(ids))
    if deep or len(chosen) == len(ids):
        depth = (
            tr("deep: every row") if deep else tr("quick: all {total:,} rows, without their checksums", total=len(ids))
        )
    return CheckReport(
        path=str(path),
        good=not bad,
        headline=_headline(file, bad),
        rows=tuple(rows),
        images=len(ids),
        looked_at=len(chosen),
        depth=depth,
        missing=tuple(missing[:1000]),
        extra=tuple(extra[:1000]),
        manifest=file.manifest,
    )


def _headline(file: Checkable, bad: Sequence[CheckRow]) -> str:
    shape = " x ".join(map(str, file.row_shape))
    if not bad:
        return tr("good: {n:,} images, {shape} {name}", n=len(file), shape=shape, name=file.dtype.name)
    return faults_in_words(bad)


def faults_in_words(bad: Sequence[CheckRow]) -> str:
    """The verdict on a file with faults, in one line."""
    told = tr("; ").join((row.detail or row.label).rstrip(".。") for row in bad)
    return trn("{count} fault: {told}.", "{count} faults: {told}.", len(bad), told=told)


def _layout_row(file: Checkable) -> CheckRow:
    layout = file.layout
    found = layout.words
    if isinstance(file, FeatureFile):
        found = tr("{layout}, keys like {key}", layout=found, key=f"{file.ids[0]}_{layout.suffix}")
    if layout.contiguous:
        return CheckRow(mark("layout"), tr("contiguous"), found, "ok")
    return CheckRow(
        mark("layout"), tr("contiguous"), found, "note",
        tr("Usable, but random reads are slow; `fsgr-tui extract` writes files that read 10-60 times faster."),
    )  # fmt: skip


def _shape_row(file: Checkable) -> CheckRow:
    found = file.row_shape
    manifest = file.manifest
    if manifest is not None:
        promised = manifest.row_shape
        judgement: Judgement = "ok" if found == promised else "bad"
        detail = "" if found == promised else tr("The rows are not what the manifest promises.")
        return CheckRow(
            mark("shape"),
            tr("{promised} (manifest)", promised=" x ".join(map(str, promised))),
            " x ".join(map(str, found)),
            judgement,
            detail,
        )
    if file.layout.suffix == "features":
        return CheckRow(
            mark("shape"), tr("regions x width"), " x ".join(map(str, found)), "ok" if len(found) == 2 else "bad"
        )
    reason = shape_fault(found)
    known = known_shape(found)
    return CheckRow(
        mark("shape"), tr("tokens x width of a CLIP grid"), " x ".join(map(str, found)) + (f" ({known})" if known else ""),
        "bad" if reason else "ok" if known else "note", reason or ("" if known else tr("No grid of a known CLIP tower.")),
    )  # fmt: skip


def _dtype_row(file: Checkable) -> CheckRow:
    name = file.dtype.name
    wanted = file.manifest.dtype if file.manifest else tr("float16 or float32")
    good = name == wanted if file.manifest else name in ("float16", "float32")
    return CheckRow(
        mark("dtype"),
        wanted,
        name,
        "ok" if good else "bad",
        "" if good else tr("{name} is not what training code reads.", name=name),
    )


def _count_rows(file: Checkable) -> list[CheckRow]:
    manifest = file.manifest
    if manifest is None:
        return [CheckRow(mark("images"), "-", f"{len(file):,}", "ok")]
    rows = [
        CheckRow(
            mark("images"), tr("{images:,} (manifest)", images=manifest.images), f"{len(file):,}", "ok" if manifest.images == len(file) else "bad",
            "" if manifest.images == len(file) else tr("Keys were removed or added after the file was published."),
        )
    ]  # fmt: skip
    if manifest.refused:
        rows.append(
            CheckRow(
                mark("refused images"),
                "0",
                f"{manifest.refused:,}",
                "note",
                tr("They have no key; extract with --resume once they are mended."),
            )
        )
    elif manifest.ids_sha256 and manifest.ids_sha256 != ids_digest(file.ids.tolist()):
        rows.append(
            CheckRow(
                mark("id list"),
                tr("digest of the manifest"),
                tr("another"),
                "bad",
                tr("The ids are not those that were extracted."),
            )
        )
    return rows


def _id_rows(file: Checkable, expected: Expected) -> tuple[list[CheckRow], list[int], list[int]]:
    if expected.ids is None:
        return [], [], []
    here = set(file.ids.tolist())
    missing, extra = sorted(expected.ids - here), sorted(here - expected.ids)
    if missing and expected.annotation_ids and len(here & expected.annotation_ids) > len(here & expected.ids):
        row = CheckRow(
            mark("ids"), tr("image ids ({source})", source=expected.source), tr("{n:,} of {total:,} are annotation ids", n=len(here & expected.annotation_ids), total=len(here)),
            "bad", tr("The keys are annotation (caption) ids, not image ids."),
        )  # fmt: skip
        return [row], missing, extra
    # Not one in common is no gap, but another kind of id, or another data set.
    told = tr("Without features: {ids}.", ids=few_ids(missing)) if missing else ""
    if missing and not here & expected.ids:
        told = tr("{told} No id is the same: other images, or annotation ids? --annotations tells.", told=told)
    rows = [
        CheckRow(
            mark("missing ids"), tr("0 of {n:,} ({source})", n=len(expected.ids), source=expected.source), f"{len(missing):,}", "bad" if missing else "ok",
            told,
        )
    ]  # fmt: skip
    if extra:
        rows.append(
            CheckRow(
                mark("extra ids"),
                "0",
                f"{len(extra):,}",
                "note",
                tr("Not in {source}: {extra}.", source=expected.source, extra=few_ids(extra)),
            )
        )
    return rows, missing, extra


def _shapes_row(path: Path, file: Checkable, ids: Sequence[int], *, regions: bool) -> list[CheckRow]:
    """Rows of several shapes or types in one file, counted; images have different numbers of regions, but not of patches."""
    shapes: Counter[tuple[int, ...]] = Counter()
    kinds: Counter[str] = Counter()
    with open_hdf5(path) as hdf5:
        for image_id in ids:
            data = hdf5[f"{image_id}_{file.layout.suffix}"]
            shapes[tuple(data.shape)] += 1
            kinds[data.dtype.str.lstrip("<>=|")] += 1
    rows = []
    if len(kinds) > 1:
        told = tr("; ").join(tr("{n:,} of {kind}", n=n, kind=np.dtype(kind).name) for kind, n in kinds.most_common(5))
        rows.append(CheckRow(mark("types"), tr("one"), str(len(kinds)), "bad", tr("Mixed types: {told}.", told=told)))
    if len(shapes) == 1:
        return rows
    widths = {shape[1:] for shape in shapes}
    if regions and len(widths) == 1:
        counts = [shape[0] for shape in shapes]
        found = tr("{least} to {most} x {width}", least=min(counts), most=max(counts), width=next(iter(widths))[0])
        return [*rows, CheckRow(mark("shapes"), tr("regions x width"), found, "ok")]
    told = tr("; ").join(tr("{n:,} of {kind}", n=n, kind=shape) for shape, n in shapes.most_common(5))
    return [*rows, CheckRow(mark("shapes"), tr("one"), str(len(shapes)), "bad", tr("Mixed shapes: {told}.", told=told))]


def _key_rows(file: Checkable) -> list[CheckRow]:
    """Keys that carry an id twice or padded, and keys of other kinds."""
    layout = file.layout
    rows = []
    if layout.duplicate_ids:
        detail = tr("Several keys carry the same id: {duplicate_ids}.", duplicate_ids=few_ids(layout.duplicate_ids))
        rows.append(CheckRow(mark("duplicate ids"), "0", f"{len(layout.duplicate_ids):,}", "bad", detail))
    if layout.padded_keys:
        detail = tr(
            "The field's loaders ask for ids without leading zeros; here is {padded_keys}.",
            padded_keys=layout.padded_keys[0],
        )
        rows.append(CheckRow(mark("padded keys"), "0", f"{len(layout.padded_keys):,}", "bad", detail))
    if layout.other_keys:
        kinds = Counter(key.rpartition("_")[2] if key[:1].isdigit() else key for key in layout.other_keys)
        found = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(6))
        told = next((name for name, marks in _ORIGINS if marks <= kinds.keys() | {layout.suffix}), "")
        rows.append(
            CheckRow(mark("other keys"), "-", found, "ok", tr("As {told} writes them.", told=told) if told else "")
        )
    return rows


# Code bases of the field by the keys that only they write.
_ORIGINS = (("DLCT", {"grids", "boxes", "mask"}), ("M2 Transformer", {"features", "boxes"}))


def _source_rows(file: Checkable) -> list[CheckRow]:
    """Whether other files that hold the data are there: HDF5 reads a lost virtual source as zeros."""
    elsewhere = file.layout.elsewhere
    if not elsewhere:
        return []
    gone = [path for path in elsewhere if not Path(path).exists()]
    detail = (
        tr("The data lies in other files, of which {n:,} are gone: {gone}.", n=len(gone), gone=few(gone, 1))
        if gone
        else tr("The data lies in other files; keep them together.")
    )
    return [
        CheckRow(
            mark("data in this file"),
            tr("yes"),
            tr("no: in {n} others", n=len(elsewhere)),
            "bad" if gone else "note",
            detail,
        )
    ]


def _class_tokens(file: Checkable) -> tuple[Checkable | None, list[CheckRow]]:
    """The class tokens that the manifest promises, if every image has one; else what is wrong with them."""
    width = file.manifest.global_width if file.manifest else 0
    if not width:
        return None, []
    expected = tr("{n:,} of width {width}", n=len(file), width=width)
    try:
        tokens = open_class_tokens(file)
    except NotAFeatureFile:
        return None, [
            CheckRow(mark("class token keys"), expected, tr("none"), "bad", tr("The manifest promises class tokens."))
        ]
    if tokens.row_shape == (width,) and tokens.layout.uniform and np.array_equal(tokens.ids, file.ids):
        return tokens, [CheckRow(mark("class token keys"), expected, f"{len(tokens):,}", "ok")]
    tokens.close()
    absent = sorted(set(file.ids.tolist()) - set(tokens.ids.tolist()))
    detail = (
        tr("Without one: images {absent}.", absent=few_ids(absent))
        if absent
        else tr("They are not what the manifest promises.")
    )
    found = tr("{n:,} of width {width}", n=len(tokens), width=tokens.row_shape[-1] if tokens.row_shape else 0)
    return None, [CheckRow(mark("class token keys"), expected, found, "bad", detail)]


def _converted_rows(file: Checkable) -> list[CheckRow]:
    """The types that the values went through; what a narrower one took does not come back."""
    before = file.manifest.converted_from if file.manifest else ()
    if not before:
        return []
    lost = "float16" in before and file.dtype.name != "float16"
    detail = tr("Its values are as exact as float16, whatever the type says.") if lost else ""
    return [
        CheckRow(mark("converted from"), "-", " -> ".join((*before, file.dtype.name)), "note" if lost else "ok", detail)
    ]


def _manifest_row(file: Checkable) -> CheckRow:
    manifest = file.manifest
    if manifest is None:
        return CheckRow(
            mark("manifest"), tr("how it was made"), tr("none"), "note",
            tr("Made by another program: model, weights, activation and preprocessing cannot be told from the file."),
        )  # fmt: skip
    if manifest.stage == "pixels":
        return CheckRow(
            mark("manifest"),
            tr("how it was made"),
            tr(
                "{image_px} px {resize}, by {decoder}",
                image_px=manifest.image_px,
                resize=manifest.resize,
                decoder=manifest.decoder,
            ),
            "ok",
        )
    pooling = tr("pooling {how}", how=manifest.pooling)
    weights = f"{manifest.weights}, sha256 {manifest.weights_sha256[:12]}"
    found = (
        f"{manifest.clip_model} ({weights}), {manifest.activation}, {manifest.image_px} px {manifest.resize}, "
        f"{manifest.stage}, {pooling}, {manifest.precision}"
    )
    if manifest.preprocess_difference:
        found += f"; {manifest.preprocess_difference}"
    if manifest.weights.startswith("random:"):
        return CheckRow(
            mark("manifest"),
            tr("trained weights"),
            found,
            "note",
            tr("The weights are random: fit for trying things out, not for training."),
        )
    return CheckRow(mark("manifest"), tr("how it was made"), found, "ok")


def _same_rows(file: Checkable, expected: Expected) -> list[CheckRow]:
    """May the file be used where features of another file, or of a given model, are used? A row per field."""
    if not expected.identity:
        return []
    ours = file.manifest.identity() if file.manifest else _seen(file)
    rows = []
    if untold := [name for name in IDENTITY if name in expected.identity and name not in ours]:
        detail = tr("Without a manifest nobody can tell: {untold}.", untold=", ".join(untold))
        rows.append(CheckRow(UNTOLD, expected.identity_source, tr("no manifest"), "bad", detail))
    for name in IDENTITY:
        if name not in expected.identity or name not in ours:
            continue
        wanted, found = expected.identity[name], ours[name]
        same = wanted == found
        # Class tokens that nobody asked for do no harm.
        more = name == "global_width" and not wanted
        judgement: Judgement = "ok" if same else "note" if more or name in expected.minor else "bad"
        detail = (
            ""
            if same
            else tr("{name} differs from {identity_source}.", name=name, identity_source=expected.identity_source)
        )
        rows.append(CheckRow(f"{SAME}{FIELD_WORDS[name]}", short_value(wanted), short_value(found), judgement, detail))
    return rows


def _seen(file: Checkable) -> dict[str, Any]:
    """The identity fields that a file without manifest shows by its rows."""
    shape = file.row_shape
    return {"dtype": file.dtype.name, **({"tokens": shape[0], "width": shape[1]} if len(shape) == 2 else {})}
