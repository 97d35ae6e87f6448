"""What a job came to: collected from its run folder, for one page that can be attached to an e-mail."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from fsgr_tui import __version__
from fsgr_tui.core.event import EventReader, Metric, Progress
from fsgr_tui.core.event_words import unit_words
from fsgr_tui.core.job import JobSpec, JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.jobs.progress.screen import Screen
from fsgr_tui.jobs.series import read
from fsgr_tui.service.curves import Chart, Curve, Point, thinned

REPORT_SCHEMA: Final = "fsgr-tui/report/1"
CHARTS: Final = 16
CURVES: Final = 4
LEAST_SAMPLES: Final = 2
SECONDS_UP_TO_S: Final = 180.0
TAIL_BYTES: Final = 1 << 16
TAIL_LINES: Final = 30
_LINE_CHARS: Final = 300


class JobReport(msgspec.Struct, frozen=True):
    """One job, as a page tells it.

    Attributes:
        made: Unix time of this report.
        runs: how many runs the log holds, one appended to the other; curves are those of the last.
        tail: the log's last lines, as a terminal would show them.
    """

    status: JobStatus
    spec: JobSpec
    charts: tuple[Chart, ...]
    runs: int
    tail: tuple[str, ...]
    made: float
    version: str = __version__
    schema: str = REPORT_SCHEMA

    @property
    def duration_s(self) -> float | None:
        """How long it ran, or has run so far."""
        if self.status.started is None:
            return None
        return (self.status.ended if self.status.ended is not None else self.made) - self.status.started


def collect(run: RunFolder) -> JobReport:
    """Everything about a job that a page shows.

    Raises:
        BadRequest: the run folder has no spec or status.
    """
    status, spec = run.read_status(), run.read_spec()
    readings = read(run.series)
    runs = max((reading["run"] for reading in readings if isinstance(reading.get("run"), int)), default=1)
    metrics = _metrics(reading for reading in readings if reading.get("run", 1) == runs)
    rates: list[Point] = []
    started = status.started or spec.created
    for event in EventReader(run.events).new():
        if isinstance(event, Metric):
            for name, value in event.values.items():
                metrics.setdefault(name, []).append((event.step, value))
        elif isinstance(event, Progress) and event.rate is not None:
            rates.append((event.at, event.rate))
    charts = [
        *_metric_charts(metrics),
        *_machine_charts(read(run.samples), rates, started, status.progress.unit),
    ]
    return JobReport(status, spec, tuple(charts[:CHARTS]), runs, _tail(run.log), time.time())


def _metrics(readings: Iterable[Mapping[str, Any]]) -> dict[str, list[Point]]:
    """Points by metric; steps that begin anew in every epoch count on, so that curves go to the right."""
    found: dict[str, list[Point]] = {}
    last: dict[object, int] = {}
    shift: dict[object, int] = {}
    for reading in readings:
        step, values, source = reading.get("step"), reading.get("values"), str(reading.get("source"))
        if not isinstance(step, int) or not isinstance(values, dict):
            continue
        if step < last.get(source, step):
            shift[source] = shift.get(source, 0) + last[source]
        last[source] = step
        for name, value in values.items():
            if value is None or isinstance(value, (int, float)):
                found.setdefault(name, []).append((step + shift.get(source, 0), value))
    return found


def _metric_charts(metrics: Mapping[str, list[Point]]) -> list[Chart]:
    """Losses share their axes, as do the BLEU scores; every other metric has a chart of its own."""
    told = {name: thinned(points) for name, points in metrics.items() if len(points) > 1}
    charts = []
    for title, word in (("loss", "loss"), ("BLEU", "bleu")):
        names = [name for name in told if word in name.lower()][:CURVES]
        if names:
            charts.append(Chart(title, "step", tuple(Curve(name, told.pop(name)) for name in names)))
    return charts + [Chart(name, "step", (Curve(name, points),)) for name, points in told.items()]


def _machine_charts(samples: list[dict[str, Any]], rates: list[Point], started: float, unit: str) -> list[Chart]:
    last = max((sample["at"] for sample in samples if isinstance(sample.get("at"), (int, float))), default=started)
    name, unit_s = ("second", 1.0) if last - started < SECONDS_UP_TO_S else ("minute", 60.0)

    def points(what: str) -> tuple[Point, ...]:
        return thinned([
            ((sample["at"] - started) / unit_s, sample[what])
            for sample in samples
            if isinstance(sample.get("at"), (int, float)) and isinstance(sample.get(what), (int, float))
        ])  # fmt: skip

    told = thinned([((at - started) / unit_s, rate) for at, rate in rates])
    found = [
        Chart(tr("{unit} per second", unit=unit_words(unit) or tr("units")), name, (Curve(tr("rate"), told or points("rate")),)),
        Chart(tr("processors (100 % is one core)"), name, (Curve("CPU", points("cpu_percent")),), "percent"),
        Chart("GPU", name, (Curve("GPU", points("gpu_percent")),), "percent"),
        Chart(tr("memory"), name, (Curve(tr("host"), points("memory_bytes")), Curve("GPU", points("gpu_memory_bytes"))), "bytes"),
        Chart(tr("disk, each second"), name, (Curve(tr("read"), points("read_bytes_s")), Curve(tr("written"), points("write_bytes_s"))), "bytes"),
    ]  # fmt: skip
    kept = []
    for chart in found:
        curves = tuple(curve for curve in chart.curves if len(curve.values) > LEAST_SAMPLES and any(curve.values))
        if curves:
            kept.append(msgspec.structs.replace(chart, curves=curves, from_zero=True))
    return kept


def _tail(log: Path) -> tuple[str, ...]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            body = file.read(TAIL_BYTES)
    except OSError:
        return ()
    screen = Screen()
    lines = [*screen.feed(body).lines, *screen.finish().lines]
    if size > TAIL_BYTES:
        # Its beginning was cut off.
        lines = lines[1:]
    return tuple(line[:_LINE_CHARS] for line in lines if line.strip())[-TAIL_LINES:]
