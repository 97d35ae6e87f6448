"""The processes of a job: all that its command started, also what has left its session or lost its parent.

Three ways lead to a process: it was started by one that is known (the kernel hands orphans to the runner while it
lives), it carries the job's mark in its environment, or it was noted in the run folder while the runner lived. A
process that carries another job's mark is that job's, with all below it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fsgr_tui.jobs.processes import Process, below, mark, send, table

Known = tuple[int, str]
"""A process by pid and start."""


class _Look(NamedTuple):
    """All processes and their marks at one moment."""

    at: float
    processes: dict[int, Process]
    marks: dict[int, str]


_last = _Look(float("-inf"), {}, {})


def _look(kept_s: float) -> _Look:
    """A look at all processes, or the last one when it is young enough: 50 jobs are asked about in a row."""
    global _last  # noqa: PLW0603 - a cache that every caller may share
    if time.monotonic() - _last.at > kept_s:
        processes = table()
        _last = _Look(time.monotonic(), processes, {pid: found for pid in processes if (found := mark(pid))})
    return _last


def members(own: str, known: Iterable[Known] = (), root: int | None = None, kept_s: float = 0.0) -> list[Process]:
    """The living processes of a job.

    Args:
        own: the job's mark; empty when it has none.
        known: processes that were its own when they were noted.
        root: the runner, which is none of them.
        kept_s: how old the look at all processes may be.
    """
    _, processes, marks = _look(kept_s)
    strange = {pid for pid, found in marks.items() if found != own}
    roots = {pid for pid, start in known if pid in processes and processes[pid].start == start} - strange
    roots |= {pid for pid, found in marks.items() if own and found == own}
    found = {pid: processes[pid] for pid in roots}
    for start in (*roots, *([root] if root is not None else [])):
        found |= {process.pid: process for process in below(start, processes, strange)}
    found.pop(os.getpid(), None)
    return list(found.values())


def signal_all(processes: Iterable[Process], number: int) -> None:
    """Send a signal to each; those that have ended or belong to another user are passed over."""
    for process in processes:
        with contextlib.suppress(PermissionError):
            send(process.pid, process.start, number)


def read_noted(path: Path) -> list[Known]:
    """The processes that a runner noted."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    parts = (line.split() for line in lines)
    return [(int(part[0]), part[1]) for part in parts if len(part) == 2 and part[0].isdecimal()]


def noted(processes: Iterable[Process]) -> bytes:
    """The text that `read_noted` reads."""
    return "".join(f"{process.pid} {process.start}\n" for process in processes).encode()
