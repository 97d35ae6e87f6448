"""What goes wrong in the numbers of a training: pure objects, fed with one reading after the other."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from fsgr_tui.core.job import Alarm
from fsgr_tui.core.language import mark, tr, trn

LASTING_READINGS: Final = 10
LASTING_S: Final = 60.0
"""So many readings in a row, or half of them over so long, are no slip any more."""

ZERO_RATE_READINGS: Final = 20
PLATEAU_READINGS: Final = 20
PLATEAU_STEPS: Final = 200
PLATEAU_SPREAD: Final = 0.015
VOCABULARIES: Final = (1000, 100_000)
"""Caption vocabularies have about 10,000 words, byte-pair ones up to 50,000."""

_HELD_OUT = re.compile(r"val|dev|eval|test", re.IGNORECASE)
_RATE = re.compile(r"(?:^|[_/ -])(?:lr|learning_?rate)(?:$|[_/ -])", re.IGNORECASE)
# The best so far is infinite before there is one.
_NO_MEASURE = re.compile(r"best|min|max|time|eta", re.IGNORECASE)


def is_loss(name: str) -> bool:
    """Whether a metric is a loss."""
    return "loss" in name.lower() or name.lower() == "nll"


def is_held_out(name: str) -> bool:
    """Whether a metric is of validation or test data."""
    return bool(_HELD_OUT.search(name))


@dataclass
class _Finite:
    """One metric's history of finite and other values."""

    run: int = 0
    total: int = 0
    first_at: float = 0.0
    run_at: float = 0.0
    last_at: float = 0.0
    first_step: int = 0
    run_step: int = 0
    last_finite: float | None = None
    last_finite_step: int = 0
    lasted: bool = False
    line: str = ""

    def add(self, at: float, step: int, value: float, text: str) -> None:
        if math.isfinite(value):
            self.run, self.last_finite, self.last_finite_step = 0, value, step
            return
        if not self.run:
            self.run_at, self.run_step = at, step
        if not self.total:
            self.first_at, self.first_step, self.line = at, step, text
        self.run += 1
        self.total += 1
        self.last_at = at
        long = self.run >= LASTING_READINGS or (self.run >= LASTING_READINGS // 2 and at - self.run_at >= LASTING_S)
        if long and not self.lasted:
            self.lasted, self.first_step = True, self.run_step

    def words(self, name: str) -> str:
        """What is to be said of the metric of this name."""
        if self.lasted and not self.run:
            return tr(
                "{name} was not finite for a while from step {step:,} on, and is finite again.",
                name=name,
                step=self.first_step,
            )
        before = (
            tr(
                "the last finite value was {value:.4g} at step {step:,}",
                value=self.last_finite,
                step=self.last_finite_step,
            )
            if self.last_finite is not None
            else tr("no finite value was seen")
        )
        if self.lasted:
            return tr(
                "{name} has not been finite since step {step:,} ({readings:,} readings); {before}.",
                name=name,
                step=self.first_step,
                readings=self.total,
                before=before,
            )
        return trn(
            "{name} was not finite once, first at step {step:,}; {before}.",
            "{name} was not finite {count:,} times, first at step {step:,}; {before}.",
            self.total,
            name=name,
            step=self.first_step,
            before=before,
        )


class NonFinite:
    """NaN and infinite values: a single one is a warning, a lasting one an alarm."""

    def __init__(self) -> None:
        self._seen: dict[str, _Finite] = {}

    def see(self, at: float, step: int, metrics: Mapping[str, float], text: str) -> None:
        """Take in a reading."""
        for name, value in metrics.items():
            if not _NO_MEASURE.search(name):
                self._seen.setdefault(name, _Finite()).add(at, step, value, text)

    def alarms(self) -> Iterator[Alarm]:
        """One alarm a metric."""
        for name, seen in self._seen.items():
            if not seen.total:
                continue
            yield Alarm(
                f"{name} not finite", seen.words(name), seen.first_at, seen.last_at, seen.total, seen.line,
                level="alarm" if seen.lasted and seen.run else "warning", advice=tr(_NOT_FINITE if seen.lasted else _ONCE_NOT_FINITE),
            )  # fmt: skip


_NOT_FINITE: Final = mark(
    "Stop it: nothing is learned any more (unless the bar shows a running mean, which one NaN spoils for good). Go back to the last "
    "good checkpoint with a lower learning rate, clip gradients (1.0), use bf16 or fp32 instead of fp16, and look for NaN in "
    "the features: fsgr-tui check FILE --deep."
)
_ONCE_NOT_FINITE: Final = mark(
    "A single one is harmless where the step was skipped (mixed precision does so). Stop the run if it stays."
)


class RateZero:
    """A learning rate that is printed as zero."""

    def __init__(self) -> None:
        self._run = 0
        self._first: tuple[float, int, str, str] = (0.0, 0, "", "")
        self._last = (0.0, 0)
        self._told = False

    def see(self, at: float, step: int, metrics: Mapping[str, float], text: str) -> None:
        """Take in a reading."""
        for name, value in metrics.items():
            if not _RATE.search(name):
                continue
            if value != 0:
                self._run = 0
                continue
            if not self._run:
                self._first = (at, step, text, name)
            self._run += 1
            self._last = (at, step)
            # The first step of a warm-up and the last one of a schedule are zero by design.
            self._told |= self._run >= ZERO_RATE_READINGS or (self._run > 2 and at - self._first[0] >= LASTING_S)

    def alarms(self) -> Iterator[Alarm]:
        """At most one."""
        if not self._told:
            return
        at, step, text, name = self._first
        yield Alarm(
            "learning rate zero",
            tr("{name} has been 0 from step {first:,} to step {last:,}: nothing is learned.", name=name, first=step, last=self._last[1]),
            at, self._last[0], max(self._run, 1), text,
            advice=tr(
                "Print it with more digits first (0.000000 may be 4e-7). Then look at the schedule: a warm-up that is never stepped, "
                "a lambda that multiplies by an integer division, a base rate of 0 in the flags."
            ),
        )  # fmt: skip


class StuckAtVocabulary:
    """A training loss that stays at ln(vocabulary): every word is as likely as any other."""

    def __init__(self, vocabulary: int | None = None) -> None:
        self._vocabulary = vocabulary
        self._values: deque[float] = deque(maxlen=1000)
        self._first: tuple[float, int, str, str] = (0.0, 0, "", "")
        self._last = (0.0, 0)
        self._alarm: Alarm | None = None

    def see(self, at: float, step: int, metrics: Mapping[str, float], text: str) -> None:
        """Take in a reading."""
        name = next((each for each in metrics if is_loss(each) and not is_held_out(each)), None)
        if name is None:
            return
        value = metrics[name]
        low, high = math.log(VOCABULARIES[0]), math.log(VOCABULARIES[1])
        level = fmean(self._values) if self._values else value
        if not low <= value <= high or abs(value - level) > PLATEAU_SPREAD * level or (self._values and step < self._last[1]):  # fmt: skip
            self._values.clear()
        if not low <= value <= high:
            return
        if not self._values:
            self._first = (at, step, text, name)
        self._values.append(value)
        self._last = (at, step)
        if len(self._values) >= PLATEAU_READINGS and step - self._first[1] >= PLATEAU_STEPS:
            self._tell()

    def alarms(self) -> Iterator[Alarm]:
        """At most one."""
        if self._alarm is not None:
            yield self._alarm

    def _tell(self) -> None:
        at, step, text, name = self._first
        level, (last_at, last_step) = fmean(self._values), self._last
        known = self._vocabulary
        if known is not None and abs(level - math.log(known)) > PLATEAU_SPREAD * level:
            return
        words = (
            tr("ln({known:,}), the vocabulary", known=known)
            if known
            else tr("ln({size:,.0f}), as for a vocabulary of that size", size=math.exp(level))
        )
        self._alarm = Alarm(
            "loss stuck",
            tr(
                "{name} has stayed at {level:.3f} for {steps:,} steps; that is {words}: the model guesses every word alike.",
                name=name, level=level, steps=last_step - step, words=words,
            ),
            at, last_at, len(self._values), text,
            advice=tr(
                "Look whether gradients reach the decoder (learning rate 0, frozen parameters, an optimizer over other parameters), "
                "whether the features are real ones (fsgr-tui check), and whether captions and images belong together."
            ),
        )  # fmt: skip
