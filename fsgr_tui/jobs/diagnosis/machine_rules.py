"""What goes wrong around a job: speed, an idle GPU, silence, a disk that fills. Pure objects, fed with time and readings."""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import Final

from fsgr_tui.core.event_words import phase_words, unit_words
from fsgr_tui.core.job import Alarm, JobProgress, Usage
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import Unknown, format_bytes, format_duration

SAMPLE_S: Final = 5.0
WINDOW: Final = 24
"""Samples in two minutes."""

SLOWER: Final = 0.5
IDLE_PERCENT: Final = 30.0
SILENT_S: Final = 600.0
DISK_SAMPLE_S: Final = 30.0
DISK_LEAST_S: Final = 300.0
DISK_SOON_S: Final = 2 * 3600.0
DISK_LEAST_BYTES: Final = 10**9
_WORKERS = re.compile(r"^--?(?:num[_-])?workers(?:=(\d+))?$")
_DIGITS = re.compile(r"\d+")


class Slower:
    """Throughput that fell to less than half of what it was at the start of the same kind of work."""

    def __init__(self) -> None:
        self._work = ""
        self._first: list[float] = []
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._at = -math.inf
        self._alarm: Alarm | None = None
        self._slow = False

    def see(self, at: float, progress: JobProgress) -> None:
        """Take in where the job is."""
        if progress.rate is None or at - self._at < SAMPLE_S:
            return
        self._at = at
        work = _DIGITS.sub("#", progress.phase) + progress.unit
        if work != self._work:
            self._work, self._first, self._slow = work, [], False
            self._recent.clear()
        if len(self._first) < WINDOW:
            self._first.append(progress.rate)
            return
        self._recent.append(progress.rate)
        if len(self._recent) < WINDOW:
            return
        before, now = median(self._first), median(self._recent)
        if before > 0 and now < SLOWER * before:
            count = 1 if self._alarm is None else self._alarm.count + (0 if self._slow else 1)
            first = self._alarm.first if self._alarm is not None else at
            self._slow = True
            self._alarm = Alarm(
                "slower",
                tr("The rate fell from {before:.3g} to {now:.3g} {unit}/s.", before=before, now=now, unit=unit_words(progress.unit)),
                first, at, count,
                tr("{phase} at {step:,}", phase=phase_words(progress.phase), step=progress.step), level="warning",
                advice=tr(
                    "Look at what else runs on this machine (fsgr-tui doctor, nvidia-smi, top), whether the GPU throttles for heat, and "
                    "whether the data left the page cache. A rate that falls from epoch to epoch is often a list or a graph that grows."
                ),
            )  # fmt: skip
        elif now > 0.7 * before:
            self._slow = False

    def alarms(self) -> Iterator[Alarm]:
        """At most one."""
        if self._alarm is not None:
            yield self._alarm


class GpuIdle:
    """A GPU that waits for data, while the job moves.

    Args:
        argv: the job's command, in which a number of workers may stand.
        cpus: how many the job may use.
    """

    def __init__(self, argv: Sequence[str], cpus: int) -> None:
        self._workers = workers_of(argv)
        self._cpus = cpus
        self._busy: deque[float] = deque(maxlen=WINDOW)
        self._processor: deque[float] = deque(maxlen=WINDOW)
        self._alarm: Alarm | None = None
        self._idle = False

    def see(self, usage: Usage, *, moves: bool) -> None:
        """Take in a sample; `moves` says whether the job's counter does."""
        if isinstance(usage.gpu_percent, Unknown) or isinstance(usage.gpu_memory_bytes, Unknown) or not moves:
            return
        if not usage.gpu_memory_bytes:
            return
        self._busy.append(usage.gpu_percent)
        self._processor.append(usage.cpu_percent)
        if len(self._busy) < WINDOW:
            return
        busy = fmean(self._busy)
        if busy >= IDLE_PERCENT:
            self._idle = False
            return
        processor = fmean(self._processor)
        at, before = usage.at, self._alarm
        self._alarm = Alarm(
            "GPU idle",
            tr(
                "The GPU was busy only {busy:.0f} % of the last two minutes; the job's processes used {used:.1f} of {cpus} processors.",
                busy=busy, used=processor / 100, cpus=self._cpus,
            ),
            before.first if before else at, at, (before.count + (0 if self._idle else 1)) if before else 1,
            f"GPU {busy:.0f} %, CPU {processor:.0f} %", level="warning", advice=self._advice(busy, processor),
        )  # fmt: skip
        self._idle = True

    def alarms(self) -> Iterator[Alarm]:
        """At most one."""
        if self._alarm is not None:
            yield self._alarm

    def _advice(self, busy: float, processor: float) -> str:
        most = max(1, self._cpus - 1)
        if processor >= 85 * self._cpus:
            return tr(
                "All processors are busy: decoding limits it. Precomputed features leave decoding out (fsgr-tui plan); more workers do not help."
            )
        if self._workers is None:
            return tr(
                "The loader is too slow: try --workers {most}, with pinned memory and persistent workers.", most=most
            )
        if self._workers < most:
            wanted = min(most, max(self._workers + 1, math.ceil(max(1, self._workers) * 70 / max(busy, 5))))
            return tr(
                "The loader is too slow with {workers} workers: try {wanted}.", workers=self._workers, wanted=wanted
            )
        return tr(
            "{workers} workers are enough for {cpus} processors: look at the disk (cold reads, a network share), or use precomputed features.",
            workers=self._workers,
            cpus=self._cpus,
        )


def workers_of(argv: Sequence[str]) -> int | None:
    """The number of loader workers in a command; None when it names none."""
    for at, word in enumerate(argv):
        match = _WORKERS.match(word)
        value = (match[1] or (argv[at + 1] if at + 1 < len(argv) else "")) if match else ""
        if value.isdecimal():
            return int(value)
    return None


class Silent:
    """No sign of the job for minutes."""

    def __init__(self, silent_s: float = SILENT_S) -> None:
        self._silent_s = silent_s
        self._count = 0
        self._first = self._last = 0.0
        self._since: float | None = None
        self._text = ""
        self._line = ""

    def see(self, at: float, last_sign: float, last_line: str, cpu_percent: float | None) -> None:
        """Take in when the job last printed or told something."""
        silence_s = at - last_sign
        if silence_s < self._silent_s:
            if self._since is not None:
                self._since = None
                self._text = tr("It was silent for {time} and went on.", time=format_duration(self._last - self._first))
            return
        if self._since is None:
            self._count += 1
            self._since = last_sign
            self._first = self._first or at
        self._last, self._line = at, last_line
        self._text = (
            tr("Nothing was printed or told for {time}.", time=format_duration(silence_s))
            if cpu_percent is None
            else tr(
                "Nothing was printed or told for {time}; its processes use {percent:.0f} % of a processor.",
                time=format_duration(silence_s),
                percent=cpu_percent,
            )
        )

    def alarms(self) -> Iterator[Alarm]:
        """At most one."""
        if self._count:
            yield Alarm(
                "silent", self._text, self._first, self._last, self._count, self._line, level="warning",
                advice=tr(
                    "Without processor use it hangs (a lock, a dead loader worker, a network share that is gone): `py-spy dump --pid PID` "
                    "shows where. With it, it may be scoring or saving."
                ),
            )  # fmt: skip


class DiskFills:
    """A disk that will be full before the job's end."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._seen: deque[tuple[float, int]] = deque(maxlen=40)
        self._alarm: Alarm | None = None

    def see(self, at: float, free_bytes: int, left_s: float | None) -> None:
        """Take in the free space, and how long the job will go on as far as that is known."""
        if self._seen and at - self._seen[-1][0] < DISK_SAMPLE_S:
            return
        if self._seen and free_bytes > self._seen[-1][1] + DISK_LEAST_BYTES:
            # Somebody made room; the past says nothing any more.
            self._seen.clear()
        self._seen.append((at, free_bytes))
        first_at, first_free = self._seen[0]
        span_s, lost = at - first_at, first_free - free_bytes
        full_s = free_bytes / (lost / span_s) if lost > 0 and span_s >= DISK_LEAST_S else None
        if full_s is not None and full_s < (left_s if left_s is not None else DISK_SOON_S):
            self._tell(at, self._words(at, full_s, left_s, free_bytes, lost / span_s * 60))
        elif free_bytes < DISK_LEAST_BYTES:
            self._tell(at, tr("{place} has only {free} free.", place=self._place, free=format_bytes(free_bytes)))

    def alarms(self) -> Iterator[Alarm]:
        """At most one."""
        if self._alarm is not None:
            yield self._alarm

    def _words(self, at: float, full_s: float, left_s: float | None, free_bytes: int, lost_a_minute: float) -> str:
        values = {
            "place": self._place,
            "time": format_duration(full_s),
            # The user's own clock: a time to be home by.
            "clock": time.strftime("%H:%M", time.localtime(at + full_s)),
            "free": format_bytes(free_bytes),
            "lost": format_bytes(lost_a_minute),
        }
        if left_s is None:
            return tr("{place} will be full in {time}, about {clock}: {free} free, {lost} less every minute.", **values)
        return tr(
            "{place} will be full in {time}, about {clock}, before the job's end (in {end}): {free} free, {lost} less every minute.",
            end=format_duration(left_s),
            **values,
        )

    def _tell(self, at: float, text: str) -> None:
        before = self._alarm
        self._alarm = Alarm(
            "disk fills", text, before.first if before else at, at, before.count + 1 if before else 1, "",
            advice=tr(
                "Delete old checkpoints and features, keep fewer checkpoints, or stop and write elsewhere: a full disk ends the job, and can cut "
                "the checkpoint that it is writing."
            ),
        )  # fmt: skip
