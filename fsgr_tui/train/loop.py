"""One training run from its spec to its result."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import EXIT_OK, BadRequest, FoundFaults, MachineCannot
from fsgr_tui.core.event import EventWriter, RateWindow
from fsgr_tui.core.training import MODES, TrainSpec
from fsgr_tui.extract.device import chosen_device
from fsgr_tui.features.annotations import Annotations, read_annotations
from fsgr_tui.train import checkpoint
from fsgr_tui.train.data import GridSource, open_source
from fsgr_tui.train.device import MemoryGauge
from fsgr_tui.train.learner import Learner, LossGuard
from fsgr_tui.train.pairs import EncodedPairs, EpochOrder, in_order
from fsgr_tui.train.timing import StepClock
from fsgr_tui.train.vocabulary import Vocabulary

TELL_S = 0.5
SAVE_S = 600.0
"""An epoch of realtime training takes hours; what a power cut can cost is kept to minutes."""

ENDS = 5
"""Steps that the first and the last loss are means of."""
SAMPLES = 3
_RECENT = 50


def train(spec: TrainSpec, events: EventWriter, stopper: Stopper, *, tell_s: float = TELL_S) -> int:
    """Train a captioner.

    Args:
        spec: the run.
        events: where it tells.
        stopper: asked between steps.
        tell_s: shortest pause between two metrics.

    Returns:
        The exit code: 0, or 130 or 143 when stopped; the checkpoint then holds every step done.

    Raises:
        Problem: the request, the data or the machine is not fit for it, or the loss stayed non-finite.
    """
    _check(spec)
    device = chosen_device(spec.device)
    annotations = read_annotations(Path(spec.annotation_folder))
    if shared := annotations.shared_images:
        events.warning(f"{shared:,} images are in training and in dev: the validation loss flatters the captioner.")
    gauge = MemoryGauge(device)
    source = open_source(spec, device, events)
    source.require(pair.image_id for pairs in (annotations.train, annotations.dev) for pair in pairs)
    try:
        run = Training(spec, source, annotations, device=device, events=events, stopper=stopper, tell_s=tell_s)
        return run.run(gauge)
    except torch.cuda.OutOfMemoryError:
        raise MachineCannot(
            f"The memory of {device} does not hold a step with batch size {spec.batch_size}.",
            "Use a smaller --batch-size, or free the GPU (see nvidia-smi).",
        ) from None


@dataclass
class RunState:
    """How far a run is; kept in checkpoints.

    Attributes:
        step: steps done, those passed over included.
        epoch: epochs done.
        position: batches done of the epoch at hand.
        val_loss: the newest; validated_step: the step that it was taken after.
        best: lowest val_loss.
        first, last: the first and the last finite losses, at most `ENDS` each.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    val_loss: float | None = None
    validated_step: int = -1
    best: float | None = None
    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)

    def note(self, loss: float) -> None:
        """Keep a step's loss."""
        if math.isfinite(loss):
            self.first = [*self.first, loss][:ENDS]
            self.last = [*self.last, loss][-ENDS:]


class Training:
    """A run: epochs of steps, a validation after each, checkpoints in between.

    Attributes:
        state: how far it is.
    """

    def __init__(
        self,
        spec: TrainSpec,
        source: GridSource,
        annotations: Annotations,
        *,
        device: torch.device,
        events: EventWriter,
        stopper: Stopper,
        tell_s: float,
    ) -> None:
        self._spec, self._source, self._device = spec, source, device
        self._events, self._stopper, self._tell_s = events, stopper, tell_s
        train_pairs, self._dev_pairs = annotations.train, annotations.dev
        self._vocabulary = Vocabulary.from_captions((pair.caption for pair in train_pairs), spec.min_word_count)
        self._train = EncodedPairs(train_pairs, self._vocabulary)
        self._dev = EncodedPairs(annotations.dev, self._vocabulary)
        self._order = EpochOrder(len(train_pairs), spec.batch_size, spec.seed)
        if not self._order.per_epoch:
            raise BadRequest(
                f"{len(train_pairs):,} training captions do not fill one batch of {spec.batch_size}.",
                "Use a smaller --batch-size.",
            )
        self._learner = Learner(spec, source.width, len(self._vocabulary), device)
        self._guard, self._clock, self._window = LossGuard(), StepClock(), RateWindow()
        self._saved_at, self._told_at = time.monotonic(), -math.inf
        self.state = RunState()

    @property
    def _last_step(self) -> int:
        """The step that ends the run."""
        whole = self._spec.epochs * self._order.per_epoch
        return whole if self._spec.max_steps is None else min(whole, self._spec.max_steps)

    def run(self, gauge: MemoryGauge) -> int:
        """Train to the end of the spec; returns the exit code."""
        self._begin()
        # A run that was stopped between its last step and the end of the validation still owes that.
        while self.state.step < self._last_step or self.state.validated_step != self.state.step:
            if not self._train_epoch() or not self._validate():
                return self._stopped()
            if self.state.position == self._order.per_epoch:
                self.state.epoch, self.state.position = self.state.epoch + 1, 0
            self._save_after_validation()
        self._tell_result(gauge)
        return EXIT_OK

    def _begin(self) -> None:
        spec, last = self._spec, checkpoint.last_path(self._spec)
        Path(spec.output).mkdir(parents=True, exist_ok=True)
        if spec.resume and last.exists():
            self._resume(last)
        elif last.exists() and not spec.overwrite:
            raise BadRequest(
                f"{last} is there already, from an earlier run.",
                "Go on with --resume, choose another --exp-name, or start anew with --overwrite.",
            )
        elif spec.overwrite:
            # The best of the earlier run would pass for this one's until the first validation.
            checkpoint.best_path(spec).unlink(missing_ok=True)
        self._events.notice(
            f"{len(self._train):,} training pairs in {self._order.per_epoch:,} steps an epoch, "
            f"{len(self._vocabulary):,} words, {self._learner.parameters:,} trained parameters "
            f"in {self._learner.arithmetic} on {self._device}."
        )
        if self._last_step <= spec.warmup:
            self._events.notice(
                f"The warm-up of {spec.warmup:,} steps is no shorter than the run ({self._last_step:,} steps): "
                f"the learning rate stays below {spec.learning_rate:g}."
            )

    def _train_epoch(self) -> bool:
        """Train to the end of the epoch, or of the run when that comes first; False when told to stop."""
        state, order = self.state, self._order
        stop = min(order.per_epoch, state.position + max(0, self._last_step - state.step))
        batches = list(order.batches(state.epoch, state.position, stop))
        self._events.phase(f"epoch {state.epoch + 1} of {self._spec.epochs}", stop * order.batch_size, "pairs")
        self._window = RateWindow()
        self._window.add(state.position * order.batch_size)
        with closing(self._source.batches(map(self._train.images, batches))) as loaded:
            for members in batches:
                if self._stopper():
                    return False
                self._step(loaded, members, stop)
                if time.monotonic() - self._saved_at > SAVE_S:
                    self._save(checkpoint.last_path(self._spec))
        return not self._stopper()

    def _step(self, loaded: Any, members: Sequence[int], stop: int) -> None:
        began = time.perf_counter()
        batch = next(loaded)
        waited_s = time.perf_counter() - began
        tokens = self._train.tokens(members).to(self._device)
        loss, norm = self._learner.step(self._source.grids(batch), tokens, self.state.step)
        self._clock.add(time.perf_counter() - began, waited_s)
        self.state.step += 1
        self.state.position += 1
        self.state.note(loss)
        self._tell_step(loss, stop)
        if warning := self._guard.see(self.state.step, loss, norm):
            self._events.warning(warning)

    def _tell_step(self, loss: float, stop: int) -> None:
        done, total = (number * self._order.batch_size for number in (self.state.position, stop))
        self._window.add(done)
        if time.monotonic() - self._told_at < self._tell_s and done < total:
            return
        self._told_at = time.monotonic()
        self._events.metric(self.state.step, loss=loss, lr=self._learner.rate)
        waiting = self._clock.wait_share(_RECENT)
        stages = {} if waiting is None else {"data": waiting, "step": 1 - waiting}
        self._events.progress(done, total, self._window.rate(), stages, self._bottleneck(waiting))

    def _bottleneck(self, waiting: float | None) -> str:
        if waiting is None:
            return ""
        if waiting < 0.3:
            return f"compute-bound: {1 - waiting:.0%} of a step is computing"
        source = "the feature file" if self._spec.mode == "precomputed" else "decoding pictures"
        return f"data-bound: {waiting:.0%} of a step waits for {source}; more --workers help while cores are free"

    def _validate(self) -> bool:
        """The loss over the words of dev; False when told to stop."""
        batches = in_order(len(self._dev), self._spec.batch_size, self._spec.max_val_batches)
        if not batches:
            self.state.validated_step = self.state.step
            return True
        self._events.phase("validate", batches[-1].stop, "pairs")
        total, words = 0.0, 0
        with closing(self._source.batches(map(self._dev.images, batches))) as loaded:
            for members, batch in zip(batches, loaded, strict=True):
                if self._stopper():
                    return False
                summed, count = self._learner.summed_loss(
                    self._source.grids(batch), self._dev.tokens(members).to(self._device)
                )
                total, words = total + summed, words + count
                self._events.progress(members.stop, batches[-1].stop)
        self.state.val_loss, self.state.validated_step = total / words, self.state.step
        self._events.metric(self.state.step, val_loss=self.state.val_loss)
        return True

    def _save_after_validation(self) -> None:
        val_loss, best = self.state.val_loss, self.state.best
        better = val_loss is not None and math.isfinite(val_loss) and (best is None or val_loss < best)
        if better:
            self.state.best = val_loss
        self._save(checkpoint.last_path(self._spec))
        if better:
            self._save(checkpoint.best_path(self._spec))

    def _save(self, path: Path) -> None:
        on_gpu = self._device.type == "cuda"
        random = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state(self._device) if on_gpu else None}
        content = {
            "learner": self._learner.state(),
            "state": asdict(self.state),
            "random": random,
            "words": list(self._vocabulary.words),
            "identity": self._identity(),
            "spec": msgspec.to_builtins(self._spec),
        }
        checkpoint.save(path, content)
        self._saved_at = time.monotonic()

    def _resume(self, path: Path) -> None:
        content = checkpoint.load(path)
        checkpoint.refuse_another_run(path, content, self._identity(), self._vocabulary.words)
        try:
            self._learner.restore(content["learner"])
            self.state = RunState(**content["state"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise FoundFaults(f"The checkpoint {path} is damaged: {error}.", "Start anew with --overwrite.") from None
        torch.set_rng_state(content["random"]["cpu"])
        if self._device.type == "cuda" and content["random"]["cuda"] is not None:
            torch.cuda.set_rng_state(content["random"]["cuda"], self._device)
        self._events.notice(f"Going on after step {self.state.step:,} of {path}.")

    def _identity(self) -> dict[str, Any]:
        return checkpoint.identity_of(self._spec, self._source.identity, self._train.digest, len(self._vocabulary))

    def _stopped(self) -> int:
        last = checkpoint.last_path(self._spec)
        self._save(last)
        self._events.notice(
            f"Stopped; {self.state.step:,} of {self._last_step:,} steps are kept in {last}. Go on with --resume."
        )
        return self._stopper.exit_code

    def _samples(self) -> list[dict[str, Any]]:
        """What the captioner says about a few images of dev, beside what a person said."""
        references: dict[int, str] = {}
        for pair in self._dev_pairs:
            references.setdefault(pair.image_id, pair.caption)
            if len(references) == SAMPLES:
                break
        if not references:
            return []
        with closing(self._source.batches([list(references)])) as loaded:
            captions = self._learner.greedy(self._source.grids(next(loaded)))
        return [
            {"image_id": image_id, "caption": self._vocabulary.decode(ids), "reference": reference}
            for (image_id, reference), ids in zip(references.items(), captions, strict=True)
        ]

    def _tell_result(self, gauge: MemoryGauge) -> None:
        state, mean_s = self.state, self._clock.mean_s
        self._events.result(
            "train",
            {
                "mode": self._spec.mode,
                "steps": state.step,
                "epochs_done": state.epoch,
                "batch_size": self._spec.batch_size,
                "first_loss": _mean(state.first),
                "last_loss": _mean(state.last),
                "val_loss": state.val_loss,
                "steps_timed": self._clock.counted,
                "step_s": self._clock.median_s,
                "pairs_per_s": self._spec.batch_size / mean_s if mean_s else None,
                "data_wait_share": self._clock.wait_share(),
                "peak_memory_bytes": gauge.peak_bytes(),
                "baseline_memory_bytes": gauge.baseline_bytes,
                "memory_kind": gauge.kind,
                "checkpoint": str(checkpoint.last_path(self._spec)),
                "trained_parameters": self._learner.parameters,
                "samples": self._samples(),
            },
        )


def _mean(losses: Sequence[float]) -> float | None:
    return sum(losses) / len(losses) if losses else None


def _check(spec: TrainSpec) -> None:
    """Refuse what no data could make right, before anything is loaded."""
    if spec.mode not in MODES:
        raise BadRequest(f"{spec.mode!r} is no way to train.", f"Use {' or '.join(MODES)}.")
    least = {
        "batch_size": 1,
        "epochs": 1,
        "warmup": 0,
        "workers": 0,
        "max_steps": 1,
        "max_val_batches": 1,
        "min_word_count": 1,
    }
    for name, lowest in least.items():
        value = getattr(spec, name)
        if value is not None and value < lowest:
            raise BadRequest(f"{name} is {value}.", f"It has to be {lowest} or more.")
    if not 0 < spec.learning_rate < math.inf:
        raise BadRequest(f"learning_rate is {spec.learning_rate}.", "It has to be above 0, e.g. 1e-4.")
    if not spec.exp_name or "/" in spec.exp_name:
        raise BadRequest(f"{spec.exp_name!r} cannot name checkpoints.", "Use a name without a slash.")
    if spec.size.d_model % spec.size.heads:
        raise BadRequest(
            f"d_model {spec.size.d_model} is not a multiple of {spec.size.heads} heads.", "Change one of both."
        )
