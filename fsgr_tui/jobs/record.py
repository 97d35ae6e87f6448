"""The record: what a runner knows of its job, kept in the run folder by a thread of its own.

Writing and reading happen on that thread alone, so that a disk that is slow, full or gone holds up neither the job nor
the signals that stop it.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from fsgr_tui.core.files import write_whole
from fsgr_tui.core.job import Cause, JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import format_duration
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.jobs.processes import Process
from fsgr_tui.jobs.tree import noted

POLL_S = 0.2
WRITE_S = 0.5
HEARTBEAT_S = 10.0
NOTE_S = 2.0
"""How often the job's processes are noted: what starts and hides itself in between is found by its mark alone."""

RETRY_S = 1.0
GIVE_UP_S = 3.0
"""How long a disk that gives no answer holds up the end of a job that was told to end at once."""

NOTICES_KEPT = 20


class Watching(Protocol):
    """What looks at the running job; see `jobs.watch.Watch`."""

    has_result: bool

    def look(self, status: JobStatus) -> JobStatus:
        """The status with all that is new."""
        ...

    def cause(self, status: JobStatus, return_code: int) -> Cause | None:
        """Why the job ended badly."""
        ...

    def ended(self, status: JobStatus) -> None:
        """The job has ended, with this status; called once."""
        ...


class Record:
    """The status of one job, written when it changes and now and then as a sign of life.

    The fields that the runner sets by `change` stand above those that the watch folds in.
    """

    def __init__(self, run: RunFolder, status: JobStatus, beat: Callable[[], None]) -> None:
        self._run = run
        self._seen = status
        self._own: dict[str, Any] = {}
        self._said: list[str] = []
        self._beat = beat
        self._watch: Watching | None = None
        self._members: Callable[[], list[Process]] | None = None
        self._noted = b""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._changed = True
        self._written_at = self._beat_at = self._noted_at = -HEARTBEAT_S
        self._failing_since: float | None = None
        self._watch_failed = False
        self._thread = threading.Thread(target=self._keep, name="record", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    @property
    def status(self) -> JobStatus:
        """The status as it stands now, written or not."""
        with self._lock:
            return self._whole()

    def _whole(self) -> JobStatus:
        notices = (*self._seen.notices, *self._said)[-NOTICES_KEPT:]
        return msgspec.structs.replace(self._seen, **self._own, notices=notices)

    def change(self, **fields: object) -> None:
        """Set fields of the status; they are written soon."""
        with self._lock:
            self._own.update(fields)
            self._changed = True
        self._wake.set()

    def notice(self, text: str) -> None:
        """Add something that a person should know."""
        with self._lock:
            self._said.append(text)
            self._changed = True

    def follow(self, watch: Watching, members: Callable[[], list[Process]]) -> None:
        """Look at the running job from now on.

        Args:
            members: gives the job's processes, which are noted for the case that the runner is killed.
        """
        self._watch, self._members = watch, members

    def end(self, final: Callable[[JobStatus], dict[str, object]], give_up: Callable[[], bool]) -> JobStatus:
        """Look a last time, write the last status, and return it; waits for a disk that takes nothing.

        Args:
            final: the last fields, from all that was seen.
            give_up: asked while the disk takes nothing, or gives no answer.
        """
        self._ending = True
        self._wake.set()
        looked = _joined(self._thread, give_up)
        last = threading.Thread(target=self._write_last, args=(final, give_up, looked), name="last word", daemon=True)
        last.start()
        _joined(last, give_up)
        return self.status

    def _write_last(
        self, final: Callable[[JobStatus], dict[str, object]], give_up: Callable[[], bool], looked: bool
    ) -> None:
        if looked:
            self._look()
        self.change(**final(self.status))
        while not self._write() and not give_up():
            time.sleep(RETRY_S)

    def _keep(self) -> None:
        while not self._ending:
            self._wake.wait(POLL_S)
            self._wake.clear()
            self._look()
            now = time.monotonic()
            self._give_signs(now)
            pause = RETRY_S if self._failing_since is not None else WRITE_S if self._changed else HEARTBEAT_S
            if now - self._written_at >= pause:
                self._write()

    def _look(self) -> None:
        if self._watch is None:
            return
        with self._lock:
            before = msgspec.structs.replace(self._seen, **self._own)
        try:
            after = self._watch.look(before)
        except Exception as error:  # noqa: BLE001 - a fault in reading the job's output must not end the job
            if not self._watch_failed:
                self._watch_failed = True
                traceback.print_exc()
                self.notice(
                    tr("What the job tells cannot be read: {name}: {error}.", name=type(error).__name__, error=error)
                )
            return
        if after is not before:
            with self._lock:
                # What the runner itself said meanwhile stays.
                self._seen = after
                self._changed = True

    def _give_signs(self, now: float) -> None:
        try:
            if now - self._beat_at >= HEARTBEAT_S:
                self._beat_at = now
                self._beat()
            if self._members is not None and now - self._noted_at >= NOTE_S:
                self._noted_at = now
                if (body := noted(self._members())) != self._noted:
                    write_whole(self._run.processes, body)
                    self._noted = body
        except OSError as error:
            print(f"no sign of life: {error}", file=sys.stderr)  # noqa: T201 - the runner's own log

    def _write(self) -> bool:
        now = time.monotonic()
        self._written_at = now
        with self._lock:
            self._changed = False
            status = msgspec.structs.replace(self._whole(), heartbeat=time.time())
        try:
            self._run.write_status(status)
        except OSError as error:
            if self._failing_since is None:
                self._failing_since = now
                print(f"status not written: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the runner's own log
            self._changed = True
            return False
        if self._failing_since is not None:
            since, self._failing_since = now - self._failing_since, None
            self.notice(
                tr(
                    "The disk of the run folder took nothing for {time}; the job went on. What it printed meanwhile is in the "
                    "log, or counted there.",
                    time=format_duration(since),
                )
            )
        return True


def _joined(thread: threading.Thread, give_up: Callable[[], bool]) -> bool:
    """Wait for a thread in short waits, between which signals are taken; False when it was given up."""
    given_up_at: float | None = None
    while thread.is_alive():
        thread.join(POLL_S)
        if given_up_at is None and give_up():
            given_up_at = time.monotonic()
        if given_up_at is not None and time.monotonic() - given_up_at > GIVE_UP_S:
            return False
    return True
