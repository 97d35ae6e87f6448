"""Starting and stopping jobs. A face that starts a job may die at once; the job does not notice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.job import JobSpec, JobStatus
from fsgr_tui.jobs.folder import RunFolder, runner_pid, write_whole
from fsgr_tui.jobs.runner import first_status

GENTLE_S = 60.0


def start(
    run: RunFolder, kind: str, argv: Sequence[str], shown: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> None:
    """Start a command as the job of a run folder, and return at once.

    Args:
        argv: the program and its arguments.
        shown: the command line as a user would type it.
        env: variables set on top of this process's own.
    """
    spec = JobSpec(
        name=run.name,
        kind=kind,
        argv=tuple(argv),
        cwd=str(Path.cwd()),
        env=dict(env or {}),
        shown=tuple(shown),
        created=time.time(),
    )
    write_whole(run.spec, jsontext.encode(spec))
    run.write_status(first_status(spec, run))
    with (run.folder / "runner.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "fsgr_tui.jobs.runner", str(run.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            # Nothing of the face (its sockets, the terminal) may keep living in the runner.
            close_fds=True,
        )


def ask_to_stop(run: RunFolder, number: int = signal.SIGTERM) -> None:
    """Send a job's runner one stop signal: the first is gentle, the second ends the whole process group.

    Args:
        number: SIGTERM or SIGINT; the job's exit code is 143 or 130 accordingly.

    Raises:
        BadRequest: the job does not run.
    """
    pid = runner_pid(run)
    # A runner that has written its last status lives for another moment.
    if pid is None or run.read_status().ended_for_good:
        raise BadRequest(f"{run.name} does not run.", "`fsgr-tui jobs` shows how it stands.")
    os.kill(pid, number)


def stop(run: RunFolder, gentle_s: float = GENTLE_S) -> JobStatus:
    """Stop a job: gently, then firmly; returns when it has ended.

    Raises:
        BadRequest: the job does not run.
    """
    ask_to_stop(run)
    if not _ends_within(run, gentle_s):
        ask_to_stop(run)
        _ends_within(run, 10.0)
    return run.read_status()


def _ends_within(run: RunFolder, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if run.read_status().ended_for_good:
            return True
        time.sleep(0.1)
    return False
