"""Two feature files side by side: do they hold the same features, and where they do not, why?

Rows of the comparison say what was looked at, what each file has, and how that is judged. Where values were compared they
decide: manifests that differ while the values agree name the same weights by two files, say.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from fsgr_tui.core.language import listed, mark, tr, trn
from fsgr_tui.features.agreement import ComparisonRow, class_token_rows, explanations, value_rows
from fsgr_tui.features.checkable import Checkable, open_checkable
from fsgr_tui.features.distances import Distances, Tell, measure
from fsgr_tui.features.manifest import FIELD_WORDS, differences, short_value
from fsgr_tui.features.values import few_ids

COMPARE_SCHEMA = "fsgr-tui/compare-features/1"
SAMPLE_ROWS = 1000

_HARMLESS = {
    "precision": mark("Another arithmetic shifts the last digits only."),
    "decoder": mark("Another decoder shifts a few pixels by one level."),
    "dtype": mark("Another storage type of the same values."),
    "global_width": mark("Class tokens lie beside the rows; the rows are the same without them."),
}
"""Identity fields in which a difference does not make other features."""

_TOLD = ("weights", "dataset", "splits", "converted_from")
"""Further fields of the manifest that are worth telling where they differ."""


class FeatureComparison(msgspec.Struct, frozen=True):
    """Two files compared.

    Attributes:
        path_a, path_b: as they were named.
        same: whether the images that both have hold the same features, as far as rows were looked at.
        headline: the verdict in a line.
        rows: what was compared, ready to be shown.
        images_a, images_b, common: how many images each has, and both.
        only_a, only_b: image ids that the other file lacks (the first 1000).
        depth: which rows were looked at, in words.
        distances: how the rows agree; None when none could be compared.
    """

    path_a: str
    path_b: str
    same: bool
    headline: str
    rows: tuple[ComparisonRow, ...]
    images_a: int
    images_b: int
    common: int
    depth: str
    only_a: tuple[int, ...] = ()
    only_b: tuple[int, ...] = ()
    distances: Distances | None = None
    schema: str = COMPARE_SCHEMA


def compare_files(
    path_a: Path,
    path_b: Path,
    *,
    sample: int = SAMPLE_ROWS,
    deep: bool = False,
    tell: Tell | None = None,
    seed: int = 0,
) -> FeatureComparison:
    """Compare two feature files of any kind that can be checked.

    Args:
        sample: how many of the common images are compared, chosen at random; deep: all of them.
        tell: called with (rows read, rows to read).
        seed: of the choice.

    Raises:
        Problem: a file is not there, cannot be read, or is damaged.
    """
    a = open_checkable(path_a)
    try:
        b = open_checkable(path_b)
        try:
            return _compared(a, b, sample=sample, deep=deep, tell=tell, seed=seed)
        finally:
            b.close()
    finally:
        a.close()


def _compared(
    a: Checkable, b: Checkable, *, sample: int, deep: bool, tell: Tell | None, seed: int
) -> FeatureComparison:
    ours, theirs = set(a.ids.tolist()), set(b.ids.tolist())
    common = sorted(ours & theirs)
    only_a, only_b = sorted(ours - theirs), sorted(theirs - ours)
    chosen = common if deep or len(common) <= sample else sorted(random.Random(seed).sample(common, sample))
    comparable = (a.row_shape == b.row_shape or not (a.layout.uniform and b.layout.uniform)) and bool(common)
    distances = measure(a, b, chosen, tell) if comparable else None
    agree = distances is not None and distances.same
    rows = [*_manifest_rows(a, b, agree=agree), *_id_rows(a, b, common, only_a, only_b), *_kind_rows(a, b)]
    if distances is not None:
        rows += [*value_rows(distances), *explanations(a, b, distances), *class_token_rows(a, b, chosen)]
    same = not any(row.verdict == "differs" for row in rows)
    return FeatureComparison(
        path_a=str(a.path),
        path_b=str(b.path),
        same=same,
        headline=_headline(rows, len(common), [*only_a, *only_b], same=same),
        rows=tuple(rows),
        images_a=len(a),
        images_b=len(b),
        common=len(common),
        depth=_depth(len(chosen) if comparable else 0, len(common)),
        only_a=tuple(only_a[:1000]),
        only_b=tuple(only_b[:1000]),
        distances=distances,
    )


def _depth(looked_at: int, common: int) -> str:
    if not looked_at:
        return tr("no values compared")
    if looked_at == common:
        return trn("the {count:,} image that both have", "all {count:,} images that both have", common)
    return tr("{some:,} of {common:,} images that both have, chosen at random", some=looked_at, common=common)


def _headline(rows: Sequence[ComparisonRow], common: int, lacking: Sequence[int], *, same: bool) -> str:
    if same:
        told = trn("the same features for {count:,} image", "the same features for {count:,} images", common)
        more = trn("{count:,} image is in one file only", "{count:,} images are in one file only", len(lacking))
        return f"{told}; {more}" if lacking else told
    return tr("other features, by: {reasons}", reasons=listed(row.label for row in rows if row.verdict == "differs"))


def _manifest_rows(a: Checkable, b: Checkable, *, agree: bool) -> list[ComparisonRow]:
    if a.manifest is None or b.manifest is None:
        made = [
            tr("none") if each.manifest is None else each.manifest.clip_model or each.manifest.stage for each in (a, b)
        ]
        detail = tr("Without a manifest nobody can tell how a file was made; its values are compared alone.")
        return [ComparisonRow(mark("manifest"), made[0], made[1], "note", detail)]
    changed = differences(a.manifest.identity(), b.manifest.identity())
    rows = [_field_row(name, ours, theirs, agree=agree) for name, (ours, theirs) in changed.items()]
    for name in _TOLD:
        ours, theirs = getattr(a.manifest, name), getattr(b.manifest, name)
        if ours != theirs:
            rows.append(ComparisonRow(FIELD_WORDS[name], _value(ours), _value(theirs), "note"))
    if changed.keys() <= _HARMLESS.keys():
        how = " ".join(filter(None, (a.manifest.clip_model, a.manifest.grid, a.manifest.stage)))
        detail = tr("Made in the same way, as the manifests tell.")
        rows.insert(0, ComparisonRow(mark("manifest"), how, how, "same", detail))
    return rows


def _field_row(name: str, ours: Any, theirs: Any, *, agree: bool) -> ComparisonRow:
    what, a, b = FIELD_WORDS[name], _value(ours), _value(theirs)
    if name in _HARMLESS:
        return ComparisonRow(what, a, b, "note", tr(_HARMLESS[name]))
    if agree:
        return ComparisonRow(what, a, b, "note", tr("The manifests differ in it, the values do not."))
    detail = tr("Features of another {field} do not go together in one training.", field=tr(what))
    return ComparisonRow(what, a, b, "differs", detail)


def _value(value: Any) -> str:
    return short_value(value) or "-"


def _id_rows(
    a: Checkable, b: Checkable, common: Sequence[int], only_a: Sequence[int], only_b: Sequence[int]
) -> list[ComparisonRow]:
    images_a, images_b = f"{len(a):,}", f"{len(b):,}"
    if not common:
        detail = tr("No image is in both files: other images, or ids of another kind.")
        return [ComparisonRow(mark("images"), images_a, images_b, "differs", detail)]
    if not only_a and not only_b:
        return [ComparisonRow(mark("images"), images_a, images_b, "same")]
    told = [tr("Only in A: {ids}.", ids=few_ids(only_a))] if only_a else []
    told += [tr("Only in B: {ids}.", ids=few_ids(only_b))] if only_b else []
    return [
        ComparisonRow(mark("images"), images_a, images_b, "note"),
        ComparisonRow(mark("only here"), f"{len(only_a):,}", f"{len(only_b):,}", "note", " ".join(told)),
    ]


def _kind_rows(a: Checkable, b: Checkable) -> list[ComparisonRow]:
    shape_a, shape_b = (" x ".join(map(str, file.row_shape)) for file in (a, b))
    if not a.layout.uniform or not b.layout.uniform:
        shape = ComparisonRow(
            mark("shape"), shape_a, shape_b, "note", tr("Rows have several shapes; those of the first image.")
        )
    elif a.row_shape == b.row_shape:
        shape = ComparisonRow(mark("shape"), shape_a, shape_b, "same")
    else:
        detail = tr("Rows of another shape cannot be compared value by value.")
        shape = ComparisonRow(mark("shape"), shape_a, shape_b, "differs", detail)
    if a.manifest and b.manifest and a.manifest.dtype != b.manifest.dtype:
        return [shape]  # the manifests' row has told it
    same = a.dtype == b.dtype
    detail = "" if same else tr(_HARMLESS["dtype"])
    return [shape, ComparisonRow(FIELD_WORDS["dtype"], a.dtype.name, b.dtype.name, "same" if same else "note", detail)]
