"""What the distances between two files' rows say, as rows of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.units import few
from fsgr_tui.features.checkable import Checkable, open_class_tokens
from fsgr_tui.features.distances import ALIKE_ABOVE, EXPLAINED, NORM_WITHIN, Distances, measure, mixed_up, shuffled

Verdict = Literal["same", "note", "differs"]
VERDICT_WORDS: dict[Verdict, str] = {"same": mark("same"), "note": mark("note"), "differs": mark("differs")}


class ComparisonRow(msgspec.Struct, frozen=True):
    """One thing that was compared.

    Attributes:
        what: its English name, which programs may look for; `label` is for people.
        a, b: what the files have, in words; empty where it is about both at once, which `detail` tells.
    """

    what: str
    a: str
    b: str
    verdict: Verdict
    detail: str = ""

    @property
    def label(self) -> str:
        """`what` in the user's language."""
        return tr(self.what)


def value_rows(found: Distances) -> list[ComparisonRow]:
    """How far the rows agree: cosine, norms, differences, and the images that are apart."""
    rows = []
    if found.other_shape:
        detail = tr("Of two shapes: images {ids}.", ids=few(found.other_shape))
        rows.append(ComparisonRow(mark("rows of another shape"), "", "", "differs", detail))
    if not found.rows:
        return rows
    what = mark("equal labels") if found.labels else mark("cosine per row")
    detail = tr("least {least:.6f}, median {median:.6f}", least=found.least, median=found.median)
    if found.least < ALIKE_ABOVE:
        detail = tr("{found}, where {limit} and more is the same", found=detail, limit=ALIKE_ABOVE)
    rows.append(ComparisonRow(what, "", "", "same" if found.least >= ALIKE_ABOVE else "differs", detail))
    if not found.labels:
        low, median, high = found.norm_ratio
        # Rows of other images have other norms; that says nothing beside their cosine.
        scaled = found.least >= ALIKE_ABOVE and max(abs(low - 1), abs(high - 1)) > NORM_WITHIN
        detail = tr("B by A: {low:.4f} to {high:.4f}, median {median:.4f}", low=low, high=high, median=median)
        if scaled:
            detail = tr("{found}; features that were scaled or normalised are others", found=detail)
        rows.append(
            ComparisonRow(mark("norms"), "", "", "differs" if scaled else "same" if found.same else "note", detail)
        )
        detail = tr("of one value: {largest:.4g}", largest=found.largest)
        rows.append(ComparisonRow(mark("largest difference"), "", "", "note" if found.largest else "same", detail))
    detail = tr("{identical:,} of {rows:,}", identical=found.identical, rows=found.rows)
    rows.append(
        ComparisonRow(mark("identical rows"), "", "", "same" if found.identical == found.rows else "note", detail)
    )
    if found.apart:
        detail = trn("image {ids}", "images {ids}", len(found.apart), ids=few(found.apart))
        rows.append(ComparisonRow(mark("rows apart"), "", "", "differs", detail))
    if found.worst:
        detail = ", ".join(f"{image_id} ({agreement:.4f})" for image_id, agreement in found.worst)
        rows.append(ComparisonRow(mark("worst images"), "", "", "note", detail))
    return rows


def explanations(a: Checkable, b: Checkable, found: Distances) -> list[ComparisonRow]:
    """What rows that are apart have in common, where it is one of the usual mistakes."""
    apart = found.apart[:EXPLAINED]
    if not apart or found.labels:
        return []
    if ids := shuffled(a, b, apart):
        detail = tr("The same patches in another order: images {ids}.", ids=few(ids))
        return [ComparisonRow(mark("patches shuffled"), "", "", "differs", detail)]
    if pairs := mixed_up(a, b, apart):
        shown = few([f"{image_id} = {other}" for image_id, other in pairs])
        detail = tr("B has at an image what A has at another (B = A): {pairs}.", pairs=shown)
        return [ComparisonRow(mark("images mixed up"), "", "", "differs", detail)]
    return []


def class_token_rows(a: Checkable, b: Checkable, ids: Sequence[int]) -> list[ComparisonRow]:
    """How the class tokens of these images agree, where both files have some of one width."""
    widths = [file.manifest.global_width if file.manifest else 0 for file in (a, b)]
    if not widths[0] or widths[0] != widths[1]:
        return []
    what = mark("class tokens")
    try:
        tokens = open_class_tokens(a), open_class_tokens(b)
        found = measure(*tokens, ids)
    except FoundFaults as fault:
        return [ComparisonRow(what, "", "", "differs", fault.what)]
    for each in tokens:
        each.close()
    detail = tr("least cosine {least:.6f}", least=found.least)
    return [ComparisonRow(what, "", "", "same" if found.same else "differs", detail)]
