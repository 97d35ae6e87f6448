"""What every child process of this program does at its edges: signals, events, exit codes."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType

from fsgr_tui.core.errors import EXIT_FOUND_FAULTS, Problem
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.language import tr

SAME_WISH_S = 1.0
"""Slurm tells all processes of a job at once, and the runner tells its child as well: that is one wish."""


class Stopper:
    """Takes SIGINT and SIGTERM as a wish to stop after the batch at hand; a later one ends the process at once.

    Attributes:
        signal: the signal that came first; None while there was none.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._at = 0.0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.signal or 0)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._at = number, now
        elif now - self._at > SAME_WISH_S:
            os._exit(128 + number)


def run_child(work: Callable[[EventWriter, Stopper], int]) -> int:
    """Run a child's work; foreseeable faults become an event and their exit code, others a traceback in the log."""
    events, stopper = EventWriter(), Stopper()
    try:
        return work(events, stopper)
    except Problem as problem:
        events.fault(problem.what, problem.fix, problem.exit_code)
        print(problem, file=sys.stderr)  # noqa: T201 - the log of the run
        return problem.exit_code
    except Exception as error:  # noqa: BLE001 - the last place where a fault can be told
        traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"  # noqa: PTH119 - no Path needed for a name
        what = f"{type(error).__name__}: {error} (in {where})"
        events.fault(what, tr("The log has the whole story."), EXIT_FOUND_FAULTS, unforeseen=True)
        return EXIT_FOUND_FAULTS
