"""How the jobs stood at one moment: what the screen shows of them."""

from __future__ import annotations

from dataclasses import dataclass

from fsgr_tui.core.job import JobStatus


@dataclass(frozen=True)
class JobCourse:
    """What one job left behind so far.

    Attributes:
        rates: units per second over the present phase, oldest first.
        log: the last lines of its output, printable.
        heard: Unix time of its last word, an event or a line of output; None before the first.
    """

    name: str
    rates: tuple[float, ...] = ()
    log: tuple[str, ...] = ()
    heard: float | None = None


@dataclass(frozen=True)
class JobsSeen:
    """All jobs at one moment, the newest first.

    Attributes:
        unreadable: the run folders that say nothing.
        fault: why nothing newer is known; empty when all is well.
    """

    statuses: tuple[JobStatus, ...] = ()
    course: JobCourse | None = None
    unreadable: tuple[str, ...] = ()
    fault: str = ""

    @property
    def running(self) -> tuple[JobStatus, ...]:
        """Those that have not ended."""
        return tuple(status for status in self.statuses if not status.ended_for_good)

    def find(self, name: str) -> JobStatus | None:
        """The job of that name."""
        return next((status for status in self.statuses if status.name == name), None)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The feature files that jobs wrote."""
        return tuple(filter(None, map(output_of, self.statuses)))


def output_of(status: JobStatus) -> str:
    """The feature file that a job wrote; empty when it has none."""
    output = status.result.get("output")
    return output if isinstance(output, str) and status.kind == "extract" else ""
