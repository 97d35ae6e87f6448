"""Several choices side by side: ways, models, grids and storage types, each with what it costs here."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from fsgr_tui.core.decision import pixel_file
from fsgr_tui.core.language import tr
from fsgr_tui.core.plan import WayName
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.storage import Stored, ladder, need_on_features_disk
from fsgr_tui.core.timeplan import time_plan
from fsgr_tui.core.tower import FeatureShape, Tower
from fsgr_tui.core.units import Estimate
from fsgr_tui.core.ways import ANOTHER_MODEL, EXACT_FROZEN, EXACT_FROZEN_32, EXACT_PIXELS, EXACT_REALTIME

COMPARISON_SCHEMA = "fsgr-tui/comparison/1"


class Alternative(msgspec.Struct, frozen=True):
    """One choice.

    Attributes:
        flags: what asks `fsgr-tui plan` and `extract` for it.
        stored_bytes: exact; need_bytes: with all that lies beside it and the reserve.
        fits: on the features' file system; None when the free space is not known.
        only_training: whether the other splits are left out.
        preparation, epoch, total: seconds; total is of all planned epochs with the preparation.
    """

    way: WayName
    clip_model: str
    row: str
    flags: str
    splits: tuple[str, ...]
    stored_bytes: int
    need_bytes: int
    fits: bool | None
    preparation: Estimate
    epoch: Estimate
    total: Estimate
    exact: bool
    exactness: str
    only_training: bool = False


class Comparison(msgspec.Struct, frozen=True):
    """All choices, model by model, what is stored from the largest to the smallest."""

    epochs: int
    alternatives: tuple[Alternative, ...]
    simulated: tuple[str, ...] = ()
    schema: str = COMPARISON_SCHEMA


def compare(situation: Situation, simulated: tuple[str, ...] = ()) -> Comparison:
    """Every choice for the towers of a situation."""
    rows = tuple(row for tower in situation.towers for row in _of_model(situation, tower))
    return Comparison(situation.intent.planned_epochs, rows, simulated)


def _of_model(situation: Situation, tower: Tower) -> Iterator[Alternative]:
    times = time_plan(situation, tower)
    planned = situation.intent.planned_epochs
    none = Estimate.exact(0, "s")
    plain = need_on_features_disk(situation, ())
    yield Alternative(
        "realtime", tower.name, "-", "", (), 0, plain.need_bytes + plain.reserve_bytes, plain.fits,
        none, times.realtime_epoch, times.realtime_epoch.times(planned), exact=True, exactness=tr(EXACT_REALTIME),
    )  # fmt: skip
    files = [Stored(FeatureShape(tower, rung.grid, rung.dtype), rung.splits) for rung in ladder(situation, tower)]
    for file in files:
        if situation.intent.adapters:
            exactness = ANOTHER_MODEL
        else:
            exactness = EXACT_FROZEN if file.shape.dtype == "float16" else EXACT_FROZEN_32
        share = file.images(situation) / max(1, situation.dataset.images)
        preparation = times.extraction.times(share)
        yield _stored(
            situation, file, "precomputed", (preparation, times.precomputed_epoch), exactness,
            f"--grid {file.shape.grid} --dtype {file.shape.dtype}",
        )  # fmt: skip
    yield _stored(
        situation, pixel_file(situation, tower), "pixels", (times.pixels_extraction, times.pixels_epoch), EXACT_PIXELS, "--stage pixels",
    )  # fmt: skip


def _stored(
    situation: Situation, file: Stored, way: WayName, times: tuple[Estimate, Estimate], exactness: str, flags: str
) -> Alternative:
    preparation, epoch = times
    need = need_on_features_disk(situation, (file,))
    return Alternative(
        way, file.shape.tower.name, file.shape.words, flags, file.splits, file.feature_bytes(situation),
        need.need_bytes + need.reserve_bytes, need.fits, preparation, epoch,
        preparation.plus(epoch.times(situation.intent.planned_epochs)), exact=exactness != ANOTHER_MODEL, exactness=tr(exactness),
        only_training=len(file.splits) < len(situation.dataset.splits),
    )  # fmt: skip
