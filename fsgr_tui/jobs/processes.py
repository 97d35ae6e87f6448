"""Processes of this host, read from /proc: who they are, who started them, and which of them belong to a job.

A pid alone proves nothing, since the kernel gives it to another process in time: a process is its pid and its start.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

JOB_VARIABLE = "FSGR_TUI_JOB"
"""Marks the processes of a job: "NAME:TOKEN", inherited by everything that they start."""


class Process(NamedTuple):
    """One process.

    Attributes:
        start: clock ticks since boot, as the kernel counts.
        state: the kernel's letter, e.g. R, S, D (waits for a disk), Z (has ended).
    """

    pid: int
    parent: int
    session: int
    start: str
    state: str


def find(pid: int) -> Process | None:
    """The process of a pid; None when there is none, or only what is left of one that has ended."""
    found = _read(str(pid))
    return found if found is not None and found.state not in "ZX" else None


def process_start(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty when there is none."""
    found = _read(str(pid))
    return found.start if found else ""


def table() -> dict[int, Process]:
    """All living processes that can be seen from here."""
    with os.scandir("/proc") as entries:
        found = (_read(entry.name) for entry in entries if entry.name.isdecimal())
        return {process.pid: process for process in found if process is not None and process.state not in "ZX"}


def below(root: int, processes: dict[int, Process], pruned: Collection[int] = ()) -> Iterator[Process]:
    """All that a process started, and what those started; what is pruned is left out with all below it."""
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child.pid not in pruned:
                yield child
                waiting.append(child.pid)


def mark(pid: int) -> str:
    """The job that a process belongs to by its environment; empty for none, or for a process of somebody else."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    prefix = f"{JOB_VARIABLE}=".encode()
    found = next((entry for entry in environment.split(b"\0") if entry.startswith(prefix)), b"")
    return os.fsdecode(found[len(prefix) :])


def send(pid: int, start: str, number: int) -> bool:
    """Send a signal to exactly this process.

    Returns:
        False when it has ended, whoever has its pid now.

    Raises:
        PermissionError: it belongs to another user.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except (AttributeError, OSError):
        # A kernel before 5.3, or a Python built for one, has no handles on processes: a moment lies between the look
        # and the signal.
        if process_start(pid) != start:
            return False
        os.kill(pid, number)
        return True
    try:
        if process_start(pid) != start:
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def _read(name: str) -> Process | None:
    try:
        text = Path(f"/proc/{name}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name in parentheses and may hold anything, so count from behind it.
    fields = text.rpartition(")")[2].split()
    return Process(int(name), int(fields[1]), int(fields[3]), fields[19], fields[0])
