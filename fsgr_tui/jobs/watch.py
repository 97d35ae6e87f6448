"""What a running job shows of itself, folded into its status: the runner asks a few times a second.

Events of the product's own children come first. Of other programs the log is read as a terminal would show it, and
their TensorBoard files. Beside both, the process tree is sampled, and the rules of `jobs.diagnosis` look at everything.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from fsgr_tui.core.event import EventReader, Metric, Phase, Progress, Result
from fsgr_tui.core.job import UNFORESEEN, Cause, JobStatus, after_event
from fsgr_tui.core.language import tr
from fsgr_tui.jobs.diagnosis import causes, oom
from fsgr_tui.jobs.diagnosis.alarms import Alarms
from fsgr_tui.jobs.diagnosis.causes import Evidence
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.jobs.notify import Notifier
from fsgr_tui.jobs.progress.follow import LogFollower
from fsgr_tui.jobs.progress.tensorboard import EventFiles
from fsgr_tui.jobs.series import Series
from fsgr_tui.jobs.usage import GpuMeter, Sampler

SAMPLE_S: Final = 5.0
TENSORBOARD_S: Final = 5.0
DISK_S: Final = 30.0
METRICS_KEPT: Final = 60
PATH_CHARS: Final = 1000

_LOG_FOLDERS = (
    "runs",
    "logs",
    "log",
    "tensorboard",
    "tensorboard_logs",
    "tb_logs",
    "lightning_logs",
    "output",
    "outputs",
)


class Watch:
    """Follows one job from its start.

    Args:
        gpus: asked for what the job takes of the GPUs; NVML by default.
        notifier: tells the user; the command of FSGR_TUI_NOTIFY by default.

    Attributes:
        has_result: whether the job told a result.
    """

    def __init__(self, run: RunFolder, *, gpus: GpuMeter | None = None, notifier: Notifier | None = None) -> None:
        self._spec = run.read_spec()
        self._events = EventReader(run.events)
        self._log = LogFollower(run.log)
        self._scalars = EventFiles(_log_folders(self._spec.argv, Path(self._spec.cwd)), time.time())
        self._sampler = Sampler(os.getpid(), gpus)
        self._samples = Series(run.samples)
        self._readings = Series(run.series)
        self._alarms = Alarms(self._spec.argv, len(os.sched_getaffinity(0)), self._spec.cwd)
        self._notifier = notifier or Notifier()
        self._notified: dict[str, str] = {}
        self._oom = oom.read()
        self._by_events = False
        self._run_number = 1
        self._heard = time.time()
        self._moved = (0, "")
        self._due: dict[str, float] = {}
        self.has_result = False

    def look(self, status: JobStatus) -> JobStatus:
        """The status with all that is new; the same object when nothing is."""
        now = time.time()
        seen = self._hear_events(status)
        seen = self._read_log(seen, now)
        if self._is_due("scalars", TENSORBOARD_S) and not self._by_events:
            seen = self._read_scalars(seen, now)
        self._alarms.progress(now, seen.progress)
        if self._is_due("sample", SAMPLE_S):
            seen = self._sample(seen)
        if self._is_due("disk", DISK_S):
            self._look_at_disk(seen, now)
        processor = seen.usage.last.cpu_percent if seen.usage else None
        self._alarms.silence(now, self._heard, seen.last_line, processor)
        seen = msgspec.structs.replace(seen, alarms=self._alarms.told())
        self._notify(seen)
        return seen if seen != status else status

    def cause(self, status: JobStatus, return_code: int) -> Cause | None:
        """Why the job ended badly, from all that was seen; None when it did not.

        Args:
            return_code: as `subprocess` gives it: negative for a signal.
        """
        now = time.time()
        for _ in iter(lambda: self._take_log(now), False):
            pass
        if status.cause is not None:
            return _refined(status.cause)
        if return_code == 0 or (return_code == 1 and self.has_result):
            return None
        kills = oom.read().since(self._oom)
        peak = self._sampler.seen.peak.memory_bytes if self._sampler.seen else None
        return causes.diagnose(
            Evidence(return_code, self._alarms.signals, self._log.live, kills.group or 0, kills.host, peak)
        )

    def ended(self, status: JobStatus) -> None:
        """Tell the user that the job has ended; waits for the user's command, until its deadline."""
        text = status.cause.text if status.cause else tr("{name} is {state}", name=status.name, state=tr(status.state))
        self._notifier.send(status.state, status.name, text, _document(status))
        self._notifier.finish()
        self._log.close()
        self._scalars.close()

    def _hear_events(self, status: JobStatus) -> JobStatus:
        for event in self._events.new():
            self._heard = time.time()
            self.has_result |= isinstance(event, Result)
            self._by_events |= isinstance(event, (Phase, Progress))
            status = after_event(status, event)
            if isinstance(event, Metric):
                values = {name: math.nan if value is None else value for name, value in event.values.items()}
                self._alarms.metrics(
                    event.at, event.step, values, tr("step {step:,}: {values}", step=event.step, values=_words(values))
                )
        return status

    def _read_log(self, status: JobStatus, now: float) -> JobStatus:
        metrics: dict[str, float] = {}
        if not self._take_log(now, metrics):
            # A counter that stands still has a falling rate, too.
            return self._with_progress(status, now)
        status = msgspec.structs.replace(status, last_line=self._log.last_line)
        return self._with_metrics(self._with_progress(status, now), metrics)

    def _with_progress(self, status: JobStatus, now: float) -> JobStatus:
        if self._by_events or not self._log.tracker.told:
            return status
        return msgspec.structs.replace(status, progress=self._log.progress(now))

    def _take_log(self, now: float, metrics: dict[str, float] | None = None) -> bool:
        """Read what is new; whether there was anything. The newest metrics are put into `metrics`."""
        anything = False
        kept = []
        for piece in self._log.new(now):
            anything = True
            self._alarms.lines(now, piece.lines, piece.first)
            if self._log.tracker.run != self._run_number:
                self._run_number = self._log.tracker.run
                self._alarms.new_run()
            if self._by_events:
                continue
            for reading in piece.readings:
                self._alarms.metrics(now, reading.step, reading.metrics, reading.text)
                kept.append(self._kept(now, reading.step, reading.metrics, "log"))
                if metrics is not None:
                    metrics.update(reading.metrics)
        if anything:
            self._heard = now
        self._readings.add(*kept)
        return anything

    def _read_scalars(self, status: JobStatus, now: float) -> JobStatus:
        metrics: dict[str, float] = {}
        kept = []
        for scalar in self._scalars.new():
            self._heard = now
            metrics[scalar.tag] = scalar.value
            self._alarms.metrics(scalar.at, scalar.step, {scalar.tag: scalar.value}, tr("TensorBoard: {tag} at step {step:,}", tag=scalar.tag, step=scalar.step))  # fmt: skip
            kept.append(self._kept(scalar.at, scalar.step, {scalar.tag: scalar.value}, "tensorboard"))
        self._readings.add(*kept)
        return self._with_metrics(status, metrics)

    def _kept(self, at: float, step: int, values: Mapping[str, float], source: str) -> dict[str, object]:
        return {"at": at, "step": step, "run": self._run_number, "source": source, "values": _finite(values)}

    def _with_metrics(self, status: JobStatus, metrics: Mapping[str, float]) -> JobStatus:
        if not metrics:
            return status
        known = {**status.metrics, **_finite(metrics)}
        # A program that prints names without end (one a class, say) does not swell the status.
        return msgspec.structs.replace(status, metrics=dict(list(known.items())[:METRICS_KEPT]))

    def _sample(self, status: JobStatus) -> JobStatus:
        usage = self._sampler.sample()
        if usage is None:
            return status
        place = (status.progress.step, status.progress.phase)
        self._alarms.usage(usage.last, moves=place != self._moved)
        self._moved = place
        rate, step = status.progress.rate, status.progress.step
        self._samples.add({**msgspec.to_builtins(usage.last), "rate": rate, "unit": status.progress.unit, "step": step})
        return msgspec.structs.replace(status, usage=usage)

    def _look_at_disk(self, status: JobStatus, now: float) -> None:
        try:
            space = os.statvfs(self._spec.cwd)
        except OSError:
            return
        left = status.progress.whole_eta_s if status.progress.whole_eta_s is not None else status.progress.eta_s
        self._alarms.disk(now, space.f_bavail * space.f_frsize, left)

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every_s
        return True

    def _notify(self, status: JobStatus) -> None:
        self._notifier.poll()
        for alarm in status.alarms:
            # Once when it comes up, and once more when a warning becomes an alarm.
            if self._notified.get(alarm.kind) not in (alarm.level, "alarm"):
                self._notified[alarm.kind] = alarm.level
                self._notifier.send(alarm.level, status.name, alarm.text, {"alarm": alarm, **_document(status)})


def _document(status: JobStatus) -> dict[str, Any]:
    return {"folder": status.folder, "command": status.command, "exit_code": status.exit_code, "cause": status.cause,
            "alarms": [alarm.text for alarm in status.alarms]}  # fmt: skip


def _refined(cause: Cause) -> Cause:
    """An unforeseen fault of an own child, named where a rule knows it."""
    if cause.kind != UNFORESEEN:
        return cause
    known = causes.of_fault(cause.text)
    return msgspec.structs.replace(known, line=cause.text) if known is not None else cause


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _words(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in values.items())


def _log_folders(argv: tuple[str, ...], cwd: Path) -> list[Path]:
    """Where a job's TensorBoard files may be: the usual folders in its working folder, and those that its command names."""
    usual = [cwd / name for name in _LOG_FOLDERS]
    words = [word.rpartition("=")[2] for word in argv if "=" in word or not word.startswith("-")]
    named = [cwd / os.path.normpath(word) for word in words if word and len(word) < PATH_CHARS]
    # Not the working folder itself, nor what it lies in: both may hold anything.
    return [folder for folder in dict.fromkeys((*usual, *named)) if folder not in (cwd, *cwd.parents)]
