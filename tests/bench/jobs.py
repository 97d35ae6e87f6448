"""Jobs: killed at random moments, listed by the dozen, followed through large logs, on a full disk, and at rest."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from fsgr_tui.core import jsontext
from fsgr_tui.core.job import JobSpec, JobStatus
from fsgr_tui.core.units import format_bytes
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RUNS_VARIABLE, RunFolder, runner_pid
from tests.bench.table import Row, Table, counted, skipped
from tests.fakes.jobs import end_all, ended, faults_after_kill, started, wait_for

if TYPE_CHECKING:
    from tests.bench.__main__ import Bench

LISTED = 50
LIST_S = 0.3
FOLLOW_SHARE = 0.05
LOG_LINES = 1_000_000
LONG_LINE_BYTES = 5_000_000
REST_SHARE = 0.02
TICKS = os.sysconf("SC_CLK_TCK")


def run(bench: Bench) -> list[Table]:
    """All tables of jobs."""
    before = os.environ.get(RUNS_VARIABLE)
    try:
        return [_kills(bench), _listed(bench), _followed(bench), _at_rest(bench), _full_disk(bench)]
    finally:
        if before is None:
            os.environ.pop(RUNS_VARIABLE, None)
        else:
            os.environ[RUNS_VARIABLE] = before


def _place(bench: Bench, name: str) -> Path:
    """Run folders of their own for one table."""
    place = bench.folder / name
    place.mkdir(parents=True)
    os.environ[RUNS_VARIABLE] = str(place)
    return place


def _kills(bench: Bench) -> Table:
    place = _place(bench, "kills")
    points = 20 if bench.quick else 200
    chance = random.Random(0)
    # From the first moment of a runner to some time after its job's end.
    delays = [chance.uniform(0.0, 1.2) for _ in range(points)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda each: faults_after_kill(f"kill-{each[0]}", each[1]), enumerate(delays)))
    states = Counter(_last_state(place / f"kill-{number}") for number in range(points))
    faults = [fault for faults in found for fault in faults]
    rows = [
        counted("kill points", len(found), points),
        counted("faults found afterwards", len(faults), 0),
        Row("interrupted, then resumed to the end", str(states["resumed"])),
        Row("ended before the kill", str(states["done"])),
    ]
    notes = (
        "status whole at every look, true afterwards, nothing left behind, resumed to the end",
        *dict.fromkeys(faults),
    )
    return Table("jobs", f"SIGKILL of the runner at {points} random moments", "-", rows, notes=notes)


def _last_state(folder: Path) -> str:
    return "resumed" if (folder / "attempt-1").exists() else RunFolder(folder).read_status().state


def _listed(bench: Bench) -> Table:
    place = _place(bench, "listed")
    for number in range(LISTED):
        run_folder = RunFolder(place / f"extract-{number:02d}")
        run_folder.folder.mkdir()
        run_folder.spec.write_bytes(jsontext.encode(JobSpec(run_folder.name, "extract", ("true",), "/")))
        state = "running" if number % 2 else "done"
        run_folder.write_status(
            JobStatus(run_folder.name, state, "extract", ("true",), str(run_folder.folder), started=time.time())
        )
    rows = []
    bare = min(_seconds(sys.executable, "-c", "import click, msgspec") for _ in range(5))
    for words in (("jobs", "--all"), ("jobs", "--all", "--json")):
        took = min(_seconds(sys.executable, "-m", "fsgr_tui", *words) for _ in range(5))
        rows.append(
            Row(
                f"fsgr-tui {' '.join(words)}",
                f"{took:.3f} s",
                f"{bare:.3f} s",
                bare / took,
                f"< {LIST_S} s",
                took < LIST_S,
            )
        )
    notes = ("half of the jobs lost their runner, so that their processes are looked for",)
    return Table("jobs", f"{LISTED} jobs listed, best of 5", "Python with click and msgspec", rows, notes=notes)


def _seconds(*argv: str) -> float:
    began = time.monotonic()
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def _followed(bench: Bench) -> Table:
    _place(bench, "followed")
    seconds = 4 if bench.quick else 15
    rows = []
    for name, body in (
        (f"{LOG_LINES:,} lines", b"epoch 1 step 123456 loss 2.3141\n" * LOG_LINES),
        (f"a line of {LONG_LINE_BYTES:,} bytes", b"\r 50%|#####     | 5/10 [00:01<00:01]" * (LONG_LINE_BYTES // 36)),
    ):
        run_folder = started("import time; time.sleep(600)")
        assert wait_for(lambda run_folder=run_folder: run_folder.read_status().state == "running")
        run_folder.log.write_bytes(body)
        share, peak = _follow(run_folder, seconds)
        rows.append(
            Row(
                f"logs -f -n 100, {name}", f"{share:.1%} of a core", target=f"< {FOLLOW_SHARE:.0%}", met=share < FOLLOW_SHARE,
                more=(format_bytes(peak),),
            )
        )  # fmt: skip
        control.stop(run_folder, 0)
    notes = (
        f"{seconds} s, while 100 lines and 100 steps of a bar are printed each second; start of the program included",
    )
    return Table("jobs", "logs followed", "-", rows, further=("most memory",), notes=notes)


def _follow(run_folder: RunFolder, seconds: float) -> tuple[float, int]:
    """Share of a core and most memory of `logs -f` while the log grows."""
    follower = subprocess.Popen(
        [sys.executable, "-m", "fsgr_tui", "logs", "-f", "-n", "100", run_folder.name], stdout=subprocess.DEVNULL
    )
    until = time.monotonic() + seconds
    with run_folder.log.open("ab") as log:
        while time.monotonic() < until:
            log.write(b"a line\n" * 10 + b"\r 51%|#####" * 10)
            log.flush()
            time.sleep(0.1)
    used, peak = _cpu_s(follower.pid), _peak_bytes(follower.pid)
    follower.kill()
    follower.wait()
    return used / seconds, peak


def _at_rest(bench: Bench) -> Table:
    _place(bench, "rest")
    seconds = 4 if bench.quick else 15
    working = started("import time; time.sleep(600)", "working")
    waiting = started("print(1)", "waiting", needs=["working"])
    assert wait_for(lambda: runner_pid(working) is not None and waiting.read_status().note != "")
    time.sleep(1)
    rows = []
    for what, pid in (
        ("runner of a job that works", runner_pid(working)),
        ("runner of a job that waits", runner_pid(waiting)),
    ):
        assert pid is not None
        before = _cpu_s(pid)
        time.sleep(seconds)
        share = (_cpu_s(pid) - before) / seconds
        rows.append(
            Row(
                what,
                f"{share:.1%} of a core",
                target=f"< {REST_SHARE:.0%}",
                met=share < REST_SHARE,
                more=(format_bytes(_peak_bytes(pid)),),
            )
        )
    end_all()
    return Table("jobs", f"at rest, over {seconds} s", "-", rows, further=("most memory",))


def _full_disk(bench: Bench) -> Table:
    title = "the run folder's disk is full for 3 s while a job works and prints"
    place = _place(bench, "full")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "fsgr-bench", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        return skipped("jobs", title, f"mounting a small tmpfs is not allowed here ({mounted.stderr.strip()})")
    try:
        return Table("jobs", title, "-", _on_full_disk(place))
    finally:
        end_all()
        subprocess.run(["umount", "-l", str(place)], check=False)


def _on_full_disk(place: Path) -> list[Row]:
    code = "import time\nfor i in range(500): print(f'{i:99d}', flush=True); time.sleep(0.01)"
    job = started(code)
    assert wait_for(lambda: job.log.stat().st_size > 2000)
    filler = threading.Thread(target=_fill, args=(place / "filler",))
    filler.start()
    time.sleep(3)
    (place / "filler").unlink()
    filler.join()
    status = ended(job, 60)
    whole = b"".join(b"%99d\n" % number for number in range(500))
    return [
        counted("exit code", status.exit_code if status.exit_code is not None else -1, 0),
        Row(
            "output lost",
            f"{len(whole) - len(job.log.read_bytes()):,} B",
            target="0 B",
            met=job.log.read_bytes() == whole,
        ),
        Row("what the job says of it", " ".join(status.notices)[:160], target="said", met=bool(status.notices)),
    ]


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            try:
                file.write(b"x" * 64)
            except OSError:
                time.sleep(0.01)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
