"""How far a foreign program is, from the bars and lines that it prints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from fsgr_tui.core.job import JobProgress
from fsgr_tui.jobs.progress import bars, lines
from fsgr_tui.jobs.progress.bars import Bar
from fsgr_tui.jobs.progress.rate import RecentRate

_EPOCH_LABEL = re.compile(r"\bepochs?\b\D{0,3}(?P<now>\d+)(?:\s*(?:/|of)\s*(?P<all>\d+))?", re.IGNORECASE)
_EPOCH_BAR = re.compile(r"^(?:training )?epochs?$", re.IGNORECASE)
BAR_S: Final = 60.0
"""So long after a bar's last word, lines do not take its place as the progress."""

_BACK: Final = 2
"""An epoch that goes back by less is another way of counting (from 0 and from 1), not another run."""


class Reading(NamedTuple):
    """Metrics at a step, as printed; values may be NaN or infinite.

    Attributes:
        step: the program's own count where it tells one, else how many readings there were.
    """

    step: int
    metrics: dict[str, float]
    text: str


class Tracker:
    """Folds what a program prints into progress and metrics.

    Attributes:
        run: which run the log is at, from 1; several may have been appended to one another.
        told: whether anything was understood so far.
    """

    def __init__(self) -> None:
        self.run = 1
        self.told = False
        self._rate = RecentRate()
        self._epoch: int | None = None
        self._epochs: int | None = None
        self._phase = ""
        self._step = 0
        self._total: int | None = None
        self._unit = ""
        self._label = ""
        self._bar_at = 0.0
        self._readings = 0
        self._shown = ("", 0, "")
        self._line_step: int | None = None

    def see(self, states: Iterable[str], finished: Iterable[str], live: Sequence[str], at: float) -> list[Reading]:
        """Take in what redrawn rows showed, lines that were finished, and the rows as they are now.

        Returns:
            The metrics among them, in order; what is repeated unchanged by a bar is left out.
        """
        rows = [bar for row in live if (bar := bars.parse(row)) is not None]
        unfinished = [bar for bar in rows if not bar.complete]
        # Of nested bars the innermost sets the pace.
        pace = (unfinished or rows)[-1] if rows else None
        found = []
        for row in states:
            if (bar := bars.parse(row)) is not None:
                found += self._bar(bar, at, sets_pace=pace is None or bar.label == pace.label)
        for line in finished:
            found += self.line(line, at)
        for bar in rows:
            found += self._bar(bar, at, sets_pace=bar is pace)
        return found

    def line(self, text: str, at: float) -> list[Reading]:
        """Take in a finished line."""
        bar = bars.parse(text)
        if bar is not None:
            found = self._bar(bar, at, sets_pace=True)
            return found + (self.line(bar.rest, at) if bar.rest else [])
        told = lines.parse(text)
        return self._line(told, text, at) if told is not None else []

    def progress(self, now: float) -> JobProgress:
        """How far the program is."""
        rate = self._rate.value(now)
        left = max(0, self._total - self._step) / rate if rate and self._total is not None else None
        return JobProgress(
            phase=self._phase, step=self._step, total=self._total, rate=rate, unit=self._unit, eta_s=left,
            epoch=self._epoch, epochs=self._epochs, whole_eta_s=self._whole(rate, left),
        )  # fmt: skip

    def _whole(self, rate: float | None, left: float | None) -> float | None:
        if rate is None or left is None or self._epoch is None or self._epochs is None or not self._total:
            return None
        if self._unit == "epochs":
            return left
        return left + max(0, self._epochs - self._epoch) * self._total / rate

    def _bar(self, bar: Bar, at: float, *, sets_pace: bool) -> list[Reading]:
        self.told = True
        counts_epochs = bool(_EPOCH_BAR.match(bar.label)) and bar.total is not None
        named = _EPOCH_LABEL.search(bar.label)
        if counts_epochs:
            self._at_epoch(min(bar.step + 1, bar.total or 0), bar.total)
        elif named:
            self._at_epoch(int(named["now"]), int(named["all"]) if named["all"] else None)
        if sets_pace:
            if (bar.label, bar.total) != (self._label, self._total) or bar.step < self._step:
                self._rate.restart()
            self._label, self._bar_at = bar.label, at
            self._phase = bar.label or self._phase_of_epoch() or "running"
            self._step, self._total = bar.step, bar.total
            self._unit = "epochs" if counts_epochs else bar.unit
            self._rate.add(bar.step, at)
        # A bar shows the same numbers again and again.
        shown = (bar.label, bar.step, repr(bar.metrics))
        if not bar.metrics or shown == self._shown:
            return []
        self._shown = shown
        return [Reading(bar.step, bar.metrics, _words(bar.label, bar.step, bar.metrics))]

    def _line(self, told: lines.Told, text: str, at: float) -> list[Reading]:
        self.told = True
        if told.epoch is not None:
            self._at_epoch(int(told.epoch), told.epochs)
        barred = bool(self._bar_at) and at - self._bar_at < BAR_S
        if told.step is not None:
            # Where epochs are counted, steps begin anew in each of them.
            if self._epoch is None and self._line_step is not None and told.step < self._line_step and told.step <= 1:
                self._new_run()
            if not barred:
                self._counts(told, at)
            self._line_step = told.step
        elif not barred and told.epoch is not None:
            self._phase = self._phase_of_epoch()
            if self._line_step is None:
                self._step, self._total, self._unit = int(told.epoch), self._epochs, "epochs"
                self._rate.add(self._step, at)
        if not told.metrics:
            return []
        self._readings += 1
        step = told.step if told.step is not None else self._step if barred else self._readings
        return [Reading(step, dict(told.metrics), text.strip())]

    def _counts(self, told: lines.Told, at: float) -> None:
        assert told.step is not None
        if self._unit != "steps" or told.step < self._step or told.total != self._total:
            self._rate.restart()
        self._phase = self._phase_of_epoch() or "running"
        self._step, self._total, self._unit = told.step, told.total, "steps"
        self._rate.add(told.step, at)

    def _phase_of_epoch(self) -> str:
        if self._epoch is None:
            return self._phase
        return f"epoch {self._epoch} of {self._epochs}" if self._epochs else f"epoch {self._epoch}"

    def _at_epoch(self, epoch: int, epochs: int | None) -> None:
        if self._epoch is not None and epoch <= self._epoch - _BACK:
            self._new_run()
        self._epoch = epoch
        self._epochs = epochs if epochs is not None else self._epochs

    def _new_run(self) -> None:
        self.run += 1
        self._rate.restart()
        self._epoch = self._epochs = self._line_step = None
        self._readings, self._label, self._shown = 0, "", ("", 0, "")


def _words(label: str, step: int, metrics: dict[str, float]) -> str:
    return f"{label or 'bar'} at {step:,}: " + ", ".join(f"{name}={number:g}" for name, number in metrics.items())
