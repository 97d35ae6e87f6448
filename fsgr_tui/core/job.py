"""A job: what was asked, how it stands. Both are whole documents in the job's run folder."""

from __future__ import annotations

from typing import Literal

import msgspec

from fsgr_tui.core.event import Event, Fault, Kept, Metric, Notice, Phase, Progress, Refused, Result
from fsgr_tui.core.event_words import rate_words
from fsgr_tui.core.units import Unknown

JOB_SCHEMA = "fsgr-tui/job/1"
JOBS_SCHEMA = "fsgr-tui/jobs/1"

UNFORESEEN = "unforeseen"
"""The kind of a cause that a child told without knowing it: an exception that nobody foresaw."""

JobState = Literal["queued", "running", "stopping", "done", "failed", "stopped", "interrupted"]
FINAL_STATES: frozenset[JobState] = frozenset({"done", "failed", "stopped", "interrupted"})

Life = Literal["", "here", "elsewhere", "orphaned"]
"""Where a job that has not ended lives: under its runner on this host; on another host; on this host without its
runner, which is gone. Empty for a job that has ended."""

Waiting = Literal["", "jobs", "queue", "gpu"]
"""What a queued job waits for: other jobs, its turn in the queue, a free GPU."""


class GpuWish(msgspec.Struct, frozen=True):
    """What a job asks of the GPUs.

    Attributes:
        ask: a command that prints a `core.machine.GpuReport` as JSON; a driver that hangs is left behind with it.
        count: how many GPUs.
        named: only these, by index or uuid; empty for any.
        wait: whether the job waits for a GPU, or ends when none is free.
    """

    ask: tuple[str, ...]
    count: int = 1
    named: tuple[str, ...] = ()
    wait: bool = True


class GitState(msgspec.Struct, frozen=True):
    """The git checkout around a working folder.

    Attributes:
        commit: the full hash, or why it is not known.
        branch: empty for a detached head.
        dirty: whether tracked files differ from the commit, or why that is not known.
    """

    root: str
    commit: str | Unknown
    branch: str = ""
    dirty: bool | Unknown = Unknown("not asked")


class JobSpec(msgspec.Struct, frozen=True):
    """What to run.

    Attributes:
        name: unique name, also the run folder's.
        kind: extract, check, train or command.
        argv: the program and its arguments; never a shell string.
        cwd: working folder.
        env: variables that the user set for this job.
        shown: the command line as a user would type it.
        created: Unix time in seconds.
        environment: the variables of the starting process that such work depends on, secrets left out.
        needs: names of the jobs that have to end well before this one begins.
        queue: whether it runs in turn with the other jobs of the queue.
        gpu: what it asks of the GPUs; None for nothing.
        step: whether the command is one of this program's, which then becomes the job's child itself.
        git: the checkout around the working folder, when there is one.
        host, boot_id: where it was started.
        token: marks the job's processes, in their environment.
    """

    name: str
    kind: str
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str] = {}
    shown: tuple[str, ...] = ()
    created: float = 0.0
    environment: dict[str, str] = {}
    needs: tuple[str, ...] = ()
    queue: bool = False
    gpu: GpuWish | None = None
    step: bool = False
    git: GitState | None = None
    host: str = ""
    boot_id: str = ""
    token: str = ""


class JobProgress(msgspec.Struct, frozen=True):
    """The latest phase and how far it is.

    Attributes:
        eta_s: seconds to the end of the phase at the present rate.
        epoch, epochs: where a training program counts them, from 1.
        whole_eta_s: seconds to the end of the last epoch, where epochs are counted.
    """

    phase: str = ""
    step: int = 0
    total: int | None = None
    rate: float | None = None
    unit: str = ""
    eta_s: float | None = None
    stages: dict[str, float] = {}
    bottleneck: str = ""
    epoch: int | None = None
    epochs: int | None = None
    whole_eta_s: float | None = None

    @property
    def share(self) -> float | None:
        """How much of the phase is done, 0..1; None while its total is not known."""
        return min(1.0, self.step / self.total) if self.total else None

    @property
    def left_s(self) -> float | None:
        """Seconds to the end, of all epochs where they are counted, else of the phase; None while not known."""
        return self.whole_eta_s if self.whole_eta_s is not None else self.eta_s

    @property
    def rate_words(self) -> str:
        """The throughput, such as `4.2 images/s`; empty while it is not known."""
        return rate_words(self.rate, self.unit)


class Cause(msgspec.Struct, frozen=True):
    """Why a job ended badly: the kind, one sentence, the log line that it rests on, and what to do."""

    kind: str
    text: str
    line: str = ""
    advice: str = ""


class Alarm(msgspec.Struct, frozen=True):
    """Something that went wrong while the job ran: told once, with its first and last time and its count.

    Attributes:
        line: the log line that it rests on, or the values.
        level: a warning is worth a look; an alarm says that the run is being wasted.
        advice: what to try.
        ids: image ids that the log names, the first thousand.
    """

    kind: str
    text: str
    first: float
    last: float
    count: int
    line: str = ""
    level: Literal["warning", "alarm"] = "alarm"
    advice: str = ""
    ids: tuple[str, ...] = ()


class Usage(msgspec.Struct, frozen=True):
    """What the job's own process tree takes.

    Attributes:
        at: Unix time in seconds.
        cpu_percent: 100 is one core.
        memory_bytes: private pages of all processes, plus the largest share of one.
        read_bytes_s, write_bytes_s: what really went to and came from disks, per second.
        gpu_percent: the busiest GPU of the job, 0..100.
        gpu_memory_bytes: over all GPUs.
    """

    at: float
    processes: int
    cpu_percent: float
    memory_bytes: int
    read_bytes_s: float
    write_bytes_s: float
    gpu_percent: float | Unknown
    gpu_memory_bytes: int | Unknown


class UsageSeen(msgspec.Struct, frozen=True):
    """The newest sample, and the highest value of each kind so far."""

    last: Usage
    peak: Usage


class JobPart(msgspec.Struct, frozen=True):
    """One of several runners of a job and how it stands; other fields as of `JobStatus`.

    Attributes:
        kind: shard, or the name of a step behind them (merge, check).
        number: of a shard, from 1; else 0.
        why: Slurm's own word for why it waits, such as Priority; empty when it does not.
    """

    name: str
    state: JobState
    step: int = 0
    total: int | None = None
    host: str = ""
    note: str = ""
    attempt: int = 1
    exit_code: int | None = None
    kind: str = ""
    number: int = 0
    why: str = ""


class JobStatus(msgspec.Struct, frozen=True):
    """How a job stands: the document that `--json` prints.

    Attributes:
        note: what a person should know about the state: what it waits for, where it runs, what is wrong with its folder.
        life: where it lives, as seen by the reader; the file itself never tells.
        waiting: what a queued job waits for.
        attempt: counts from 1; a resumed job is the next one.
        host: where the runner is.
        queued: Unix time at which this attempt was asked for.
        heartbeat: Unix time of the runner's last word.
        child_pid, child_start: the command's process, and when it started in clock ticks since boot.
        gpus: uuids of the GPUs that are held for it.
        parts: its runners, where it has several: the shards of an extraction and what follows them.
        pending: Slurm's own word for why it waits, such as Priority; expected: Unix time at which Slurm expects to start it.
        kept: steps in a training's checkpoint, from which it would go on.
    """

    name: str
    state: JobState
    kind: str
    command: tuple[str, ...]
    folder: str
    schema: str = JOB_SCHEMA
    backend: str = "local"
    exit_code: int | None = None
    queued: float | None = None
    started: float | None = None
    ended: float | None = None
    progress: JobProgress = JobProgress()
    metrics: dict[str, float | None] = {}
    alarms: tuple[Alarm, ...] = ()
    cause: Cause | None = None
    refused: int = 0
    notices: tuple[str, ...] = ()
    result: dict[str, object] = {}
    usage: UsageSeen | None = None
    last_line: str = ""
    note: str = ""
    life: Life = ""
    waiting: Waiting = ""
    attempt: int = 1
    host: str = ""
    heartbeat: float | None = None
    child_pid: int | None = None
    child_start: str = ""
    gpus: tuple[str, ...] = ()
    parts: tuple[JobPart, ...] = ()
    pending: str = ""
    expected: float | None = None
    kept: int | None = None

    @property
    def ended_for_good(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in FINAL_STATES

    def elapsed_s(self, now: float) -> float | None:
        """Seconds since it started; of a job that has ended, how long it ran; None for one that never started.

        Args:
            now: Unix time in seconds.
        """
        if self.started is None:
            return None
        # Of a job whose runner is gone the last sign of life is the best that is known. Clocks may have been set back.
        end = (self.ended or self.heartbeat or self.started) if self.ended_for_good else now
        return max(0.0, end - self.started)

    def age_s(self, now: float) -> float | None:
        """Seconds since it ended, or since it was queued while it waits; None while it runs, or where that is not known.

        Args:
            now: Unix time in seconds.
        """
        since = (self.ended or self.heartbeat) if self.ended_for_good else self.queued
        return None if since is None or self.state in ("running", "stopping") else max(0.0, now - since)


def after_event(status: JobStatus, event: Event) -> JobStatus:
    """The status once an event has been seen."""
    match event:
        case Phase():
            fresh = JobProgress(phase=event.name, total=event.total, unit=event.unit)
            return msgspec.structs.replace(status, progress=fresh)
        case Progress():
            seen = msgspec.structs.replace(
                status.progress,
                step=event.step,
                total=event.total if event.total is not None else status.progress.total,
                rate=event.rate,
                eta_s=event.eta_s,
                stages=event.stages,
                bottleneck=event.bottleneck,
            )
            return msgspec.structs.replace(status, progress=seen)
        case Metric():
            return msgspec.structs.replace(status, metrics={**status.metrics, **event.values})
        case Kept():
            return msgspec.structs.replace(status, kept=event.step)
        case Notice():
            return msgspec.structs.replace(status, notices=(*status.notices, event.text)[-20:])
        case Refused():
            return msgspec.structs.replace(status, refused=status.refused + 1)
        case Result():
            return msgspec.structs.replace(status, result={**status.result, **event.values})
        case Fault():
            kind = UNFORESEEN if event.unforeseen else "fault"
            return msgspec.structs.replace(status, cause=Cause(kind, event.what, advice=event.fix))
