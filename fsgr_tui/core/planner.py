"""From facts to the plan. Pure: the same facts give the same plan, whoever asks."""

from __future__ import annotations

from fsgr_tui.core import caveats, flips
from fsgr_tui.core.audit import guide_rows
from fsgr_tui.core.calibration import Calibration
from fsgr_tui.core.dataset import DatasetFacts
from fsgr_tui.core.decision import Decision, certainty, decide, file_of, model_file, pixel_file
from fsgr_tui.core.machine import Disk, Machine
from fsgr_tui.core.plan import Choice, Intent, ModelPlan, Plan, Recommendation
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.steps import commands, feature_path, staged
from fsgr_tui.core.storage import Stored, breakdown
from fsgr_tui.core.timeplan import model_plans
from fsgr_tui.core.tower import FeatureShape, Tower
from fsgr_tui.core.ways import way_plans

__all__ = ["feature_path", "make_plan"]


def make_plan(
    machine: Machine,
    dataset: DatasetFacts,
    intent: Intent,
    tower: Tower,
    images_disk: Disk,
    features_disk: Disk,
    workers: int,
    *,
    calibration: Calibration | None = None,
) -> Plan:
    """The plan for these facts and one CLIP model.

    Args:
        tower: the vision tower that `intent.clip_model` names.
        images_disk, features_disk: where images are, and where features would go.
        workers: decoding workers.
        calibration: what was measured here with `tower`; its values replace published rates and guesses.

    Raises:
        BadRequest: the tower does not give the grid that was asked for.
    """
    FeatureShape(tower, intent.grid, intent.dtype or "float16").checked()
    measured = (calibration,) if calibration else ()
    return plan_for(Situation(machine, dataset, intent, (tower,), images_disk, features_disk, workers, measured))


def plan_for(situation: Situation, simulated: tuple[str, ...] = ()) -> Plan:
    """The plan for a situation."""
    decision = decide(situation)
    facts = decision.facts
    keep_all = facts.models_need.fits if facts.models_need else None
    steps = commands(decision, keep_all=bool(keep_all))
    stages = staged(decision, steps)
    measured = situation.measured_for(situation.tower)
    return Plan(
        machine=situation.machine,
        dataset=situation.dataset,
        intent=situation.intent,
        recommendation=_recommendation(decision),
        ladder=facts.rungs,
        storage=breakdown(situation, _stored(decision, keep_all=bool(keep_all))),
        time=facts.time,
        memory=facts.memory,
        guide=guide_rows(situation),
        commands=stages if situation.intent.staged and stages else steps,
        ways=way_plans(decision),
        models=_models(decision),
        keep_all_models=keep_all,
        staged=stages,
        simulated=simulated,
        calibrated=measured.measured_at if measured else "",
    )


def _recommendation(decision: Decision) -> Recommendation:
    facts = decision.facts
    rung = facts.chosen or facts.rungs[-1]
    stored = file_of(rung, facts.situation.tower)
    found = flips.thresholds(decision)
    texts = (flips.larger_that_fit(decision), *(threshold.text for threshold in found))
    return Recommendation(
        mode=decision.mode,
        confidence=decision.confidence,
        reason=caveats.reason(decision),
        choice=Choice(
            facts.situation.tower.name, rung.grid, rung.dtype, rung.splits, rung.tokens, rung.width,
            stored.images(facts.situation), rung.feature_bytes,
        ),
        criteria=decision.rows,
        flips=tuple(text for text in texts if text),
        warnings=caveats.warnings(decision),
        certainty=certainty(decision),
        cache=decision.cache,
        thresholds=found,
    )  # fmt: skip


def _stored(decision: Decision, *, keep_all: bool) -> tuple[Stored, ...]:
    """The files that the recommended way keeps."""
    situation = decision.facts.situation
    if decision.cache:
        return (pixel_file(situation),)
    if decision.mode != "precomputed" or decision.facts.chosen is None:
        return ()
    towers = situation.towers if keep_all else situation.towers[:1]
    return tuple(model_file(tower, decision.facts.chosen) for tower in towers)


def _models(decision: Decision) -> tuple[ModelPlan, ...]:
    situation, rung = decision.facts.situation, decision.facts.chosen or decision.facts.rungs[-1]
    if len(situation.towers) == 1:
        return ()
    shapes = tuple(model_file(tower, rung).shape for tower in situation.towers)
    return model_plans(situation, decision.facts.models_fit, shapes)
