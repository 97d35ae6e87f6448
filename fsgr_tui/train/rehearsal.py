"""One step of everything before hours are spent: training, validation, captions, scores, a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fsgr_tui.core.errors import EXIT_OK
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.train.device import Memory
from fsgr_tui.train.loop import Training


def rehearse(run: Training, spec: TrainSpec, memory: Memory, events: EventWriter) -> int:
    """Go through every part of a run once, time it, and keep nothing; returns the exit code.

    Raises:
        Problem: a part fails, as it would have in the run.
    """
    run.tell_sizes()
    parts: list[dict[str, Any]] = []

    def part(name: str, units: int, unit: str, work: Callable[[], Any]) -> Any:
        events.phase(name, 1, "")
        began = time.perf_counter()
        value = work()
        seconds = time.perf_counter() - began
        rate = units / seconds if units else None
        parts.append(
            {"part": name, "seconds": seconds, "per_s": rate, "unit": unit, "peak_memory_bytes": memory.peak_bytes()}
        )
        events.progress(1, 1)
        return value

    part("first training step", spec.batch_size, "pairs", run.try_step)
    part("training step", spec.batch_size, "pairs", run.try_step)
    step = parts[-1]
    if spec.critical.epochs:
        part("self-critical step", spec.batch_size, "images", run.try_critical_step)
    images = list(run.evaluation.written)[: spec.batch_size]
    scores: dict[str, float] = {}
    if images:
        pairs = min(spec.batch_size, sum(map(len, run.evaluation.written.values())))
        part("validation", pairs, "pairs", lambda: run.evaluation.loss(1))
        if spec.evaluate:
            said = part(f"captions, beam {spec.beam}", len(images), "images", lambda: run.evaluation.captions(images))
            scores = part("scores", len(images), "images", lambda: run.scored(said))
    checkpoint_bytes = part("checkpoint", 0, "", run.try_checkpoint)
    events.result(
        "train",
        {
            "rehearsal": True,
            "mode": spec.mode,
            "batch_size": spec.batch_size,
            "parts": parts,
            "metrics": scores,
            "steps_an_epoch": run.steps_an_epoch,
            "step_s": step["seconds"],
            "pairs_per_s": step["per_s"],
            "data_wait_share": None,
            "epoch_s": step["seconds"] * run.steps_an_epoch,
            "checkpoint_bytes": checkpoint_bytes,
            **memory.facts(spec.batch_size // spec.world, spec.world),
        },
    )
    return EXIT_OK
