"""All rules over one job together: fed with what is seen, asked for the alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from fsgr_tui.core.job import Alarm, JobProgress, Usage
from fsgr_tui.jobs.diagnosis.line_rules import LineAlarms
from fsgr_tui.jobs.diagnosis.machine_rules import DiskFills, GpuIdle, Silent, Slower
from fsgr_tui.jobs.diagnosis.metric_rules import NonFinite, RateZero, StuckAtVocabulary
from fsgr_tui.jobs.diagnosis.score_rules import ValidationGap, ZeroScore
from fsgr_tui.jobs.diagnosis.signals import Signals

MetricRule = NonFinite | RateZero | StuckAtVocabulary | ValidationGap | ZeroScore


class Alarms:
    """The rules of one job; times are Unix seconds.

    Args:
        argv: the job's command.
        cpus: processors that the job may use.
        place: the folder whose disk the job fills.
    """

    def __init__(self, argv: Sequence[str], cpus: int, place: str) -> None:
        self.signals = Signals()
        self._lines = LineAlarms(self.signals)
        self._metrics: tuple[MetricRule, ...] = _metric_rules()
        self._earlier: dict[str, Alarm] = {}
        self._slower = Slower()
        self._idle = GpuIdle(argv, cpus)
        self._silent = Silent()
        self._disk = DiskFills(place)

    def lines(self, at: float, lines: Sequence[str], first: int) -> None:
        """Finished lines of the log; `first` is the number of the first of them."""
        self.signals.see(lines, first)
        self._lines.see(at)

    def metrics(self, at: float, step: int, values: Mapping[str, float], text: str) -> None:
        """Metrics at a step; `text` is what they were read from."""
        for rule in self._metrics:
            rule.see(at, step, values, text)

    def new_run(self) -> None:
        """The log goes on with another run: what was told stays, what was counted does not."""
        self._earlier = self._of_metrics()
        self._metrics = _metric_rules()

    def progress(self, at: float, progress: JobProgress) -> None:
        """How far the job is."""
        self._slower.see(at, progress)

    def usage(self, usage: Usage, *, moves: bool) -> None:
        """What the job takes; `moves` says whether its counter does."""
        self._idle.see(usage, moves=moves)

    def disk(self, at: float, free_bytes: int, left_s: float | None) -> None:
        """Free space, and the seconds to the job's end where they are known."""
        self._disk.see(at, free_bytes, left_s)

    def silence(self, at: float, last_sign: float, last_line: str, cpu_percent: float | None) -> None:
        """When the job was last heard of."""
        self._silent.see(at, last_sign, last_line, cpu_percent)

    def told(self) -> tuple[Alarm, ...]:
        """All alarms so far, the gravest first, then the oldest."""
        found = [
            *self._of_metrics().values(),
            *self._lines.alarms(),
            *(alarm for rule in (self._slower, self._idle, self._silent, self._disk) for alarm in rule.alarms()),
        ]
        return tuple(sorted(found, key=lambda alarm: (alarm.level != "alarm", alarm.first, alarm.kind)))

    def _of_metrics(self) -> dict[str, Alarm]:
        """The alarms about numbers by their kind: what came up in several runs is one alarm."""
        found = dict(self._earlier)
        for alarm in (each for rule in self._metrics for each in rule.alarms()):
            before = found.get(alarm.kind)
            found[alarm.kind] = alarm if before is None else _folded(before, alarm)
        return found


def _folded(before: Alarm, now: Alarm) -> Alarm:
    """Two alarms of one kind as one: the later one's words, both times and counts, the graver level."""
    return msgspec.structs.replace(
        now,
        first=before.first,
        count=before.count + now.count,
        level="alarm" if "alarm" in (before.level, now.level) else "warning",
    )


def _metric_rules() -> tuple[MetricRule, ...]:
    return NonFinite(), RateZero(), StuckAtVocabulary(), ValidationGap(), ZeroScore()
