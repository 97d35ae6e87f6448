"""The times of the ways for a situation: extraction, epochs, totals, and when an extraction has paid for itself."""

from __future__ import annotations

from fsgr_tui.core import timing
from fsgr_tui.core.guide import GUIDE_PRECOMPUTED_BATCH, GUIDE_REALTIME_BATCH
from fsgr_tui.core.language import mark
from fsgr_tui.core.plan import ModelPlan, TimePlan
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.tower import FeatureShape, Tower
from fsgr_tui.core.units import Estimate, Unknown

SAVES_NOTHING = Unknown(mark("precomputing saves no time here"))


def time_plan(situation: Situation, alone: Tower | None = None) -> TimePlan:
    """The times for one tower alone; by default those of the plan's first one, with the totals of all."""
    tower = alone or situation.tower
    intent, dataset = situation.intent, situation.dataset
    gpu, cpus, measured = situation.gpu, situation.machine.host.cpus.count, situation.measured_for(tower)
    rate = timing.extraction_rate(tower, gpu, cpus, situation.workers, measured)
    pairs = timing.pair_rates(
        tower,
        gpu,
        cpus,
        situation.workers,
        adapters=intent.adapters,
        measured=measured,
        batches=(intent.batch_size or GUIDE_REALTIME_BATCH, intent.batch_size or GUIDE_PRECOMPUTED_BATCH),
    )
    extraction = rate.seconds_for(dataset.images)
    realtime, precomputed = (each.seconds_for(dataset.captions) for each in (pairs.realtime, pairs.precomputed))
    pixels, resizing = pairs.pixels.seconds_for(dataset.captions), _resizing(situation, tower)
    planned = intent.planned_epochs
    realtime_total = realtime.times(planned)
    precomputed_total = extraction.times(intent.model_count).plus(precomputed.times(planned))
    if alone is None and len(situation.towers) > 1:
        realtime_total, precomputed_total = _of_all_models(situation)
    point = timing.break_even_epochs(extraction, realtime, precomputed)
    return TimePlan(
        extraction_rate=rate,
        extraction=extraction,
        realtime_epoch=realtime,
        precomputed_epoch=precomputed,
        realtime_total=realtime_total,
        precomputed_total=precomputed_total,
        break_even_epochs=point or SAVES_NOTHING,
        epochs=intent.epochs,
        experiments=intent.runs,
        captions=dataset.captions,
        break_even_experiments=point.times(1 / intent.epochs) if point else SAVES_NOTHING,
        net_saving=_less(realtime_total, precomputed_total),
        pixels_extraction=resizing,
        pixels_epoch=pixels,
        pixels_total=resizing.plus(pixels.times(planned)),
        encodes_per_image=dataset.captions / max(1, dataset.training_images),
    )


def model_plans(
    situation: Situation, fits: tuple[bool | None, ...], shapes: tuple[FeatureShape, ...]
) -> tuple[ModelPlan, ...]:
    """One row for each of several towers.

    Args:
        fits: whether each tower's features fit alone.
        shapes: what would be stored of each.
    """
    rows = []
    for tower, shape, fit in zip(situation.towers, shapes, fits, strict=True):
        times = time_plan(situation, tower)
        point = times.break_even_epochs
        epochs = situation.intent.epochs_per_model
        rows.append(
            ModelPlan(
                clip_model=tower.name,
                row=shape.words,
                feature_bytes=shape.feature_bytes(situation.dataset.images),
                fits=fit,
                extraction=times.extraction,
                realtime_epoch=times.realtime_epoch,
                precomputed_epoch=times.precomputed_epoch,
                break_even_epochs=point,
                epochs=epochs,
                pays=isinstance(point, Estimate) and epochs > point.likely,
            )
        )
    return tuple(rows)


def _of_all_models(situation: Situation) -> tuple[Estimate, Estimate]:
    """Totals of realtime and precomputed: the epochs are shared out evenly among the named models."""
    realtime = precomputed = Estimate.exact(0, "s")
    epochs = situation.intent.planned_epochs / len(situation.towers)
    for tower in situation.towers:
        times = time_plan(situation, tower)
        realtime = realtime.plus(times.realtime_epoch.times(epochs))
        precomputed = precomputed.plus(times.extraction).plus(times.precomputed_epoch.times(epochs))
    return realtime, precomputed


def _resizing(situation: Situation, tower: Tower) -> Estimate:
    """Seconds to store the resized pictures: decoding alone."""
    measured = situation.measured_for(tower)
    rate = timing.decode_rate(situation.workers)
    if measured and isinstance(measured.decode, Estimate):
        rate = measured.decode
    return rate.seconds_for(situation.dataset.images)


def _less(total: Estimate, other: Estimate) -> Estimate:
    """A saving; what is slow in one way is slow in the other, so the ends are taken together."""
    ends = sorted((total.low - other.low, total.likely - other.likely, total.high - other.high))
    likely = total.likely - other.likely
    return Estimate(ends[0], likely, ends[-1], "s", total.plus(other).basis)
