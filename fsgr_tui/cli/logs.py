"""`fsgr-tui logs`: what a job printed."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import click

from fsgr_tui.jobs.folder import find_run

_TAIL_BYTES = 1 << 16
_POLL_S = 0.3


@click.command("logs", help="Show a job's log. JOB is a name, the beginning of one, or `last`.")
@click.argument("job", default="last")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.option("-n", "--lines", type=click.IntRange(0), default=None, help="Only the last lines.")
@click.option("--events", is_flag=True, help="The events (JSON lines) instead of the log.")
def command(job: str, follow: bool, lines: int | None, events: bool) -> int:
    """Copy the log to standard output, byte by byte."""
    run = find_run(job)
    path = run.events if events else run.log
    offset = _copy(path, _start_of_tail(path, lines) if lines is not None else 0)
    while follow:
        ended = run.read_status().ended_for_good
        offset = _copy(path, offset)
        if ended:
            break
        time.sleep(_POLL_S)
    return 0


def _copy(path: Path, offset: int) -> int:
    """Copy what lies behind the offset; returns the new one. A log that became shorter is shown from its start."""
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) < offset:
                offset = 0
            file.seek(offset)
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return file.tell()
    except FileNotFoundError:
        return 0


def _start_of_tail(path: Path, lines: int) -> int:
    """Where the last lines begin, looking at the file's end only."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = max(0, size - max(_TAIL_BYTES, 512 * lines))
            file.seek(start)
            tail = file.read()
    except FileNotFoundError:
        return 0
    wanted = b"".join(tail.splitlines(keepends=True)[-lines:]) if lines else b""
    return size - len(wanted)
