"""Jobs for tests: started, waited for, and always ended."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.job import JobStatus
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, all_runs, new_run
from fsgr_tui.jobs.processes import find


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
