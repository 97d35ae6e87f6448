"""The runner: `python -m fsgr_tui.jobs.runner RUNDIR`. It wraps one command and outlives every terminal.

It is started in a session of its own, holds the run folder's lock while it lives, folds the child's events into
`status.json`, and passes stop signals on: the first gently, the second firmly, to the child's whole process group.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import msgspec

from fsgr_tui.core.event import EVENTS_VARIABLE
from fsgr_tui.core.job import Cause, JobSpec, JobState, JobStatus
from fsgr_tui.jobs.folder import RunFolder, process_start
from fsgr_tui.jobs.watch import Watch

POLL_S = 0.2
WRITE_S = 0.5
HEARTBEAT_S = 10.0


class Runner:
    """Runs one job to its end."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._spec: JobSpec = run.read_spec()
        self._status = run.read_status()
        self._watch = Watch(run)
        self._child: subprocess.Popen[bytes] | None = None
        self._signals = 0
        self._written_at = 0.0

    def run(self) -> int:
        """Run the job; returns its exit code."""
        lock = self._take_lock()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._pass_on)
        # A hang-up is for those who sit at a terminal; this process has none.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._change(state="running", started=time.time())
        try:
            code = self._run_child()
        finally:
            os.close(lock)
        return code

    def _take_lock(self) -> int:
        fd = os.open(self._run.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()} {process_start(os.getpid())}\n".encode(), 0)
        return fd

    def _run_child(self) -> int:
        environment = {
            # Waiting threads of a PyTorch child would spin; beside another busy program that costs it most of its
            # speed (16 to 23 times slower on two shared cores). What the user has set counts more.
            "OMP_WAIT_POLICY": "PASSIVE",
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8:backslashreplace",
            EVENTS_VARIABLE: str(self._run.events),
            **self._spec.env,
        }
        with self._run.log.open("ab") as log:
            try:
                self._child = subprocess.Popen(
                    self._spec.argv,
                    cwd=self._spec.cwd,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                cause = Cause(
                    "not started",
                    f"{self._spec.argv[0]} cannot be started: {error.strerror}.",
                    advice="Look at the path.",
                )
                self._change(state="failed", exit_code=127, ended=time.time(), cause=cause)
                return 127
            while self._child.poll() is None:
                time.sleep(POLL_S)
                self._follow()
        return self._end(self._child.returncode)

    def _follow(self) -> None:
        before = self._status
        self._status = self._watch.look(self._status)
        now = time.monotonic()
        due = WRITE_S if self._status is not before else HEARTBEAT_S
        if now - self._written_at >= due or (self._status is not before and self._written_at == 0.0):
            self._write()

    def _end(self, code: int) -> int:
        self._follow()
        exit_code = 128 - code if code < 0 else code
        cause = self._watch.cause(self._status, code)
        self._change(state=self._final_state(exit_code), exit_code=exit_code, ended=time.time(), cause=cause)
        return exit_code

    def _final_state(self, exit_code: int) -> JobState:
        if exit_code == 0 or (exit_code == 1 and self._watch.has_result):
            return "done"
        if self._signals or exit_code in (130, 143):
            return "stopped"
        return "failed"

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._child is None or self._child.poll() is not None:
            return
        wanted = number if self._signals == 1 else signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            if self._signals == 1:
                # Gently, to the child alone: it tells its own workers, which a signal of their own would tear down.
                self._child.send_signal(wanted)
                self._status = msgspec.structs.replace(self._status, state="stopping")
            else:
                os.killpg(self._child.pid, wanted)

    def _change(self, **changes: object) -> None:
        self._status = msgspec.structs.replace(self._status, **changes)
        self._write()

    def _write(self) -> None:
        self._written_at = time.monotonic()
        try:
            self._run.write_status(self._status)
        except OSError as error:
            # The job matters more than its report: a full disk under the run folder does not end it.
            print(f"status not written: {error}", file=sys.stderr)  # noqa: T201 - the runner's own log


def main(argv: list[str]) -> int:
    """Run the job of a folder."""
    return Runner(RunFolder(Path(argv[0]))).run()


def first_status(spec: JobSpec, run: RunFolder) -> JobStatus:
    """The status of a job that has not begun."""
    return JobStatus(spec.name, "queued", spec.kind, spec.shown or spec.argv, str(run.folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
