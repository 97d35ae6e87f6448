"""On the node: `python -m fsgr_tui.jobs.slurm.node RUNDIR`, what a batch script becomes.

It starts the same runner as everywhere, hands on what Slurm tells the job, and decides what follows when the runner
has ended: at the time limit the job puts itself back into the queue, and goes on in its next turn.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Literal

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import EXIT_MACHINE_CANNOT, EXIT_OK, BadRequest, Problem
from fsgr_tui.core.job import Cause, JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.core.slurm_turns import STALLED_TURNS, AfterRun, after_run, ended_stalled, reached, stalled
from fsgr_tui.core.slurm_words import resume_words
from fsgr_tui.jobs import life
from fsgr_tui.jobs.child_spec import set_resume, spec_of
from fsgr_tui.jobs.control import keep_attempt
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.jobs.runner import FIRM
from fsgr_tui.jobs.slurm import commands
from fsgr_tui.jobs.slurm.commands import Commands
from fsgr_tui.jobs.slurm.standing import STOPPED

LOCK_S = 180.0
"""A node that died may hold the run's lock on NFS until the server takes it back (90 s by default on Linux)."""

FIRM_BEFORE_S = 20.0
"""A child that does not end by itself is ended so long before Slurm would end it, so that the job can still go back."""

POLL_S = 0.1

Told = Literal["", "limit", "stop"]


class Node:
    """One job or task of an array, on its node.

    Args:
        grace_s: how long before the limit Slurm tells the job; what is left for its child to end its batch.
    """

    def __init__(self, run: RunFolder, grace_s: float, slurm: Commands = commands.run) -> None:
        self._run = run
        self._grace_s = grace_s
        self._slurm = slurm
        self._told: Told = ""
        self._told_at = 0.0
        self._runner: subprocess.Popen[bytes] | None = None

    def work(self) -> int:
        """Run the job; returns the exit code of the batch job."""
        # From the first moment: a signal that comes while the interpreter is loading would end the job.
        for number, told in ((signal.SIGUSR1, "limit"), (signal.SIGTERM, "stop"), (signal.SIGINT, "stop")):
            signal.signal(number, self._taking(told))  # type: ignore[arg-type]  # the words are those of Told
        if self._is_stopped:
            return EXIT_MACHINE_CANNOT
        lock = life.take(self._run.lock, LOCK_S)
        try:
            status = self._run.recorded_status()
            if status.state == "done":
                return EXIT_OK
            if cause := self._stalled(status):
                self._run.write_status(ended_stalled(status, cause))
                return EXIT_MACHINE_CANNOT
            self._make_ready(status)
            self._start(lock)
        finally:
            os.close(lock)
        self._wait()
        last = self._run.recorded_status()
        marks = [*self._earlier_marks(last.attempt), reached(last)]
        shard = "SLURM_ARRAY_TASK_ID" in os.environ
        return self._after(
            after_run(last, self._told, cancelled=self._is_stopped, marks=marks, shard=shard),
            last,
        )

    @property
    def _is_stopped(self) -> bool:
        # The folder of a shard lies in that of its run.
        return any((folder / STOPPED).exists() for folder in (self._run.folder, self._run.folder.parent))

    def _make_ready(self, status: JobStatus) -> None:
        """A first attempt begins as it is; a further one goes on with what is there."""
        if status.started is None:
            return
        keep_attempt(self._run, status)
        child = spec_of(self._run.read_spec().argv)
        if child is not None:
            set_resume(child)
        self._run.write_status(
            JobStatus(
                status.name,
                "queued",
                status.kind,
                status.command,
                status.folder,
                backend="slurm",
                attempt=status.attempt + 1,
                queued=time.time(),
            )
        )

    def _start(self, lock: int) -> None:
        with self._run.runner_log.open("ab") as log:
            self._runner = subprocess.Popen(
                [sys.executable, "-m", "fsgr_tui.jobs.runner", str(self._run.folder), str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock,),
            )

    def _wait(self) -> None:
        assert self._runner is not None
        asked, firm = False, False
        while self._runner.poll() is None:
            if self._told and not asked:
                asked = True
                self._runner.send_signal(signal.SIGTERM)
            late = time.monotonic() - self._told_at > max(1.0, self._grace_s - FIRM_BEFORE_S)
            if self._told == "limit" and late and not firm:
                firm = True
                self._runner.send_signal(FIRM)
            time.sleep(POLL_S)

    def _after(self, after: AfterRun, last: JobStatus) -> int:
        if after.requeue:
            # Slurm's request to end, which comes with being put back, must not change what is written here.
            for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
        if after.status is not None:
            self._run.write_status(after.status)
        if after.requeue and (why := self._requeue()):
            cause = Cause(
                "time limit",
                tr("The time limit came, and the job could not be put back into the queue: {why}.", why=why),
                advice=resume_words(last.name),
            )
            self._run.write_status(msgspec.structs.replace(last, state="interrupted", cause=cause, note=""))
        return after.exit_code

    def _requeue(self) -> str:
        """Put this job back into the queue; returns why that was refused. Slurm then ends it."""
        job = os.environ.get("SLURM_JOB_ID", "")
        array, task = os.environ.get("SLURM_ARRAY_JOB_ID", ""), os.environ.get("SLURM_ARRAY_TASK_ID", "")
        answer = self._slurm(("scontrol", "requeue", f"{array}_{task}" if array and task else job))
        return "" if answer.good else answer.why

    def _stalled(self, status: JobStatus) -> Cause | None:
        """Why it does not begin once more: a node may have taken every turn from it without a word."""
        if status.started is None:
            return None
        return stalled(status, [*self._earlier_marks(status.attempt), reached(status)], STALLED_TURNS)

    def _earlier_marks(self, attempt: int) -> list[int | None]:
        """What the turns of this job in Slurm had reached before an attempt; those before a `resume` do not count."""
        turns = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        marks: list[int | None] = []
        for number in range(max(1, attempt - turns), attempt):
            kept = self._run.folder / f"attempt-{number}" / self._run.status.name
            try:
                marks.append(reached(jsontext.decode(kept.read_bytes(), JobStatus)))
            except (OSError, msgspec.MsgspecError):
                continue
        return marks

    def _taking(self, told: Told) -> object:
        def take(_number: int, _frame: FrameType | None) -> None:
            # The first one counts: the end by force follows on the limit anyway.
            if not self._told:
                self._told, self._told_at = told, time.monotonic()

        return take


def main(argv: list[str]) -> int:
    """Run the job of a folder."""
    run = RunFolder(Path(argv[0]))
    grace_s = float(argv[1]) if len(argv) > 1 else 120.0
    try:
        return Node(run, grace_s).work()
    except BlockingIOError:
        problem: Problem = BadRequest(
            tr("{folder} is being worked on by another runner.", folder=run.folder), tr("Look at `fsgr-tui jobs`.")
        )
    except Problem as found:
        problem = found
    print(f"fsgr-tui: {problem}", file=sys.stderr)  # noqa: T201 - Slurm's own log of the job
    return problem.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
