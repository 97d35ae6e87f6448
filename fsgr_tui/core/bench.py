"""What a measurement of this machine is asked to do, and the arithmetic of its rates."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

import msgspec

from fsgr_tui.core.calibration import MemoryLine
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import Estimate, Unknown, format_bytes, unit_words

LEAST_SECONDS, MOST_SECONDS = 5, 3600
"""Below this no stage gets the windows that a span needs, even with a small tower; above it, it is a slip of the keyboard."""

LEAST_SPANS = 3
WINDOWS = 5
"""Windows that a rate is taken from: lowest, median and highest of them are its span."""

SHARES: dict[str, float] = {
    mark("decode with one worker"): 0.05,
    mark("decode with all workers"): 0.07,
    mark("encode"): 0.11,
    mark("extract"): 0.12,
    mark("write"): 0.05,
    mark("read"): 0.05,
    mark("train realtime"): 0.15,
    mark("train precomputed"): 0.10,
}
"""Stages in their order, with their shares of the time. What is left is for their warm-up; a step through the tower takes
longest, so it gets most."""

_SCRATCH = ".fsgr-tui-bench."


class BenchSpec(msgspec.Struct, frozen=True, kw_only=True, tag="bench"):
    """One measurement.

    Attributes:
        machine: host name and CPU (`core.calibration.machine_words`).
        host: the host's name alone, for the scratch folder's.
        cpus: CPUs that this process may use.
        images_file: list of pictures (`features.images`); empty to generate some.
        features_path: where features would go; folder: an existing folder on the same file system.
        features_mount, filesystem: its mount point and type.
        calibrations: folder that the result is kept in.
        annotation_folder: captions for the training steps; empty for synthetic ones.
        rows: rows of the temporary feature file.
        seconds: time to measure in; loading the model comes on top.
        gpu_used_bytes: memory of each GPU that was taken before, by UUID.
    """

    model: ModelChoice
    machine: str
    host: str
    cpus: int
    features_path: str
    folder: str
    calibrations: str
    rows: int
    images_file: str = ""
    features_mount: str = ""
    filesystem: str = ""
    annotation_folder: str = ""
    batch_size: int = 64
    workers: int = 2
    seconds: float = 30.0
    gpu_used_bytes: dict[str, int] = {}


class Span(msgspec.Struct, frozen=True):
    """A stretch of work: how many units in how many seconds."""

    count: float
    seconds: float


def rate_of(spans: Sequence[Span], unit: str) -> Estimate | Unknown:
    """A rate from stretches of work in their order: lowest, median and highest of up to five windows of about equal time.

    Args:
        spans: warm-up left out.
        unit: of the rate, e.g. "images/s".

    Returns:
        Unknown when there are fewer than three stretches: one or two tell no span.
    """
    if len(spans) < LEAST_SPANS:
        return Unknown(
            tr("too little time: {done} of at least {least} stretches were done", done=len(spans), least=LEAST_SPANS)
        )
    rates = [span.count / max(span.seconds, 1e-9) for span in _windows(spans)]
    return Estimate(min(rates), statistics.median(rates), max(rates), unit, "measured")


def _windows(spans: Sequence[Span]) -> list[Span]:
    """Neighbouring stretches joined to at most `WINDOWS`, none much shorter than the others."""
    wanted_s = sum(span.seconds for span in spans) / WINDOWS
    windows: list[Span] = []
    count = seconds = 0.0
    for span in spans:
        count, seconds = count + span.count, seconds + span.seconds
        # A little less counts as whole: rounding must not push a fifth of the time into the next window.
        if seconds >= 0.9 * wanted_s:
            windows.append(Span(count, seconds))
            count = seconds = 0.0
    if seconds and windows:
        last = windows.pop()
        windows.append(Span(last.count + count, last.seconds + seconds))
    return windows if len(windows) >= LEAST_SPANS else list(spans)


def fitting_batch(wanted: int, per_image_s: float, budget_s: float, fixed_s: float = 0.0) -> int:
    """The largest batch, up to the wanted one, of which `LEAST_SPANS` fit into a time.

    Args:
        per_image_s: seconds that each image of a batch takes; fixed_s: that a batch takes whatever its size.
    """
    return max(1, min(wanted, int((budget_s / LEAST_SPANS - fixed_s) / max(per_image_s, 1e-9))))


def memory_line(small_batch: int, small_bytes: int, batch: int, batch_bytes: int) -> MemoryLine | Unknown:
    """The line through the peaks of two batch sizes."""
    if small_batch >= batch:
        return Unknown(tr("a batch of 1 has no smaller one to draw a line through"))
    per_image = (batch_bytes - small_bytes) / (batch - small_batch)
    if per_image <= 0:
        return Unknown(
            tr(
                "batches of {small} and {batch} took the same memory: both are too small to tell",
                small=small_batch,
                batch=batch,
            )
        )
    return MemoryLine(max(0, round(batch_bytes - batch * per_image)), round(per_image))


def speed_up(realtime: Estimate | Unknown, precomputed: Estimate | Unknown) -> Estimate | Unknown:
    """How many times as many caption pairs a second precomputed training takes in."""
    if isinstance(realtime, Unknown):
        return realtime
    if isinstance(precomputed, Unknown):
        return precomputed
    return Estimate(
        precomputed.low / realtime.high,
        precomputed.likely / realtime.likely,
        precomputed.high / realtime.low,
        "x",
        "measured",
    )


def rate_words(value: float, unit: str) -> str:
    """A rate for a person: `1,300 images/s`, `4.2 images/s`, `512 MB/s`."""
    if unit == "bytes/s":
        return f"{format_bytes(value)}/s"
    number = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{number} {unit_words(unit)}"


def scratch_name(host: str, pid: int) -> str:
    """The name of a measurement's scratch folder: it tells whose it is, so that what a kill left can be deleted."""
    return f"{_SCRATCH}{re.sub(r'[^A-Za-z0-9.-]', '_', host)}.{pid}"


def scratch_pid(name: str, host: str) -> int | None:
    """The process that a scratch folder of this host belongs to; None for any other name."""
    before, _, pid = name.rpartition(".")
    ours = pid.isdigit() and f"{before}.{pid}" == scratch_name(host, int(pid))
    return int(pid) if ours else None
