"""One training run: epochs of steps, a validation after each, checkpoints in between."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import EXIT_OK, BadRequest, MachineCannot
from fsgr_tui.core.event import EventWriter, RateWindow
from fsgr_tui.core.language import tr
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.features.annotations import Annotations
from fsgr_tui.train import checkpoint, metrics, told
from fsgr_tui.train.board import Board, forget_boards
from fsgr_tui.train.critical import Critic
from fsgr_tui.train.data import GridSource
from fsgr_tui.train.device import Memory
from fsgr_tui.train.evaluate import Evaluation
from fsgr_tui.train.guard import LossGuard
from fsgr_tui.train.learner import Learner
from fsgr_tui.train.outcome import outcome
from fsgr_tui.train.pairs import EncodedPairs, EpochOrder, captions_by_image
from fsgr_tui.train.ranks import Ranks
from fsgr_tui.train.saver import Saver
from fsgr_tui.train.state import RunState
from fsgr_tui.train.timing import StepClock
from fsgr_tui.train.vocabulary import Vocabulary

TELL_S = 0.5
_RECENT = 50


class Training:
    """A run.

    Args:
        spec: what is asked for.
        source: where the grid features come from.
        annotations: captions of training and validation.
        device: of this process.
        ranks: the processes that train together.
        tell_s: shortest pause between two metrics.

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
        ranks: Ranks,
        events: EventWriter,
        stopper: Stopper,
        tell_s: float = TELL_S,
    ) -> None:
        self._spec, self._source, self._device, self._ranks = spec, source, device, ranks
        self._events, self._stopper, self._tell_s = events, stopper, tell_s
        pairs = annotations.train
        self._vocabulary = Vocabulary.from_captions((pair.caption for pair in pairs), spec.min_word_count)
        self._train = EncodedPairs(pairs, self._vocabulary)
        self._written = captions_by_image(pairs)
        self._images = list(self._written)
        self._pair_order = EpochOrder(len(pairs), spec.batch_size, spec.seed)
        self._image_order = EpochOrder(len(self._images), spec.batch_size, spec.seed)
        self._refuse_too_few()
        self.learner = Learner(spec, source.width, len(self._vocabulary), device, ranks=ranks, tower=source.adapted)
        source.shared_by(ranks)
        self.evaluation = Evaluation(
            spec, source, self.learner, self._vocabulary, annotations.dev, events=events, stops=self._stops
        )
        self._critic: Critic | None = None
        self._doubts: set[str] = set()
        self._guard, self.clock, self._window = LossGuard(), StepClock(), RateWindow()
        self._board = Board("")
        identity = checkpoint.identity_of(spec, source.identity, self._train.digest, len(self._vocabulary))
        self._saver = Saver(spec, self.learner, identity, self._vocabulary.words)
        self._told_at = -math.inf
        self.state = RunState()

    def run(self, memory: Memory) -> int:
        """Train to the end of the spec; returns the exit code."""
        spec = self._spec
        self._begin()
        try:
            while not self._finished():
                if not self._train_epoch() or not self._validate():
                    return self._stopped()
                if self.state.position == self._order.per_epoch:
                    self.state.epoch, self.state.position = self.state.epoch + 1, 0
                self._save_after_validation()
            self._events.result("train", outcome(self, spec, memory, self._events))
        finally:
            self._board.close()
        return EXIT_OK

    @property
    def decides(self) -> str:
        """What names the best checkpoint: "cider" or "loss"."""
        return self._spec.best_by if self._spec.evaluate else "loss"

    @property
    def steps_an_epoch(self) -> int:
        """Steps of an epoch of cross-entropy."""
        return self._pair_order.per_epoch

    @property
    def _critical(self) -> bool:
        return self.state.critical_from is not None

    @property
    def _order(self) -> EpochOrder:
        """The order of the epoch at hand: of caption pairs, or of images in self-critical training."""
        return self._image_order if self._critical else self._pair_order

    @property
    def _last_step(self) -> int:
        """The step that ends the run, unless patience does."""
        spec = self._spec
        whole = spec.epochs * self._pair_order.per_epoch + spec.critical.epochs * self._image_order.per_epoch
        return whole if spec.max_steps is None else min(whole, spec.max_steps)

    def _finished(self) -> bool:
        """Whether nothing is left to do; goes over to self-critical training where that is next."""
        state, spec = self.state, self._spec
        if state.step and state.validated_step != state.step:
            # It was stopped between its last step and the end of the validation, and still owes that.
            return False
        if state.step >= self._last_step:
            return True
        if not state.kind_is_over(spec):
            return False
        if state.out_of_patience(spec):
            self._events.notice(told.patience_ends(state.stale, state.best_step, spec.patience))
        if self._critical or not spec.critical.epochs:
            return True
        self._turn_critical()
        return False

    def _turn_critical(self) -> None:
        """Begin self-critical training, from the best weights of the epochs before."""
        # The first process may still be writing them.
        self._ranks.any(False)
        best = checkpoint.best_path(self._spec)
        if best.exists():
            self.learner.restore(checkpoint.load(best)["learner"], weights_only=True)
        self.learner.forget()
        self.state.critical_from, self.state.stale = self.state.epoch, 0
        best_step = self.state.best_step if best.exists() else None
        self._events.notice(told.critical_begins(self._spec.critical.epochs, len(self._images), best_step))

    def _refuse_too_few(self) -> None:
        size = self._spec.batch_size
        kinds = [(told.TOO_FEW_CAPTIONS, self._pair_order)]
        if self._spec.critical.epochs:
            kinds.append((told.TOO_FEW_IMAGES, self._image_order))
        for text, order in kinds:
            if not order.per_epoch:
                raise BadRequest(tr(text, n=order.pairs, size=size), tr("Use a smaller --batch-size."))

    def _begin(self) -> None:
        spec, last = self._spec, checkpoint.last_path(self._spec)
        if self._ranks.first:
            Path(spec.output).mkdir(parents=True, exist_ok=True)
            checkpoint.sweep(spec)
        if spec.resume and last.exists():
            self.state = self._saver.resume(last, self._events)
        elif last.exists() and not spec.overwrite:
            raise BadRequest(
                tr("{path} is there already, from an earlier run.", path=last),
                tr("Go on with --resume, choose another --exp-name, or start anew with --overwrite."),
            )
        elif spec.overwrite and self._ranks.first:
            # Those of the earlier run would pass for this one's.
            checkpoint.forget(spec)
            forget_boards(spec.logs)
        if self._ranks.from_first([self.state.step])[0] != self.state.step:
            # A shared file system may show one node an older folder than another.
            raise MachineCannot(
                tr("The processes do not see the same checkpoint in {folder}.", folder=spec.output),
                tr("Start it once more."),
            )
        self._events.kept(self.state.step)
        self._board = Board(spec.logs if self._ranks.first else "")
        self.tell_sizes()
        if self._last_step <= spec.warmup:
            self._events.notice(told.warmup_too_long(spec.warmup, self._last_step, spec.learning_rate))

    def tell_sizes(self) -> None:
        """Say what is trained on what."""
        self._events.notice(
            told.sizes(
                pairs=len(self._train),
                steps=self._pair_order.per_epoch,
                words=len(self._vocabulary),
                parameters=self.learner.parameters,
                arithmetic=self.learner.arithmetic,
                device=self._device,
                processes=self._ranks.world,
            )
        )

    def _stops(self) -> bool:
        return self._ranks.any(self._stopper())[0]

    def _train_epoch(self) -> bool:
        """Train to the end of the epoch, or of the run when that comes first; False when told to stop."""
        state, order = self.state, self._order
        stop = min(order.per_epoch, state.position + max(0, self._last_step - state.step))
        batches = list(order.batches(state.epoch, state.position, stop))
        if self._critical:
            name = f"self-critical epoch {state.epoch - (state.critical_from or 0) + 1} of {self._spec.critical.epochs}"
        else:
            name = f"epoch {state.epoch + 1} of {self._spec.epochs}"
        self._events.phase(name, stop * order.batch_size, "images" if self._critical else "pairs")
        self._window = RateWindow()
        self._window.add(state.position * order.batch_size)
        with closing(self._source.batches(self._images_of(batches))) as loaded:
            for members in batches:
                stopping, due = self._ranks.any(self._stopper(), self._saver.due and state.step > 0)
                if due and not stopping:
                    self._keep()
                if stopping:
                    return False
                self.step(loaded, members)
                self._tell_step(stop)
        return not self._stops()

    def _images_of(self, batches: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """This process's images of each batch."""
        for members in batches:
            yield [self._image(number) for number in self._ranks.part(members)]

    def _image(self, number: int) -> int:
        return self._images[number] if self._critical else int(self._train.image_ids[number])

    def step(self, loaded: Iterator[Tensor], members: Sequence[int]) -> None:
        """One step on a batch, whose features come from the loader."""
        began = time.perf_counter()
        batch = next(loaded)
        waited_s = time.perf_counter() - began
        mine = self._ranks.part(members)
        if self._critical:
            loss, norm = self._critical_step(batch, mine)
        else:
            tokens = self._train.tokens(mine).to(self._device)
            grids = self._source.grids(batch)
            loss, norm = self.learner.step(grids, tokens, self.state.step, self._train.words(members))
            self.state.note(loss)
            self.clock.add(time.perf_counter() - began, waited_s)
        self.state.step += 1
        self.state.position += 1
        self._loss = loss
        if warning := self._guard.see(self.state.step, loss, norm):
            self._events.warning(warning)

    def try_step(self, size: int | None = None) -> None:
        """A step on the first pairs, of which nothing is told.

        Args:
            size: of the batch; the run's own by default.
        """
        (members,) = self._pair_order.batches(0, 0, 1)
        members = members[:size]
        with closing(self._source.batches(self._images_of([members]))) as loaded:
            grids = self._source.grids(next(loaded))
        tokens = self._train.tokens(self._ranks.part(members)).to(self._device)
        self.learner.step(grids, tokens, 0, self._train.words(members))

    def try_critical_step(self) -> None:
        """The same for self-critical training."""
        (members,) = self._image_order.batches(0, 0, 1)
        mine = self._ranks.part(members)
        with closing(self._source.batches([[self._images[number] for number in mine]])) as loaded:
            self._critical_step(next(loaded), mine)

    def try_checkpoint(self) -> int:
        """Write a checkpoint and remove it again; returns its bytes."""
        Path(self._spec.output).mkdir(parents=True, exist_ok=True)
        path = Path(self._spec.output) / f".{self._spec.exp_name}_rehearsal.pth"
        self._saver.save(path, self.state)
        size = path.stat().st_size if path.exists() else 0
        path.unlink(missing_ok=True)
        return size

    def _critical_step(self, batch: Tensor, mine: Sequence[int]) -> tuple[float, float]:
        if self._critic is None:
            self._critic = Critic(self._spec.critical, self._written, self._vocabulary)
        images = [self._images[number] for number in mine]
        done = self._critic.step(self.learner, self._source.grids(batch), images)
        self.state.reward = done.reward
        return done.loss, done.norm

    def _tell_step(self, stop: int) -> None:
        done, total = (number * self._order.batch_size for number in (self.state.position, stop))
        self._window.add(done)
        if time.monotonic() - self._told_at < self._tell_s and done < total:
            return
        self._told_at = time.monotonic()
        values = {"loss": self._loss, "lr": self.learner.rate}
        if self._critical and self.state.reward is not None:
            values["reward"] = self.state.reward
        self._tell(values, "train")
        waiting = self.clock.wait_share(_RECENT)
        stages = {} if waiting is None else {"data": waiting, "step": 1 - waiting}
        self._events.progress(done, total, self._window.rate(), stages, self._bottleneck(waiting))

    def _tell(self, values: dict[str, float], group: str) -> None:
        self._events.metric(self.state.step, **values)
        self._board.add(self.state.step, {f"{group}/{name}": value for name, value in values.items()})

    def _bottleneck(self, waiting: float | None) -> str:
        return "" if waiting is None or self._critical else told.bottleneck(waiting, self._spec.mode)

    def _validate(self) -> bool:
        """Loss and scores over the validation images; False when told to stop."""
        loss = self.evaluation.loss(self._spec.max_val_batches)
        if loss is None and self.evaluation.written:
            return False
        scores: dict[str, float] = {}
        if self._spec.evaluate and self.evaluation.written:
            said = self.evaluation.captions()
            if said is None:
                return False
            scores = self.scored(said)
        self.state.note_validation(loss, scores)
        if loss is not None:
            self._tell({"val_loss": loss, **scores}, "val")
        return True

    def scored(self, said: dict[int, str]) -> dict[str, float]:
        """The scores of captions, the same in every process; what is suspicious about them is told."""
        written = self.evaluation.written
        split = {image: [metrics.split_words(text) for text in written[image]] for image in said}
        scores = metrics.score(said, split)
        for doubt in metrics.doubts(scores, said):
            if doubt not in self._doubts:
                self._doubts.add(doubt)
                self._events.warning(doubt)
        return dict(zip(scores, self._ranks.from_first(list(scores.values())), strict=True))

    def _save_after_validation(self) -> None:
        better = self.state.judge("cider" if self._critical else self.decides)
        self._keep()
        if better:
            self._saver.save(checkpoint.best_path(self._spec), self.state)
        if self._spec.keep and self.state.position == 0:
            self._saver.save(checkpoint.epoch_path(self._spec, self.state.epoch), self.state)
            if self._ranks.first:
                checkpoint.drop_old_epochs(self._spec)

    def _keep(self) -> None:
        self._saver.save(checkpoint.last_path(self._spec), self.state)
        self._events.kept(self.state.step)

    def _stopped(self) -> int:
        last = checkpoint.last_path(self._spec)
        self._keep()
        self._events.notice(
            tr(
                "Stopped; {step:,} of {all:,} steps are kept in {path}. Go on with --resume.",
                step=self.state.step,
                all=self._last_step,
                path=last,
            )
        )
        return self._stopper.exit_code if self._stopper() else 143
