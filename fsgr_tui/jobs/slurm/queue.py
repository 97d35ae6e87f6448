"""One look at Slurm's queue, shared by all faces through a file in the runs folder.

Dozens of screens, followers and lists on many nodes cost the controller one `squeue` per interval: whoever finds the
file old asks, the others read it. The file also keeps when a job was last in the queue, and what the accounting said.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from fsgr_tui.core import jsontext, slurm
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.slurm import AccountRow, QueueRow
from fsgr_tui.core.slurm_job import Accounting, Seen
from fsgr_tui.jobs.slurm.commands import ASK_S, Answer, Commands, on_cluster

POLL_S = 15.0
"""Never oftener than this, on request neither."""

SLOW_FACTOR = 5.0
"""A controller that takes long to answer is asked seldom: its answers take at most a sixth of the time."""

MOST_S = 300.0
WAIT_S = 0.2
KEPT_S = 7 * 86400.0

_OFF = ("disabled", "not configured", "accounting_storage/none")


class Look(msgspec.Struct, frozen=True):
    """What the last questions gave.

    Attributes:
        asked: Unix time of the last question; answered: of the last one that got an answer.
        took_s: how long it took.
        error: why it got none; failures: how many in a row.
        last_seen: Unix time of the last answer that had a job, by its key.
        accounts: what the accounting said, by key; accounted: when it was last asked.
    """

    asked: float = 0.0
    answered: float | None = None
    took_s: float = 0.0
    error: str = ""
    failures: int = 0
    rows: tuple[QueueRow, ...] = ()
    last_seen: dict[str, float] = {}
    accounts: dict[str, AccountRow] = {}
    accounting: Accounting = "not asked"
    accounted: float = 0.0
    account_failures: int = 0

    def due(self, now: float) -> bool:
        """Whether the queue may be asked again."""
        return _due(now, self.asked, self.took_s, self.failures)

    def seen(self, key: str, name: str) -> Seen:
        """What is known of one job. A row of another name is somebody else's job: ids begin anew in time."""
        row = next((row for row in self.rows if row.key == key and row.name == name), None) if key else None
        account = self.accounts.get(key)
        return Seen(
            row,
            self.last_seen.get(key),
            self.answered,
            self.error,
            account if account is not None and account.name == name else None,
            self.accounting,
        )


def _due(now: float, asked: float, took_s: float, failures: int) -> bool:
    pause = min(MOST_S, max(POLL_S, SLOW_FACTOR * took_s) * 2 ** min(failures, 5))
    # A clock that was set back must not silence the question.
    return not 0 <= now - asked < pause


class Queue:
    """The shared look.

    Args:
        folder: where its file is; one for every runs folder.
        uid: whose jobs.
        cluster: as sbatch named it; empty for the only one.
    """

    def __init__(
        self, folder: Path, uid: int, cluster: str, commands: Commands, clock: Callable[[], float] = time.time
    ) -> None:
        self._file = folder / f"queue-{uid}{f'-{cluster}' if cluster else ''}.json"
        self._uid = uid
        self._cluster = cluster
        self._commands = commands
        self._clock = clock

    def look(self) -> Look:
        """The last look, or a new one when it is time and nobody else is asking."""
        look = self._read()
        return self._locked(look, self._asked_if_due) if look.due(self._clock()) else look

    def fresh(self) -> Look:
        """A look of now, for those who are about to cancel something."""
        began, until = self._clock(), time.monotonic() + ASK_S
        while True:
            look = self._locked(self._read(), self._asked)
            # Somebody who is asking just now began before.
            if look.asked >= began or time.monotonic() > until:
                return look
            time.sleep(WAIT_S)

    def accounts(self, keys: Iterable[str]) -> Look:
        """The look with the accounting's word on some jobs, asked for when it is time."""
        look = self._read()
        ended = {key for key, row in look.accounts.items() if row.state.kind == "ended"}
        wanted = sorted(set(keys) - ended)
        if not wanted or not _due(self._clock(), look.accounted, 0.0, look.account_failures):
            return look
        return self._locked(look, lambda before: self._asked_accounts(before, wanted))

    def _read(self) -> Look:
        try:
            return jsontext.decode(self._file.read_bytes(), Look)
        except (OSError, msgspec.MsgspecError):
            return Look()

    def _locked(self, before: Look, ask: Callable[[Look], Look]) -> Look:
        """Ask while holding the lock; what cannot be kept (a folder of somebody else's) is asked for all the same."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            return ask(before)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Somebody is asking; the last answer has to do.
            return before
        except OSError:
            pass
        else:
            before = self._read()
        try:
            after = ask(before)
            try:
                write_whole(self._file, jsontext.encode(after))
            except OSError:
                return after
            return after
        finally:
            os.close(lock)

    def _asked_if_due(self, before: Look) -> Look:
        # Between the look and the lock somebody else may have asked.
        return self._asked(before) if before.due(self._clock()) else before

    def _asked(self, before: Look) -> Look:
        began, asked = time.monotonic(), self._clock()
        answer = self._commands(
            (
                "squeue",
                *on_cluster(self._cluster),
                "-h",
                "-r",
                "-t",
                "all",
                "-u",
                str(self._uid),
                "-O",
                slurm.QUEUE_FORMAT,
            )
        )
        took = time.monotonic() - began
        if not answer.good:
            return msgspec.structs.replace(
                before, asked=asked, took_s=took, error=answer.why, failures=before.failures + 1
            )
        rows = slurm.parse_queue(answer.out)
        kept = {key: at for key, at in before.last_seen.items() if asked - at < KEPT_S}
        return msgspec.structs.replace(
            before, asked=asked, answered=asked, took_s=took, error="", failures=0, rows=rows,
            last_seen={**kept, **{row.key: asked for row in rows}},
        )  # fmt: skip

    def _asked_accounts(self, before: Look, wanted: list[str]) -> Look:
        asked = self._clock()
        answer = self._commands(
            ("sacct", *on_cluster(self._cluster), "-X", "-n", "-P", "-j", ",".join(wanted), "-o", slurm.ACCOUNT_FORMAT)
        )
        state = _accounting(answer)
        failures = before.account_failures + 1 if state == "unreachable" else 0
        found = {row.key: row for row in slurm.parse_accounts(answer.out)} if answer.good else {}
        return msgspec.structs.replace(
            before, accounts={**before.accounts, **found}, accounting=state, accounted=asked, account_failures=failures
        )


def _accounting(answer: Answer) -> Accounting:
    if answer.good:
        return "ok"
    said = (answer.err + answer.out).lower()
    return "off" if answer.missing or any(word in said for word in _OFF) else "unreachable"
