"""Run folders: one folder per job, found again by any later face.

spec.json     what to run (whole, written once)
status.json   how it stands (whole-file replacement)
events.jsonl  what the product's own children tell, one JSON line each
log           the child's output
lock          held by the living runner; holds its pid and start time
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from pathlib import Path

import msgspec
from platformdirs import user_state_path

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import BadRequest, MachineCannot, did_you_mean
from fsgr_tui.core.job import Cause, JobSpec, JobStatus

RUNS_VARIABLE = "FSGR_TUI_RUNS"


def runs_dir() -> Path:
    """Where run folders are: $FSGR_TUI_RUNS, else the user's state folder."""
    named = os.environ.get(RUNS_VARIABLE)
    return Path(named) if named else user_state_path("fsgr-tui", appauthor=False) / "runs"


class RunFolder:
    """The files of one job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spec = folder / "spec.json"
        self.status = folder / "status.json"
        self.events = folder / "events.jsonl"
        self.log = folder / "log"
        self.lock = folder / "lock"

    @property
    def name(self) -> str:
        """The job's name."""
        return self.folder.name

    def read_spec(self) -> JobSpec:
        """What the job runs.

        Raises:
            BadRequest: the spec is missing or damaged.
        """
        try:
            return jsontext.decode(self.spec.read_bytes(), JobSpec)
        except (OSError, msgspec.MsgspecError) as error:
            raise BadRequest(f"{self.spec} cannot be read: {error}.", "Delete the run folder.") from None

    def write_status(self, status: JobStatus) -> None:
        """Replace the status whole."""
        write_whole(self.status, jsontext.encode(status))

    def read_status(self) -> JobStatus:
        """How the job stands: the runner's own word while its lock is held, or what its absence means.

        Raises:
            BadRequest: the folder holds no status.
        """
        try:
            status = jsontext.decode(self.status.read_bytes(), JobStatus)
        except (OSError, msgspec.MsgspecError) as error:
            raise BadRequest(f"{self.status} cannot be read: {error}.", "Delete the run folder.") from None
        if status.ended_for_good or runner_pid(self) is not None:
            return status
        if status.state == "queued" and time.time() - (self.read_spec().created or 0) < 10:
            # The runner has been started, and has not taken its lock yet.
            return status
        cause = Cause(
            "runner gone",
            "The runner ended without a word: killed, logged out, or the machine went down.",
            advice="What was finished is kept; run the same command again, with --resume where it has one.",
        )
        return msgspec.structs.replace(status, state="interrupted", cause=status.cause or cause)


def new_run(kind: str) -> RunFolder:
    """Make the folder of a new job, with a name that sorts by time.

    Raises:
        MachineCannot: the folder cannot be made.
    """
    while True:
        name = f"{kind}-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        folder = runs_dir() / name
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise MachineCannot(
                f"The run folder {folder} cannot be made: {error.strerror}.",
                f"Set {RUNS_VARIABLE} to a folder that can be written.",
            ) from None
        return RunFolder(folder)


def all_runs() -> list[RunFolder]:
    """Every job's folder, the newest first."""
    try:
        folders = [entry for entry in runs_dir().iterdir() if (entry / "spec.json").is_file()]
    except FileNotFoundError:
        return []
    return [RunFolder(folder) for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime_ns, reverse=True)]


def find_run(name: str) -> RunFolder:
    """A job by its name, or by the beginning of it; "last" is the newest.

    Raises:
        BadRequest: no such job, or several.
    """
    runs = all_runs()
    if name == "last" and runs:
        return runs[0]
    matching = [run for run in runs if run.name == name] or [run for run in runs if run.name.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise BadRequest(
            f"Several jobs begin with {name!r}: {', '.join(run.name for run in matching[:5])}.", "Say more of it."
        )
    near = did_you_mean(name, [run.name for run in runs])
    raise BadRequest(f"There is no job {name!r}.", near or "`fsgr-tui jobs` lists them.")


def runner_pid(run: RunFolder) -> int | None:
    """The pid of the living runner; None when nobody holds the lock."""
    try:
        fd = os.open(run.lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        pid, _, started = os.pread(fd, 64, 0).decode(errors="replace").partition(" ")
        # The lock proves life on this host; the start time proves that the pid still is that process.
        return int(pid) if pid.isdigit() and process_start(int(pid)) == started.strip() else None
    finally:
        os.close(fd)
    return None


def process_start(pid: int) -> str:
    """When a process started, in clock ticks since boot as the kernel counts; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    # The second field is the name in parentheses and may hold anything, so count from behind it.
    return re.sub(r"^.*\) ", "", stat, flags=re.DOTALL).split()[19]


def write_whole(path: Path, body: bytes) -> None:
    """Replace a file whole: a draft beside it, synced, then renamed."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with draft.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
