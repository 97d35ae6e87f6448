"""Writes a run's state into checkpoints and takes it up again, chance included."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.language import tr
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.train import checkpoint
from fsgr_tui.train.learner import Learner
from fsgr_tui.train.state import RunState


class Saver:
    """Checkpoints of one run; the first process writes them, all of them have to call.

    Args:
        spec: the run.
        learner: weights and the optimizer's memory.
        identity: what makes this run this run (`checkpoint.identity_of`).
        words: the vocabulary.
    """

    def __init__(self, spec: TrainSpec, learner: Learner, identity: Mapping[str, Any], words: tuple[str, ...]) -> None:
        self._spec, self._learner, self._identity, self._words = spec, learner, identity, words
        self._saved_at = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether a power cut would cost more than it may."""
        return time.monotonic() - self._saved_at > self._spec.save_s

    def save(self, path: Path, state: RunState) -> None:
        """Write a checkpoint whole.

        Raises:
            MachineCannot: it cannot be written.
        """
        ranks, device = self._learner.ranks, self._learner.device
        random: dict[str, list[Tensor]] = {"cpu": ranks.gathered(torch.get_rng_state().unsqueeze(0)), "cuda": []}
        if device.type == "cuda":
            random["cuda"] = ranks.gathered(torch.cuda.get_rng_state(device).unsqueeze(0))
        self._saved_at = time.monotonic()
        if not ranks.first:
            return
        content = {
            "learner": self._learner.state(),
            "state": asdict(state),
            "random": random,
            "words": list(self._words),
            "identity": dict(self._identity),
            "spec": msgspec.to_builtins(self._spec),
        }
        checkpoint.save(path, content)

    def resume(self, path: Path, events: EventWriter) -> RunState:
        """Take up the state of a checkpoint.

        Raises:
            BadRequest: it is of another run.
            FoundFaults: it is damaged.
            MachineCannot: it may not be read.
        """
        content = checkpoint.load(path)
        checkpoint.refuse_another_run(path, content, self._identity, self._words)
        try:
            self._learner.restore(content["learner"])
            state = RunState(**content["state"])
            self._restore_chance(content["random"], events)
        except (RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
            raise FoundFaults(
                tr("The checkpoint {path} is damaged: {error}.", path=path, error=error),
                tr("Start anew with --overwrite."),
            ) from None
        events.notice(tr("Going on after step {step:,} of {path}.", step=state.step, path=path))
        return state

    def _restore_chance(self, random: dict[str, list[Tensor]], events: EventWriter) -> None:
        ranks, device = self._learner.ranks, self._learner.device
        if len(random["cpu"]) != ranks.world:
            events.notice(
                tr(
                    "The checkpoint is of {then} processes, now there are {now}: "
                    "what dropout and sampling draw from here on is not what they would have drawn.",
                    then=len(random["cpu"]),
                    now=ranks.world,
                )
            )
            return
        torch.set_rng_state(random["cpu"][ranks.rank][0])
        if device.type == "cuda" and random["cuda"]:
            torch.cuda.set_rng_state(random["cuda"][ranks.rank][0], device)
