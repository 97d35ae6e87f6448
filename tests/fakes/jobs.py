"""Jobs for tests: started, waited for, and always ended."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.job import JobStatus
from fsgr_tui.jobs import control, life
from fsgr_tui.jobs.folder import RunFolder, all_runs, new_run
from fsgr_tui.jobs.processes import find, send


def wait_for(condition, seconds=20.0):
    """Whether a condition comes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def started(code: str, name: str = "", **options) -> RunFolder:
    """A job that runs Python code."""
    return started_argv(sys.executable, "-c", code, name=name, **options)


def started_argv(*argv: str, name: str = "", **options) -> RunFolder:
    """A job that runs a command."""
    run = new_run("command", name)
    control.start(run, "command", argv, **options)
    return run


def printed(run: RunFolder, text: str, seconds: float = 20.0) -> str:
    """The log, once the text is in it."""
    assert wait_for(lambda: run.log.exists() and text.encode() in run.log.read_bytes(), seconds), run.log.read_bytes()
    return run.log.read_text(errors="replace")


def ended(run: RunFolder, seconds: float = 20.0) -> JobStatus:
    """The last status."""
    assert wait_for(lambda: run.read_status().ended_for_good, seconds), run.read_status()
    return run.read_status()


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    return find(pid) is None


def end_all() -> None:
    """End every job of a test, so that none outlives it."""
    for run in all_runs():
        try:
            control.stop(run, 0)
        except Problem:
            continue


def fake_gpus(folder: Path, *gpus: dict) -> tuple[str, ...]:
    """A command that prints a report with these GPUs, in place of the driver; memory in GiB."""
    from fsgr_tui.core import jsontext
    from fsgr_tui.core.machine import Gpu, GpuReport

    units = tuple(
        Gpu(
            index=each["index"],
            uuid=f"GPU-{each['index']:04d}-aaaa",
            name="Tesla V100",
            memory_total_bytes=16 << 30,
            memory_free_bytes=round(each.get("free", 15.5) * (1 << 30)),
            memory_used_bytes=0,
            utilisation=0,
        )
        for each in gpus
    )
    path = folder / "gpus.json"
    path.write_bytes(
        jsontext.encode(
            GpuReport("ok", units, "550.1") if units else GpuReport("no_driver", message="no NVIDIA driver here")
        )
    )
    return ("cat", str(path))


TELLING = (
    "import sys, time\n"
    "from fsgr_tui.core.event import EventWriter\n"
    "w = EventWriter(); w.phase('work', 20)\n"
    "for i in range(20): w.progress(i, 20); print(i, flush=True); time.sleep(0.01)\n"
    "open(sys.argv[1], 'w').write('whole')\n"
    "w.result('work', {'good': True})\n"
)
"""A child that tells and prints, and leaves a file when it has done all."""


def faults_after_kill(name: str, delay_s: float) -> list[str]:
    """Kill a job's runner some time after its start; returns what is not as it has to be afterwards.

    The status has to be a whole document at every moment, and true: done only with all work done, and never running
    when nothing of the job lives.
    """
    run = new_run("command", name)
    made = run.folder / "made"
    control.start(run, "command", (sys.executable, "-c", TELLING, str(made)))
    until = time.monotonic() + delay_s
    faults = []
    while time.monotonic() < until:
        faults += _unwhole(run, "before the kill")
        time.sleep(0.005)
    holder = life.holder_of(run.lock)
    if holder is not None:
        send(holder.pid, holder.start, signal.SIGKILL)
        if not wait_for(lambda: life.prove(run.lock).life == "gone", 5):
            faults.append("the lock of a killed runner is still held")
    faults += _unwhole(run, "after the kill")
    if not wait_for(lambda: run.read_status().ended_for_good, 20):
        faults.append(f"{run.read_status().state} although nothing of it can live")
    return faults + _untrue(run, made) + _not_resumed(run)


def _untrue(run: RunFolder, made: Path) -> list[str]:
    status = run.read_status()
    faults = []
    if status.state not in ("done", "interrupted"):
        faults.append(f"the state is {status.state}")
    if status.state == "done" and not made.exists():
        faults.append("done, and the work is not")
    if left := run.survivors(status):
        faults.append(f"{len(left)} processes were left behind")
    return faults


def _not_resumed(run: RunFolder) -> list[str]:
    if run.read_status().state != "interrupted":
        return []
    control.resume(run, run.read_spec(), run.read_status())
    faults = []
    if not wait_for(lambda: run.read_status().state == "done", 30):
        faults.append(f"resumed, it became {run.read_status().state}")
    if list(run.folder.glob(".*.tmp")):
        faults.append("a draft was left behind")
    return faults


def _unwhole(run: RunFolder, when: str) -> list[str]:
    try:
        run.recorded_status()
    except Problem as problem:
        return [f"{when}: {problem.what}"]
    return []
