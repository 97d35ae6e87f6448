"""What a run came to: the result that its job shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.language import tr
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.train import checkpoint
from fsgr_tui.train.device import Memory
from fsgr_tui.train.java import java_scores

if TYPE_CHECKING:
    from fsgr_tui.train.loop import Training


def outcome(run: Training, spec: TrainSpec, memory: Memory, events: EventWriter) -> dict[str, Any]:
    """The result of a finished run; the captions for it are made here, by the best weights.

    Raises:
        MachineCannot: the scores that need Java were asked for and failed.
    """
    state, mean_s = run.state, run.clock.mean_s
    # The first process may still be writing them.
    run.learner.ranks.any(False)
    if (best := checkpoint.best_path(spec)).exists():
        run.learner.restore(checkpoint.load(best)["learner"], weights_only=True)
    samples = run.evaluation.samples() if spec.evaluate else []
    java = _java_scores(run, spec, events)
    return {
        "mode": spec.mode,
        "steps": state.step,
        "epochs_done": state.epoch,
        "batch_size": spec.batch_size,
        "processes": spec.world,
        "first_loss": _mean(state.first),
        "last_loss": _mean(state.last),
        "val_loss": state.val_loss,
        "metrics": state.scores,
        "java_metrics": java,
        "curve": state.curve,
        "best": {"by": run.decides, "value": state.best, "step": state.best_step},
        "steps_timed": run.clock.counted,
        "step_s": run.clock.median_s,
        "pairs_per_s": spec.batch_size / mean_s if mean_s else None,
        "epoch_s": mean_s * run.steps_an_epoch if mean_s else None,
        "data_wait_share": run.clock.wait_share(),
        **memory.facts(spec.batch_size // spec.world, spec.world),
        "checkpoint": str(checkpoint.last_path(spec)),
        "checkpoint_bytes": checkpoint.bytes_kept(spec),
        "logs": spec.logs,
        "trained_parameters": run.learner.parameters,
        "samples": samples,
    }


def _java_scores(run: Training, spec: TrainSpec, events: EventWriter) -> dict[str, float]:
    """The scores of the field's Java programs over the validation images, where there is a Java for them."""
    if not (spec.java and spec.evaluate and run.evaluation.written):
        return {}
    said = run.evaluation.captions()
    if said is None or not run.learner.ranks.first:
        return {}
    events.phase("METEOR and the Penn Treebank tokenizer")
    try:
        return java_scores(spec.java, said, run.evaluation.written)
    except Problem as problem:
        if spec.java_needed:
            raise
        events.warning(tr("The scores that need Java were left out: {problem}", problem=problem.what))
        return {}


def _mean(losses: Sequence[float]) -> float | None:
    return sum(losses) / len(losses) if losses else None
