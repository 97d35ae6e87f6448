"""What stands beside the map of an image: what the map shows, its scale, and how values are distributed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, WARN, WAY_B
from fsgr_tui.tui.widgets.heat import scale

if TYPE_CHECKING:
    from fsgr_tui.features.sample import Distribution, Sample

MAPS = {
    "norm": mark("norm of each patch"),
    "similarity": mark("cosine to the marked patch"),
    "text": mark("cosine to the text"),
    "labels": mark("class index of each patch"),
    "brightness": mark("brightness of the picture"),
}
PLOT_ROWS, PLOT_CELLS = 4, 24
BESIDE_CELLS = 36
"""What the words need, with a gap to the map."""


def beside(sample: Sample, *, colour: bool) -> Text:
    """The words beside the map."""
    low, high = sample.span
    parts = [Text(tr(MAPS[sample.kind]), "bold"), *([Text(printable(sample.text), WAY_B)] if sample.text else [])]
    parts += [scale(low, high, colour=colour), *_patches(sample)]
    parts += [Text(printable(remark), WARN) for remark in (sample.remark, *sample.remarks) if remark]
    return layout.lines(*parts, "", *_values(sample.values))


def _patches(sample: Sample) -> list[Text]:
    """How the map's values are distributed; of labels that says nothing."""
    known = [value for row in sample.patches for value in row if value is not None]
    low, high = sample.span
    if sample.kind == "labels" or high <= low:
        return []
    counts = [0] * PLOT_CELLS
    for value in known:
        counts[min(PLOT_CELLS - 1, int((value - low) / (high - low) * PLOT_CELLS))] += 1
    mean = sum(known) / len(known)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in known) / len(known))
    told = tr("mean {mean:.3g}, deviation {std:.3g}", mean=mean, std=deviation)
    return [Text(layout.columns(counts, PLOT_CELLS)[0], WAY_B, no_wrap=True), Text(told, DIM)]


def _values(values: Distribution) -> list[Text | str]:
    plot = [Text(row, WAY_B, no_wrap=True) for row in layout.columns(values.counts, PLOT_CELLS, PLOT_ROWS)]
    ends = f"{values.low:.3g}".ljust(PLOT_CELLS - 8) + f"{values.high:.3g}".rjust(8)
    told: list[Text | str] = [Text(tr("values"), "bold"), *plot, Text(ends, DIM)]
    told.append(tr("mean {mean:.3g}, deviation {std:.3g}", mean=values.mean, std=values.std))
    told.append(tr("zeros {share:.2%}", share=values.zeros))
    if values.not_finite:
        told.append(Text(tr("NaN or infinite: {count:,}", count=values.not_finite), BAD))
    return told
