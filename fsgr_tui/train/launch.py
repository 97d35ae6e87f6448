"""Starts the processes of a run that trains on several devices, and ends them together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import EXIT_OK
from fsgr_tui.core.event import EVENTS_VARIABLE, EventReader, EventWriter, Fault

_LOOK_S = 0.1
_GRACE_S = 5.0
"""Between the end of one process and a firm end of the others: they may be about to tell the same fault."""


def launch(spec: Path, processes: int, events: EventWriter, stopper: Stopper) -> int:
    """Train in several processes.

    The first one tells events; of the others only the fault that ended the run is told.

    Args:
        spec: the file of the run's spec.
        processes: how many.
        events: where a fault of another process than the first is told.
        stopper: a wish to stop is passed on.

    Returns:
        The exit code: of the first process that failed, else of the first process.
    """
    with tempfile.TemporaryDirectory(prefix=".ranks-", dir=spec.parent) as room:
        told = [Path(room) / f"events{rank}" for rank in range(processes)]
        children = [_start(spec, rank, Path(room) / "meet", told[rank]) for rank in range(processes)]
        try:
            failed = _wait(children, stopper)
        finally:
            for child in children:
                if child.poll() is None:
                    child.kill()
                child.wait()
        if failed:
            for event in EventReader(told[failed]).new():
                if isinstance(event, Fault):
                    events.write(event)
        return children[failed].returncode if children[failed].returncode >= 0 else 128 - children[failed].returncode


def _start(spec: Path, rank: int, meet: Path, told: Path) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "fsgr_tui.train", str(spec), "--rank", str(rank), "--store", str(meet)]
    own = {} if rank == 0 else {EVENTS_VARIABLE: str(told)}
    return subprocess.Popen(argv, env={**os.environ, **own}, stdin=subprocess.DEVNULL)


def _wait(children: list[subprocess.Popen[bytes]], stopper: Stopper) -> int:
    """Wait for all; the number of the one that failed first, else 0."""
    passed_on, failed, until = False, None, float("inf")
    while any(child.poll() is None for child in children):
        if stopper() and not passed_on:
            passed_on = True
            for child in children:
                child.send_signal(stopper.signal or signal.SIGTERM)
        codes = [child.poll() for child in children]
        if failed is None:
            failed = next((rank for rank, code in enumerate(codes) if code not in (None, EXIT_OK)), None)
            if failed is not None and not passed_on:
                # The others wait for it in vain.
                until = time.monotonic() + _GRACE_S
        if time.monotonic() > until:
            return failed or 0
        time.sleep(_LOOK_S)
    codes = [child.returncode for child in children]
    return next((rank for rank, code in enumerate(codes) if code != EXIT_OK), 0) if failed is None else failed
