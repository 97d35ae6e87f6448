"""Following a job's output: a million lines, one line of 5 MB of redraws, half a gigabyte of them; and what sampling costs."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fsgr_tui.core import jsontext
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.job import JobSpec, JobStatus
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.jobs.progress.thin import Thinner
from fsgr_tui.jobs.usage import NoGpu, Sampler
from fsgr_tui.jobs.watch import SAMPLE_S, Watch
from tests.bench.memory import _memory_mb
from tests.bench.table import Row, Table

if TYPE_CHECKING:
    from tests.bench.__main__ import Bench

LOOK_S = 0.2
LINES, LINES_S = 1_000_000, 60.0
REDRAW_BYTES, REDRAW_S = 5_000_000, 30.0
FLOOD_BYTES = 500_000_000
SHARE, GROWTH_MB, STORED_MB = 0.05, 50.0, 20.0

_LINE = re.compile(r"(?P<name>loss|lr|step|epoch)\W+(?P<value>[\d.]+)", re.IGNORECASE)

FEED_LINES = """
import sys, time
count, seconds = int(sys.argv[2]), float(sys.argv[3])
with open(sys.argv[1], "ab", 0) as log:
    each, began, done = max(1, count // int(seconds * 20)), time.monotonic(), 0
    while done < count:
        log.write(b"".join(b"step %d loss %.4f lr 0.0001 some more words of a line\\n" % (n, 2.5 + n % 7 / 10) for n in range(done, done + each)))
        done += each
        time.sleep(max(0.0, began + seconds * done / count - time.monotonic()))
"""

FEED_REDRAWS = """
import sys, time
count, seconds = int(sys.argv[2]), float(sys.argv[3])
state, n = "\\rtrain:  45%%|####6     | %d/9000000 [00:10<00:12,  4.35it/s, loss=2.31]", 0
with open(sys.argv[1], "ab", 0) as log:
    began, done = time.monotonic(), 0
    while done < count:
        body = "".join(state % k for k in range(n, n + (20 if seconds else 20000))).encode()
        n += 20 if seconds else 20000
        done += log.write(body)
        time.sleep(max(0.0, began + seconds * done / count - time.monotonic()))
"""


class Spent(NamedTuple):
    """What a follower took in a process of its own: processor seconds, wall seconds, memory added at its peak."""

    processor_s: float
    wall_s: float
    growth_mb: float

    @property
    def share(self) -> float:
        return self.processor_s / self.wall_s

    @property
    def words(self) -> str:
        return f"{self.share:.1%} of a core ({self.processor_s:.2f} s in {self.wall_s:.0f} s), {self.growth_mb:.0f} MB more"


def run(bench: Bench) -> list[Table]:
    scale = 6 if bench.quick else 1
    rows = []
    for what, feed, count, seconds in (
        (f"a log of {LINES // scale:,} lines", FEED_LINES, LINES // scale, LINES_S / scale),
        ("one line of 5 MB of redraws", FEED_REDRAWS, REDRAW_BYTES, REDRAW_S / scale),
    ):
        bench.say(f"logs: {what}")
        ours, naive = (_apart(follow, bench.folder, feed, count, seconds) for follow in (_follow, _naive))
        rows.append(_row(what, ours, naive))
    bench.say("logs: a flood of redraws")
    flood = FLOOD_BYTES // scale
    ours, naive = (_apart(follow, bench.folder, FEED_REDRAWS, flood, 0.0) for follow in (_follow, _naive))
    rows.append(
        Row(
            f"{flood / 1e6:.0f} MB of redraws at once, memory of the follower", f"{ours.growth_mb:.0f} MB more", f"{naive.growth_mb:.0f} MB more",
            naive.growth_mb / max(ours.growth_mb, 0.1), f"< {GROWTH_MB:.0f} MB", ours.growth_mb < GROWTH_MB,
        )
    )  # fmt: skip
    rows += [_stored(flood), _sampling()]
    notes = (
        "a follower looks every 0.2 s, in a process of its own; in a cell: share of a core while the log is written, and memory added at its peak",
        "the alternative keeps the incomplete line, splits what is new at newlines and carriage returns, and searches every piece with one regular expression",
        f"lines come within {LINES_S / scale:.0f} s, redraws within {REDRAW_S / scale:.0f} s",
    )
    return [Table("logs", "a job's output followed", "line by line", rows, (), notes)]


def _row(what: str, ours: Spent, naive: Spent) -> Row:
    return Row(
        what, ours.words, naive.words, naive.processor_s / ours.processor_s, f"< {SHARE:.0%}, < {GROWTH_MB:.0f} MB",
        ours.share < SHARE and ours.growth_mb < GROWTH_MB,
    )  # fmt: skip


def _stored(flood: int) -> Row:
    """What is stored of a flood that goes through the thinning."""
    state = b"\rtrain:  45%%|####6     | %d/9000000 [00:10<00:12,  4.35it/s, loss=2.31]"
    thinner, taken, kept, number = Thinner(), 0, 0, 0
    while taken < flood:
        body = b"".join(state % each for each in range(number, number + 900))
        number += 900
        taken += len(body)
        kept += len(thinner.feed(body))
    what = f"{flood / 1e6:.0f} MB of redraws, stored after thinning"
    stored = f"{kept / 1e6:.2f} MB"
    return Row(what, stored, f"{taken / 1e6:.0f} MB", taken / kept, f"< {STORED_MB:.0f} MB", kept < STORED_MB * 1e6)


def _sampling() -> Row:
    """What a sample of the process tree costs."""
    sampler = Sampler(os.getpid(), NoGpu())
    began, count = time.process_time(), 50
    for _ in range(count):
        sampler.sample()
    each = (time.process_time() - began) / count
    return Row(f"a sample of the process tree every {SAMPLE_S:.0f} s", f"{each / SAMPLE_S:.2%} of a core ({each * 1000:.1f} ms)", target="< 0.5%", met=each / SAMPLE_S < 0.005)  # fmt: skip


def _follow(folder: Path, log: Path, goes_on: Callable[[], bool]) -> None:
    """The product's own watch."""
    run = RunFolder(folder)
    status = JobStatus("bench", "running", "command", ("x",), str(folder), started=time.time())
    watch = Watch(run, gpus=NoGpu())
    while goes_on():
        status = watch.look(status)
        time.sleep(LOOK_S)
    watch.cause(status, 0)


def _naive(folder: Path, log: Path, goes_on: Callable[[], bool]) -> None:
    rest, told = "", {}
    with log.open(errors="replace", newline="") as file:
        while goes_on():
            rest += file.read()
            *lines, rest = rest.split("\n")
            for line in (*lines, rest):
                for piece in line.split("\r"):
                    for match in _LINE.finditer(piece):
                        told[match["name"]] = match["value"]
            time.sleep(LOOK_S)


def _apart(follow: Callable[..., None], folder: Path, feed: str, count: int, seconds: float) -> Spent:
    work = folder / f"{follow.__name__}-{time.monotonic_ns()}"
    work.mkdir()
    write_whole(work / "spec.json", jsontext.encode(JobSpec("bench", "command", ("x",), str(work))))
    (work / "log").touch()
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=_measured, args=(follow, work, feed, count, seconds, results))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{follow.__name__} ended with {process.exitcode}")
    (work / "log").unlink()
    spent: Spent = results.get()
    return spent


def _measured(follow: Callable[..., None], work: Path, feed: str, count: int, seconds: float, results: Any) -> None:
    feeder = subprocess.Popen([sys.executable, "-c", feed, str(work / "log"), str(count), str(seconds)])
    before = _memory_mb("VmRSS")
    began, work_s = time.monotonic(), time.process_time()
    follow(work, work / "log", lambda: feeder.poll() is None)
    wall, processor = time.monotonic() - began, time.process_time() - work_s
    results.put(Spent(processor, wall, _memory_mb("VmHWM") - before))
