"""Cancelling: only jobs whose id, name and user are those that this program submitted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

import msgspec

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.job import Cause, JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.core.slurm import QueueRow
from fsgr_tui.core.slurm_job import Submission
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.jobs.slurm import commands
from fsgr_tui.jobs.slurm.commands import Commands, on_cluster
from fsgr_tui.jobs.slurm.queue import POLL_S, Queue
from fsgr_tui.jobs.slurm.standing import QUEUES, STOPPED, forget, member_run, read_submission, whole

ENDED_S = 90.0
"""KillWait is 30 s by default: so long Slurm itself waits before it ends processes by force."""

LOOK_S = 0.5
FIRST_POLL_S = 2.0


class Cancelling:
    """Stops one run.

    Args:
        slurm: Slurm's commands.
    """

    def __init__(self, run: RunFolder, slurm: Commands = commands.run) -> None:
        self._run = run = whole(run)
        self._slurm = slurm
        self._submission: Submission = read_submission(run)
        self._queue = Queue(run.folder.parent / QUEUES, self._submission.uid, self._submission.cluster, slurm)
        if self._submission.uid != os.getuid():
            raise BadRequest(
                tr("{name} was submitted by another user (uid {uid}).", name=run.name, uid=self._submission.uid),
                tr("Ask its owner to stop it."),
            )

    def rows(self) -> tuple[QueueRow, ...]:
        """This run's jobs that are still in the queue, by a question of now.

        Raises:
            MachineCannot: Slurm does not answer.
        """
        look = self._queue.fresh()
        if look.error:
            raise MachineCannot(
                tr(
                    "Slurm does not answer, so {name} cannot be cancelled now: {why}.",
                    name=self._run.name,
                    why=look.error,
                ),
                tr("Try again soon."),
            )
        ours = {(member.key, member.job_name) for member in self._submission.members if member.key}
        return tuple(
            row
            for row in look.rows
            if (row.key, row.name) in ours and (row.state.kind != "ended" or row.state.may_return)
        )

    def ask(self, *, firm: bool = False) -> None:
        """Tell the run to stop; what follows in it is cancelled first, so that it does not begin.

        Args:
            firm: end the processes at once, without waiting for their batch.

        Raises:
            BadRequest: it has ended.
            MachineCannot: Slurm does not answer.
        """
        status = self._run.read_status()
        if status.ended_for_good:
            raise BadRequest(
                tr("{name} does not run ({state}).", name=self._run.name, state=tr(status.state)),
                tr("`fsgr-tui jobs` shows how it stands."),
            )
        (self._run.folder / STOPPED).touch()
        rows = self.rows()
        running = [row for row in rows if row.state.kind == "running"]
        self._scancel([row.key for row in rows if row.state.kind != "running"])
        if firm:
            self._scancel([row.key for row in running], "--signal=KILL", "--full")
            self._scancel([row.key for row in running])
        else:
            # To the batch script alone: Slurm's own way tells all processes at once, loaders and helpers too.
            self._scancel(
                [row.key for row in running], f"--signal={signal.SIGTERM.name.removeprefix('SIG')}", "--batch"
            )
        forget(self._run)

    def stop(self, gentle_s: float) -> JobStatus:
        """Stop the run and wait until nothing of it is left in Slurm.

        Raises:
            MachineCannot: Slurm does not answer, or does not end it.
        """
        self.ask(firm=gentle_s <= 0)
        if not self._gone_within(gentle_s):
            self._scancel([row.key for row in self.rows()])
            if not self._gone_within(ENDED_S):
                left = ", ".join(row.key for row in self.rows())
                raise MachineCannot(
                    tr("Slurm has not ended {jobs} of {name} yet.", jobs=left, name=self._run.name),
                    tr("Look with `squeue`."),
                )
        self._settle()
        forget(self._run)
        return self._run.read_status()

    def _gone_within(self, seconds: float) -> bool:
        """Whether nothing is left in Slurm in time; Slurm is asked when the folders have ended, and seldom before."""
        until, pause = time.monotonic() + seconds, FIRST_POLL_S
        while True:
            if not self.rows():
                return True
            ask_at = time.monotonic() + pause
            while time.monotonic() < min(ask_at, until) and not (pause == FIRST_POLL_S and self._all_told):
                time.sleep(LOOK_S)
            if time.monotonic() >= until:
                return not self.rows()
            pause = min(POLL_S, 2 * pause)

    @property
    def _all_told(self) -> bool:
        """Whether every runner that began has written its end."""
        statuses = [member_run(self._run, member).recorded_status() for member in self._submission.members]
        return all(status.ended_for_good or status.started is None for status in statuses)

    def _settle(self) -> None:
        """Write down the end of runners that never began, or could not write it."""
        for member in self._submission.members:
            own = member_run(self._run, member)
            status = own.recorded_status()
            if not status.ended_for_good:
                text = tr("Stopped before it began.") if status.started is None else tr("Stopped.")
                own.write_status(
                    msgspec.structs.replace(
                        status, state="stopped", exit_code=143, ended=time.time(), note="", cause=Cause("stopped", text)
                    )
                )

    def _scancel(self, keys: Sequence[str], *flags: str) -> None:
        if keys:
            self._slurm(("scancel", *on_cluster(self._submission.cluster), *flags, *keys))
