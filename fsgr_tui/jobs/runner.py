"""The runner: `python -m fsgr_tui.jobs.runner RUNDIR [LOCK]`. It wraps one command and outlives every terminal.

It is started in a session of its own, holds the run folder's lock while it lives (LOCK: the descriptor that it
inherits, so that there is no moment between), waits until the job may begin, folds what the job tells into
`status.json`, and ends the job's processes when it is told to: the first stop is gentle, a later one firm.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

from fsgr_tui.core.errors import EXIT_BAD_REQUEST, EXIT_MACHINE_CANNOT
from fsgr_tui.core.event import EVENTS_VARIABLE
from fsgr_tui.core.job import Cause, JobState, JobStatus, Waiting
from fsgr_tui.core.language import tr
from fsgr_tui.jobs import life, pump, tree
from fsgr_tui.jobs.folder import STEP_VARIABLE, RunFolder, mark_of
from fsgr_tui.jobs.processes import JOB_VARIABLE, Process, process_start
from fsgr_tui.jobs.record import Record, Watching
from fsgr_tui.jobs.waiting import NotBegun, Ready, Waiter

POLL_S = 0.1
SAME_STOP_S = 1.0
"""A second stop within this time is the same wish: two people, or a key pressed twice."""

FIRM = signal.SIGUSR1
"""Ends the job's processes at once."""

REST_S = 10.0
"""How long processes that outlive the command may take to end by themselves; a stopped job's get STOPPED_REST_S."""

STOPPED_REST_S = 60.0
LAST_OUTPUT_S = 2.0
_REFUSAL_BYTES = 8192

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2): orphans below this process become its children, not init's


class Runner:
    """Runs one job to its end."""

    def __init__(self, run: RunFolder, lock: int | None = None) -> None:
        self._run = run
        self._spec = run.read_spec()
        self._lock = life.take(run.lock) if lock is None else lock
        os.set_inheritable(self._lock, False)
        life.sign(self._lock, os.getpid())
        self._record = Record(run, run.recorded_status(), lambda: life.beat(self._lock))
        self._child: subprocess.Popen[bytes] | None = None
        self._pump: subprocess.Popen[bytes] | None = None
        self._asked: int | None = None
        self._asked_at = 0.0
        self._passed_on = False
        self._firm = False

    def run(self) -> int:
        """Run the job; returns its exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, FIRM):
            signal.signal(number, self._take)
        # A hang-up is for those who sit at a terminal; this process has none.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _adopt_orphans()
        for draft in self._run.folder.glob(".*.tmp"):
            draft.unlink(missing_ok=True)
        self._record.change(host=life.this_host().name)
        self._record.start()
        try:
            return self._work()
        finally:
            os.close(self._lock)

    def _work(self) -> int:
        environment = self._environment()
        waiter = Waiter(self._run, self._say_waiting, lambda: self._asked is not None or self._firm)
        ready = waiter.wait(environment)
        if isinstance(ready, Ready):
            code = self._run_child(ready, environment)
            for lock in ready.locks:
                os.close(lock)
            return code
        if isinstance(ready, NotBegun):
            return self._end_without_child(ready)
        cause = Cause("stopped", tr("Stopped before it began."))
        return self._end_without_child(NotBegun("stopped", 128 + (self._asked or signal.SIGTERM), cause))

    def _say_waiting(self, what: Waiting, note: str) -> None:
        self._record.change(waiting=what, note=note)

    def _environment(self) -> dict[str, str]:
        return {
            # Waiting threads of a PyTorch child would spin; beside another busy program that costs it most of its
            # speed (16 to 23 times slower on two shared cores). What the user has set counts more.
            "OMP_WAIT_POLICY": "PASSIVE",
            **os.environ,
            **self._spec.environment,
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8:backslashreplace",
            EVENTS_VARIABLE: str(self._run.events),
            JOB_VARIABLE: mark_of(self._spec),
            **({STEP_VARIABLE: str(self._run.folder)} if self._spec.step else {}),
            **self._spec.env,
        }

    def _run_child(self, ready: Ready, environment: dict[str, str]) -> int:
        if ready.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(ready.gpus)
        output = self._start_pump(ready)
        try:
            self._child = subprocess.Popen(
                self._spec.argv,
                cwd=self._spec.cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return self._end_without_child(NotBegun("failed", 127, self._not_started(error)))
        finally:
            os.close(output)
        child = self._child
        self._record.change(
            state="running",
            started=time.time(),
            waiting="",
            note="",
            gpus=ready.gpus,
            child_pid=child.pid,
            child_start=process_start(child.pid),
        )
        # Only now: a job that waits needs none of what reads a job's output.
        from fsgr_tui.jobs.watch import Watch

        watch = Watch(self._run)
        self._record.follow(watch, self._members)
        while child.poll() is None:
            time.sleep(POLL_S)
            self._pass_on()
            self._hear_pump()
            self._bury()
        self._end_rest()
        self._end_output()
        status = self._record.end(lambda status: self._final(status, watch, child.returncode), lambda: self._firm)
        try:
            watch.ended(status)
        except Exception:  # noqa: BLE001 - the job has ended, whatever the user's command for its end came to
            traceback.print_exc()
        return status.exit_code if status.exit_code is not None else EXIT_MACHINE_CANNOT

    def _start_pump(self, ready: Ready) -> int:
        """Start what carries the output into the log; returns the descriptor for the child to write to."""
        source, output = os.pipe()
        self._pump = subprocess.Popen(
            [sys.executable, "-I", "-S", pump.__file__, str(self._run.log)],
            stdin=source,
            stdout=subprocess.PIPE,
            start_new_session=True,
            pass_fds=ready.locks,
        )
        os.close(source)
        assert self._pump.stdout is not None
        os.set_blocking(self._pump.stdout.fileno(), False)
        return output

    def _not_started(self, error: OSError | ValueError) -> Cause:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "filename", None) == self._spec.cwd:
            return Cause(
                "not started",
                tr("The working folder {folder} cannot be entered: {reason}.", folder=self._spec.cwd, reason=reason),
            )
        return Cause(
            "not started",
            tr("{program} cannot be started: {reason}.", program=self._spec.argv[0], reason=reason),
            advice=tr("Look at the path."),
        )

    def _pass_on(self) -> None:
        if self._child is None:
            return
        if self._firm:
            tree.signal_all(self._members(), signal.SIGKILL)
        elif self._asked is not None and not self._passed_on:
            self._passed_on = True
            self._record.change(state="stopping")
            # Gently, to the child alone: it tells its own workers, which a signal of their own would tear down.
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(self._asked)

    def _members(self) -> list[Process]:
        return tree.members(mark_of(self._spec), root=os.getpid())

    def _end_rest(self) -> None:
        """End what outlives the command: loaders that hold the GPU, servers in the background, halves of a pipe."""
        rest = self._members()
        if not rest:
            return
        limit = STOPPED_REST_S if self._asked is not None else REST_S
        self._record.notice(
            tr(
                "{number} of the job's processes outlived the command and were told to end (pid {pids}).",
                number=len(rest),
                pids=", ".join(str(process.pid) for process in rest[:5]),
            )
        )
        tree.signal_all(rest, self._asked or signal.SIGTERM)
        until = time.monotonic() + limit
        while rest := self._members():
            if self._firm or time.monotonic() > until:
                tree.signal_all(rest, signal.SIGKILL)
                if time.monotonic() > until + REST_S:
                    # A process that the kernel holds in a disk's wait ends when the disk lets it go.
                    self._record.notice(
                        tr(
                            "{number} of the job's processes cannot be ended (pid {pid}).",
                            number=len(rest),
                            pid=rest[0].pid,
                        )
                    )
                    return
            time.sleep(POLL_S)
            self._bury()

    def _end_output(self) -> None:
        assert self._pump is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._pump.wait(LAST_OUTPUT_S)
        self._hear_pump()

    def _hear_pump(self) -> None:
        """What the pump tells of a disk that takes nothing."""
        assert self._pump is not None
        assert self._pump.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            # A line is shorter than what a pipe takes whole, so that lines are never cut.
            for line in (self._pump.stdout.read() or b"").splitlines():
                news = json.loads(line)
                if "full" in news:
                    self._record.notice(
                        tr("The log takes nothing ({reason}); the job goes on, its output waits.", reason=news["full"])
                    )
                else:
                    self._record.notice(tr("{lost:,} bytes of output could not be kept.", lost=news["lost"]))

    def _bury(self) -> None:
        """Take the last word of processes that came to this one when they lost their parent."""
        ours = {child.pid for child in (self._child, self._pump) if child is not None}
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid in ours:
                    return
                os.waitpid(ended.si_pid, os.WNOHANG)

    def _end_without_child(self, end: NotBegun) -> int:
        fields: dict[str, object] = {
            "state": end.state, "exit_code": end.exit_code, "cause": end.cause, "ended": time.time(), "waiting": "", "note": "",
        }  # fmt: skip
        self._record.end(lambda _: fields, lambda: self._firm)
        return end.exit_code

    def _final(self, status: JobStatus, watch: Watching, return_code: int) -> dict[str, object]:
        exit_code = 128 - return_code if return_code < 0 else return_code
        stopped_by_us = self._asked is not None or self._firm
        # By the signal itself, or by the exit code that a command gives which finished its batch first.
        asked = self._asked or signal.SIGTERM
        told_to_end = stopped_by_us and (-return_code in (asked, signal.SIGKILL) or exit_code == 128 + asked)
        cause = status.cause if told_to_end else self._cause(status, watch, return_code)
        state: JobState = "failed"
        if exit_code == 0 or (exit_code == 1 and watch.has_result):
            state = "done"
        elif stopped_by_us or exit_code in (130, 143):
            state = "stopped"
        return {"state": state, "exit_code": exit_code, "ended": time.time(), "cause": cause, "note": ""}

    def _cause(self, status: JobStatus, watch: Watching, return_code: int) -> Cause | None:
        if self._spec.step and status.cause is None and return_code in (EXIT_BAD_REQUEST, EXIT_MACHINE_CANNOT):
            return _refusal(self._run.log)
        try:
            return watch.cause(status, return_code)
        except Exception as error:  # noqa: BLE001 - a fault in reading the log must not take the job's end with it
            traceback.print_exc()
            return Cause(
                "unknown",
                tr("The log could not be read for the cause: {name}: {error}.", name=type(error).__name__, error=error),
            )

    def _take(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == FIRM or (self._asked is not None and now - self._asked_at > SAME_STOP_S):
            self._firm = True
        if self._asked is None:
            self._asked, self._asked_at = signal.SIGTERM if number == FIRM else number, now


def _adopt_orphans() -> None:
    # Without it (another system, a filter on system calls) the mark in the environment still leads to them.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _refusal(log: Path) -> Cause | None:
    """What a command of this program said when it refused to start: the last thing that it printed."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _REFUSAL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    told = [number for number, line in enumerate(lines) if line.startswith("fsgr-tui: ")]
    if not told:
        return None
    first, *rest = lines[told[-1] :]
    return Cause("refused", first.removeprefix("fsgr-tui: "), first, " ".join(line.strip() for line in rest))


def main(argv: list[str]) -> int:
    """Run the job of a folder."""
    return Runner(RunFolder(Path(argv[0])), int(argv[1]) if len(argv) > 1 else None).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
