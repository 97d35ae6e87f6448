"""Run folders: one folder per job, found again by any later face.

spec.json     what to run (whole, written once)
status.json   how it stands (whole-file replacement)
events.jsonl  what the product's own children tell, one JSON line each
samples.jsonl what the job's processes took of the machine, over time
series.jsonl  numbers that were read off the log, over time
log           the child's output; of bars that redraw themselves only some states
lock          held by the living runner; holds its pid, start time and host; its time is the heartbeat
processes     the job's processes, as the runner last saw them
turn          its order number, where it was moved in the queue
attempt-N/    status, events and log of an earlier attempt
runner.log    what went wrong in the runner itself
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import BadRequest, MachineCannot, did_you_mean
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.job import Cause, JobSpec, JobStatus
from fsgr_tui.core.language import tr, trn
from fsgr_tui.core.units import format_duration
from fsgr_tui.jobs import life, tree
from fsgr_tui.jobs.processes import Process
from fsgr_tui.jobs.state import state_dir

RUNS_VARIABLE = "FSGR_TUI_RUNS"
STEP_VARIABLE = "FSGR_TUI_STEP"
"""Set by the runner for a command of this program that is to become the job's child: the run folder to work in."""

STEP_KINDS = frozenset({"extract", "train", "convert", "text-embed"})
"""Commands that do nothing more than to prepare and follow one child."""

LOCKS = ".locks"
"""Beside the run folders: locks of GPUs and of the queue."""

_LONGEST_NAME_BYTES = 120
_LOOK_KEPT_S = 1.0
"""Dozens of jobs that lost their runner long ago share one look at all processes."""


def runs_dir() -> Path:
    """Where run folders are: $FSGR_TUI_RUNS, else among the user's state. Always absolute: a job may work elsewhere."""
    named = os.environ.get(RUNS_VARIABLE)
    return Path(named).absolute() if named else state_dir() / "runs"


class RunFolder:
    """The files of one job.

    Attributes:
        adopted: whether this very process is to become the job's child.
    """

    def __init__(self, folder: Path, *, adopted: bool = False) -> None:
        self.folder = folder
        self.adopted = adopted
        self.spec = folder / "spec.json"
        self.status = folder / "status.json"
        self.events = folder / "events.jsonl"
        self.log = folder / "log"
        self.samples = folder / "samples.jsonl"
        self.series = folder / "series.jsonl"
        self.lock = folder / "lock"
        self.processes = folder / "processes"
        self.turn = folder / "turn"
        self.runner_log = folder / "runner.log"

    @property
    def name(self) -> str:
        """The job's name."""
        return self.folder.name

    @property
    def locks(self) -> Path:
        """The folder of the locks that this job shares with others."""
        return self.folder.parent / LOCKS

    def beside(self, name: str) -> RunFolder:
        """Another job of the same place."""
        return RunFolder(self.folder.parent / name)

    def read_spec(self) -> JobSpec:
        """What the job runs.

        Raises:
            BadRequest: the spec is missing or damaged.
        """
        try:
            return jsontext.decode(self.spec.read_bytes(), JobSpec)
        except (OSError, msgspec.MsgspecError) as error:
            raise BadRequest(
                tr("{path} cannot be read: {error}.", path=self.spec, error=error), tr("Delete the run folder.")
            ) from None

    def write_status(self, status: JobStatus) -> None:
        """Replace the status whole."""
        write_whole(self.status, jsontext.encode(status))

    def recorded_status(self) -> JobStatus:
        """The runner's last word, whether or not the runner lives.

        Raises:
            BadRequest: the folder holds no status.
        """
        try:
            return jsontext.decode(self.status.read_bytes(), JobStatus)
        except (OSError, msgspec.MsgspecError) as error:
            raise BadRequest(
                tr("{path} cannot be read: {error}.", path=self.status, error=error), tr("Delete the run folder.")
            ) from None

    def read_status(self) -> JobStatus:
        """How the job stands: the runner's own word while it lives, or what its absence means.

        Raises:
            BadRequest: the folder holds no status.
        """
        status = self.recorded_status()
        if status.backend == "slurm":
            from fsgr_tui.jobs.slurm import standing

            return standing.current(self, status)
        if status.ended_for_good:
            return status
        proof = life.prove(self.lock)
        if proof.life == "gone":
            # Between the two looks the job may have come to its end.
            status = self.recorded_status()
            return status if status.ended_for_good else self._without_runner(status, proof)
        if proof.life == "elsewhere" and proof.holder is not None:
            seen = tr("on {host}, last sign {time} ago", host=proof.holder.host.name, time=format_duration(proof.age_s))
            note = f"{seen}; {status.note}" if status.note else seen
            return msgspec.structs.replace(status, life="elsewhere", note=note)
        return msgspec.structs.replace(status, life="here")

    def survivors(self, status: JobStatus, kept_s: float = 0.0) -> list[Process]:
        """The living processes of a job, found without its runner; none where the runner was on another host or boot.

        Args:
            kept_s: how old the look at all processes may be.
        """
        holder = life.holder_of(self.lock)
        if holder is None or holder.host.boot_id != life.this_host().boot_id:
            return []
        known = tree.read_noted(self.processes)
        if status.child_pid is not None:
            known.append((status.child_pid, status.child_start))
        try:
            own = mark_of(self.read_spec())
        except BadRequest:
            own = ""
        return tree.members(own, known, kept_s=kept_s)

    def _without_runner(self, status: JobStatus, proof: life.Proof) -> JobStatus:
        if left := self.survivors(status, 0.0 if life.was_alive_lately(self.lock) else _LOOK_KEPT_S):
            note = trn(
                "orphaned: its runner was killed, and {count} process goes on (pid {pid}); how it ends will not be known; "
                "`fsgr-tui stop {name}` ends it",
                "orphaned: its runner was killed, and {count} processes go on (pid {pid}); how it ends will not be known; "
                "`fsgr-tui stop {name}` ends it",
                len(left),
                pid=left[0].pid,
                name=self.name,
            )
            return msgspec.structs.replace(status, state="running", life="orphaned", note=note)
        return msgspec.structs.replace(
            status, state="interrupted", note="", waiting="", cause=status.cause or _absence(self, proof)
        )


def _absence(run: RunFolder, proof: life.Proof) -> Cause:
    line = ""
    if proof.rebooted and proof.holder is not None:
        text = tr("{host} was started anew while the job ran.", host=proof.holder.host.name)
    elif proof.age_s and proof.holder is not None:
        text = tr(
            "There has been no sign from {host} for {time}.",
            host=proof.holder.host.name,
            time=format_duration(proof.age_s),
        )
    elif line := _last_line(run.runner_log):
        text = tr("The runner ended by a fault of its own: {line}", line=line)
    else:
        text = tr("The runner ended without a word: killed, logged out, or the machine went down.")
    advice = tr("What was finished is kept; `fsgr-tui resume {name}` goes on.", name=run.name)
    return Cause("runner gone", text, line, advice)


def _last_line(path: Path) -> str:
    """The last line of a small log; empty when there is none."""
    try:
        return (path.read_text(errors="replace").strip().splitlines() or [""])[-1]
    except OSError:
        return ""


def mark_of(spec: JobSpec) -> str:
    """What the processes of a job carry in their environment; empty for a job without a mark."""
    return f"{spec.name}:{spec.token}" if spec.token else ""


def new_run(kind: str, name: str = "") -> RunFolder:
    """Make the folder of a new job.

    Args:
        kind: begins the name that is given to a job without one; the rest sorts by time.
        name: the user's own name for it.

    Raises:
        BadRequest: the name is none, or is taken.
        MachineCannot: the folder cannot be made.
    """
    # Only the first job of a step's process is the step; what it starts besides is jobs of their own.
    adopted = os.environ.pop(STEP_VARIABLE, "")
    if adopted and kind in STEP_KINDS:
        return RunFolder(Path(adopted), adopted=True)
    if name:
        require_name(name)
    while True:
        chosen = name or f"{kind}-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        folder = runs_dir() / chosen
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if name:
                raise BadRequest(
                    tr("There is a job {name} already.", name=repr(name)),
                    tr(
                        "Choose another --name, go on with it (`fsgr-tui resume {name}`), or delete it (`fsgr-tui rm {name}`).",
                        name=name,
                    ),
                ) from None
            continue
        except OSError as error:
            raise MachineCannot(
                tr("The run folder {folder} cannot be made: {reason}.", folder=folder, reason=error.strerror),
                tr("Set {variable} to a folder that can be written.", variable=RUNS_VARIABLE),
            ) from None
        return RunFolder(folder)


def require_name(name: str) -> None:
    """Refuse what cannot be a job's name: it is a folder's, and a word in commands.

    Raises:
        BadRequest: it is empty, too long, or holds characters with another meaning.
    """
    plain = name.isprintable() and not set(name) & set("/\\ ,'\"`$*?[]{}()<>|;&!") and name[:1] not in ("", ".", "-")
    if not plain or len(name.encode(errors="replace")) > _LONGEST_NAME_BYTES or name == "last":
        raise BadRequest(
            tr("{name} cannot be a job's name.", name=repr(name)),
            tr("Use letters, digits, dots, dashes and underscores; not at the front a dot or a dash; not `last`."),
        )


def all_runs() -> list[RunFolder]:
    """Every job's folder, the newest first.

    Raises:
        MachineCannot: the place of the run folders cannot be read.
    """
    try:
        with os.scandir(runs_dir()) as entries:
            found = [(_began(entry.path), entry.path) for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MachineCannot(
            tr("{path}: {reason}.", path=runs_dir(), reason=error.strerror),
            tr("It is where jobs are; set {variable} to another folder.", variable=RUNS_VARIABLE),
        ) from None
    return [RunFolder(Path(path)) for began, path in sorted(found, reverse=True) if began]


def _began(folder: str) -> int:
    """When a job was started; 0 for what is no job. The folder's own time changes with every file in it."""
    try:
        return os.stat(os.path.join(folder, "spec.json")).st_mtime_ns  # noqa: PTH116, PTH118 - paths cost most of the time here
    except OSError:
        return 0


def find_run(name: str) -> RunFolder:
    """A job by its name, or by the beginning of it; "last" is the newest; "NAME/shard-2" is a part of one.

    Raises:
        BadRequest: no such job, or several.
    """
    name, inside, shard = name.partition("/")
    if inside:
        return _shard(find_run(name), shard)
    runs = all_runs()
    if name == "last" and runs:
        return runs[0]
    matching = [run for run in runs if run.name == name] or [run for run in runs if run.name.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise BadRequest(
            tr(
                "Several jobs begin with {name}: {jobs}.",
                name=repr(name),
                jobs=", ".join(run.name for run in matching[:5]),
            ),
            tr("Say more of it."),
        )
    near = did_you_mean(name, [run.name for run in runs])
    raise BadRequest(tr("There is no job {name}.", name=repr(name)), near or tr("`fsgr-tui jobs` lists them."))


def _shard(run: RunFolder, name: str) -> RunFolder:
    """One runner of a job that has several."""
    found = RunFolder(run.folder / name)
    if not name.replace("-", "").isalnum() or not found.spec.exists():
        here = sorted(path.parent.name for path in run.folder.glob("*/spec.json"))
        said = did_you_mean(name, here) or (
            tr("It has {parts}.", parts=", ".join(here[:8])) if here else tr("It has only one part.")
        )
        raise BadRequest(tr("{name} has no part {part}.", name=run.name, part=repr(name)), said)
    return found


def runner_pid(run: RunFolder) -> int | None:
    """The pid of the living runner; None when there is none on this host."""
    proof = life.prove(run.lock)
    if proof.life != "here" or proof.holder is None or proof.holder.host.pid_space != life.this_host().pid_space:
        return None
    return proof.holder.pid
