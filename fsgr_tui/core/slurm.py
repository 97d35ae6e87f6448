"""What Slurm says, read into values: states, times, exit codes, queue rows, accounting rows.

The sources: `squeue`, `sacct` and `sbatch` of Slurm 22.05 as measured, and the state codes of their manual pages up to
25.05. Everything here takes text and returns values.
"""

from __future__ import annotations

import re
import time
from typing import Literal

import msgspec

from fsgr_tui.core.language import mark, tr

Kind = Literal["waiting", "running", "ended", "unknown"]

QUEUE_FIELDS = (
    "ArrayJobID", "ArrayTaskID", "JobID", "State", "exit_code", "StartTime", "EndTime", "TimeLimit", "NodeList", "Reason", "Name",
)  # fmt: skip
"""In this order, since a job's name may hold anything and so has to be the last."""

QUEUE_FORMAT = ",".join(f"{field}:|" for field in QUEUE_FIELDS)
"""For `squeue -O`: a separator of our own behind every field, which also keeps fields from being cut."""

ACCOUNT_FORMAT = "JobID,State,ExitCode,End,JobName"

_SUBMITTED = re.compile(r"(\d+)(?:;(\S+))?")
_NO_TIME = frozenset({"", "N/A", "NONE", "UNKNOWN", "NULL", "(NULL)"})
_NO_LIMIT = frozenset({"UNLIMITED", "INFINITE", "NOT_SET", "INVALID", "PARTITION_LIMIT", "N/A", "NONE", ""})
_DURATION = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


class SlurmState(msgspec.Struct, frozen=True):
    """One state of a job.

    Attributes:
        kind: whether the job waits, runs or has ended; unknown for a word that no manual names.
        words: what it means, as a predicate of the job; `meaning` tells it to a person.
        well: whether the job ended with exit code 0.
        may_return: whether Slurm may put the job back into the queue by itself.
        said: what Slurm printed, of a state that is not known.
    """

    name: str
    kind: Kind
    words: str
    well: bool = False
    may_return: bool = False
    said: str = ""

    @property
    def meaning(self) -> str:
        """What it means, in the user's language."""
        return tr(self.words, said=self.said) if self.said else tr(self.words)


def _states(kind: Kind, words: dict[str, str], *, may_return: bool = False) -> dict[str, SlurmState]:
    return {name: SlurmState(name, kind, said, may_return=may_return) for name, said in words.items()}


STATES: dict[str, SlurmState] = {
    **_states("waiting", {
        "PENDING": mark("waits in the queue"),
        "CONFIGURING": mark("its nodes are being made ready"),
        "POWER_UP_NODE": mark("its nodes are being switched on"),
        "REQUEUED": mark("was put back into the queue"),
        "REQUEUE_FED": mark("was put back into the queue of another cluster"),
        "REQUEUE_HOLD": mark("was put back into the queue and is held there"),
        "RESV_DEL_HOLD": mark("is held, since its reservation was deleted"),
        "SPECIAL_EXIT": mark("was put back into the queue with a special exit, and is held"),
        "SUSPENDED": mark("is suspended; its processes were halted"),
        "STOPPED": mark("is halted and keeps its CPUs"),
        "UPDATE_DB": mark("its record is being written"),
    }),
    **_states("running", {
        "RUNNING": mark("runs"),
        "COMPLETING": mark("is ending; some of its processes are left"),
        "RESIZING": mark("is changing its size"),
        "SIGNALING": mark("is being sent a signal"),
        "STAGE_OUT": mark("its files are being carried out of a burst buffer"),
        "EXPEDITING": mark("is being started anew at once"),
        "LAUNCH_FAILED": mark("could not be started on a node, and is tried again"),
        "RECONFIG_FAIL": mark("the settings of its nodes could not be changed"),
    }),
    "COMPLETED": SlurmState("COMPLETED", "ended", mark("ended with exit code 0"), well=True),
    **_states("ended", {
        "FAILED": mark("ended with an exit code other than 0"),
        "CANCELLED": mark("was cancelled"),
        "TIMEOUT": mark("reached its time limit"),
        "OUT_OF_MEMORY": mark("needed more memory than it had asked for"),
        "DEADLINE": mark("could not end before its deadline"),
        "REVOKED": mark("was started on another cluster of the federation"),
    }),
    **_states("ended", {
        "NODE_FAIL": mark("lost a node"),
        "PREEMPTED": mark("had to make room for another job"),
        "BOOT_FAIL": mark("its node could not be started"),
    }, may_return=True),
}  # fmt: skip


_NOT_KNOWN = mark("is in a state that is not known here ({said})")


def parse_state(text: str) -> SlurmState:
    """The state of a word as Slurm prints it: `RUNNING`, `CANCELLED by 1000`, or cut as in `OUT_OF_ME+`."""
    words = text.upper().split()
    word = words[0].rstrip("+") if words else ""
    if word in STATES:
        return STATES[word]
    begun = [state for name, state in STATES.items() if len(word) >= 4 and name.startswith(word)]
    if len(begun) == 1:
        return begun[0]
    return SlurmState(word or "nothing", "unknown", _NOT_KNOWN, said=text.strip() or "none")


def parse_time(text: str) -> float | None:
    """Unix time of a moment in ISO form by this machine's clock; None for none."""
    if text.strip().upper() in _NO_TIME:
        return None
    try:
        return time.mktime(time.strptime(text.strip(), "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return None


def parse_duration(text: str) -> int | None:
    """Seconds of a time limit: `D-HH:MM:SS`, `D-HH:MM`, `D-HH`, `HH:MM:SS`, `MM:SS`, `MM`; None for no limit.

    Raises:
        ValueError: it is none of these.
    """
    if text.strip().upper() in _NO_LIMIT:
        return None
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no duration")
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    # Without days the first of two is minutes, and a single number as well.
    hours, minutes, seconds = {1: (0, *numbers, 0), 2: (0, *numbers), 3: tuple(numbers)}[len(numbers)]
    return (hours * 60 + minutes) * 60 + seconds


def format_limit(seconds: int) -> str:
    """A time limit as Slurm takes it, rounded up to whole minutes: `0-02:30`."""
    minutes = -(-seconds // 60)
    return f"{minutes // 1440}-{minutes // 60 % 24:02d}:{minutes % 60:02d}"


def parse_exit(text: str) -> tuple[int, int] | None:
    """Exit code and signal: `3:0` of sacct, or the raw wait status of squeue (768 is exit 3); None for neither."""
    code, sign, number = text.strip().partition(":")
    if sign and code.isdecimal() and number.isdecimal():
        return int(code), int(number)
    if code.isdecimal():
        raw = int(code)
        return raw >> 8, raw & 0x7F
    return None


def exit_words(ended: tuple[int, int] | None) -> str:
    """An exit as a person reads it; empty when nothing is known or nothing is wrong."""
    if ended is None or ended == (0, 0):
        return ""
    code, signal = ended
    if ended == (0, 53):
        return tr("its output file could not be opened (0:53)")
    return tr("signal {number}", number=signal) if signal else tr("exit code {code}", code=code)


def parse_submitted(stdout: str) -> tuple[int, str] | None:
    """Job id and cluster from what `sbatch --parsable` printed; sites print banners around it. None for no id."""
    for line in reversed(stdout.splitlines()):
        if match := _SUBMITTED.fullmatch(line.strip()):
            return int(match[1]), match[2] or ""
    return None


class QueueRow(msgspec.Struct, frozen=True):
    """A job, or one task of an array, as the queue lists it.

    Attributes:
        array_id: the array's id; a single job's own.
        task: the task's number; None for a single job.
        job_id: what Slurm calls this task inside; for the last task of an array the array's own id.
        start: when it started or is expected to; end: when it ended, or has to. Unix times.
        nodes: where it runs; reason: why it does not.
    """

    array_id: int
    task: int | None
    job_id: int
    state: SlurmState
    exit: tuple[int, int] | None
    start: float | None
    end: float | None
    limit_s: int | None
    nodes: str
    reason: str
    name: str

    @property
    def key(self) -> str:
        """As `scancel` takes it: `123`, or `123_4`."""
        return key_of(self.array_id, self.task)


def key_of(job_id: int, task: int | None) -> str:
    """A job or a task of an array, as Slurm's commands take it."""
    return str(job_id) if task is None else f"{job_id}_{task}"


def parse_queue(text: str) -> tuple[QueueRow, ...]:
    """The rows of `squeue -h -r -O QUEUE_FORMAT`; what is no such row (banners, headings) is passed over."""
    rows = []
    for line in text.splitlines():
        fields = line.split("|", len(QUEUE_FIELDS) - 1)
        if len(fields) < len(QUEUE_FIELDS) or not fields[0].isdecimal() or not fields[2].isdecimal():
            continue
        array_id, task, job_id, state, code, start, end, limit, nodes, reason, name = fields
        try:
            limit_s = parse_duration(limit)
        except ValueError:
            limit_s = None
        rows.append(
            QueueRow(
                int(array_id), int(task) if task.isdecimal() else None, int(job_id), parse_state(state), parse_exit(code),
                parse_time(start), parse_time(end), limit_s, nodes.strip(), "" if reason in ("None", "") else reason,
                name.removesuffix("|"),
            )
        )  # fmt: skip
    return tuple(rows)


class AccountRow(msgspec.Struct, frozen=True):
    """What the accounting keeps of a job or a task; `key` as of `QueueRow`."""

    key: str
    state: SlurmState
    exit: tuple[int, int] | None
    end: float | None
    name: str
    by: str = ""


def parse_accounts(text: str) -> tuple[AccountRow, ...]:
    """The rows of `sacct -X -n -P -o ACCOUNT_FORMAT`; steps, which other calls list too, are passed over."""
    rows = []
    for line in text.splitlines():
        fields = line.split("|", 4)
        if len(fields) < 5:
            continue
        jobs, state, code, end, name = fields
        by = state.partition(" by ")[2].strip()
        rows += [
            AccountRow(key, parse_state(state), parse_exit(code), parse_time(end), name, by) for key in _keys(jobs)
        ]
    return tuple(rows)


_WAITING_TASKS = re.compile(r"(\d+)_\[([\d,-]+)(?:%\d+)?\]")


def _keys(jobs: str) -> list[str]:
    """The jobs of a row: one, or all tasks of an array that wait, as in `12_[3,5-8%2]`; none for a step."""
    if re.fullmatch(r"\d+(_\d+)?", jobs):
        return [jobs]
    waiting = _WAITING_TASKS.fullmatch(jobs)
    if not waiting:
        return []
    spans = [span.partition("-") for span in waiting[2].split(",") if span]
    return [
        f"{waiting[1]}_{number}" for first, _, last in spans for number in range(int(first), int(last or first) + 1)
    ]
