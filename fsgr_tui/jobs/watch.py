"""What a running job shows of itself, folded into its status: the runner asks a few times a second."""

from __future__ import annotations

import signal

from fsgr_tui.core.event import EventReader, Result
from fsgr_tui.core.job import Cause, JobStatus, after_event
from fsgr_tui.jobs.folder import RunFolder


class Watch:
    """Follows one job from its start.

    Attributes:
        has_result: whether the job told a result.
    """

    def __init__(self, run: RunFolder) -> None:
        self._events = EventReader(run.events)
        self.has_result = False

    def look(self, status: JobStatus) -> JobStatus:
        """The status with all that is new; the same object when nothing is."""
        for event in self._events.new():
            self.has_result |= isinstance(event, Result)
            status = after_event(status, event)
        return status

    def cause(self, status: JobStatus, return_code: int) -> Cause | None:
        """Why the job ended badly, from all that was seen; None when it did not.

        Args:
            return_code: as `subprocess` gives it: negative for a signal.
        """
        if return_code >= 0 or status.cause is not None:
            return status.cause
        return Cause(
            "signal",
            f"Ended by {signal.Signals(-return_code).name}.",
            advice="The kernel's log tells whether memory ran out (dmesg)." if return_code == -signal.SIGKILL else "",
        )
