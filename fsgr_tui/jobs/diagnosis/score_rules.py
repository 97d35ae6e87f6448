"""What goes wrong in the numbers of an evaluation: pure objects, fed with one reading after the other."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import NamedTuple

from fsgr_tui.core.job import Alarm
from fsgr_tui.core.language import tr, trn
from fsgr_tui.jobs.diagnosis.metric_rules import is_held_out, is_loss

GAP_FACTOR, GAP_LEAST = 2.0, 0.5
_CAPTION_SCORES = re.compile(r"cider|bleu|meteor|rouge|spice", re.IGNORECASE)
_OTHER_SCORES = re.compile(r"(?:^|[_/ ])(?:acc|accuracy|f1|auc|map)(?:$|[_/@ \d])", re.IGNORECASE)


class ValidationGap:
    """A validation loss far above the training loss, twice in a row."""

    def __init__(self) -> None:
        self._training: deque[float] = deque(maxlen=50)
        self._run = 0
        self._first: tuple[float, str] = (0.0, "")
        self._alarm: Alarm | None = None

    def see(self, at: float, step: int, metrics: Mapping[str, float], text: str) -> None:
        """Take in a reading."""
        for name, value in metrics.items():
            if not is_loss(name) or not math.isfinite(value):
                continue
            if not is_held_out(name):
                self._training.append(value)
                continue
            if not self._training:
                continue
            training = fmean(self._training)
            if training <= 0 or value < GAP_FACTOR * training or value - training < GAP_LEAST:
                self._run = 0
                continue
            if not self._run:
                self._first = (at, text)
            self._run += 1
            if self._run > 1:
                self._alarm = Alarm(
                    "validation far above training",
                    tr(
                        "{name} {value:.3g} is far above the training loss {training:.3g}, {times} times in a row, last at step {step:,}.",
                        name=name, value=value, training=training, times=self._run, step=step,
                    ),
                    self._first[0], at, self._run, self._first[1], level="warning",
                    advice=tr(
                        "It has learned the training data by heart, or the two are not computed alike (dropout, label smoothing, other "
                        "preprocessing, features of another tower). Keep the best checkpoint by validation score; try more dropout or fewer epochs."
                    ),
                )  # fmt: skip

    def alarms(self) -> Iterator[Alarm]:
        """At most one."""
        if self._alarm is not None:
            yield self._alarm


class _Zeros(NamedTuple):
    """Readings in a row in which a score was zero."""

    times: int
    first: float
    last: float
    line: str
    step: int


class ZeroScore:
    """Scores that are exactly zero: told together, since they come together, epoch after epoch."""

    def __init__(self) -> None:
        self._runs: dict[str, _Zeros] = {}

    def see(self, at: float, step: int, metrics: Mapping[str, float], text: str) -> None:
        """Take in a reading."""
        for name, value in metrics.items():
            if not (_CAPTION_SCORES.search(name) or _OTHER_SCORES.search(name)):
                continue
            if value != 0:
                self._runs.pop(name, None)
                continue
            before = self._runs.get(name, _Zeros(0, at, at, text, step))
            self._runs[name] = before._replace(times=before.times + 1, last=at, step=step)

    def alarms(self) -> Iterator[Alarm]:
        """At most one."""
        # An accuracy may well begin at nothing.
        told = {
            name: run for name, run in self._runs.items() if run.times >= (1 if _CAPTION_SCORES.search(name) else 3)
        }
        if not told:
            return
        oldest, times = min(told.values(), key=lambda run: run.first), max(run.times for run in told.values())
        last_step = max(run.step for run in told.values())
        text = (
            trn(
                "{names} is exactly 0, {times} times in a row, last at step {step:,}.",
                "{names} are exactly 0, up to {times} times in a row, last at step {step:,}.",
                len(told), names=", ".join(told), times=times, step=last_step,
            )
            if times > 1
            else trn(
                "{names} is exactly 0, last at step {step:,}.",
                "{names} are exactly 0, last at step {step:,}.",
                len(told), names=", ".join(told), step=last_step,
            )
        )  # fmt: skip
        yield Alarm(
            "score zero", text, oldest.first, max(run.last for run in told.values()), times, oldest.line,
            level="alarm" if times > 1 else "warning",
            advice=tr(
                "Look at what is generated: empty captions, only padding, or ids that match no reference (image ids and annotation "
                "ids mixed up) give exactly 0."
            ),
        )  # fmt: skip
