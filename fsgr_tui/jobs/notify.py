"""Telling a person: a command of the user's, run at alarms and at a job's end.

FSGR_TUI_NOTIFY holds the command, as a JSON list or as words (quoted like in a shell, but no shell runs them). It gets
the words STATE, JOB and TEXT behind its own, and a JSON document on standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any, Final

from fsgr_tui.core import jsontext
from fsgr_tui.jobs.processes import JOB_VARIABLE

NOTIFY_VARIABLE: Final = "FSGR_TUI_NOTIFY"
DEADLINE_S: Final = 20.0
AT_ONCE: Final = 4
"""Messages whose command has not ended; more are left out, so that a command that hangs does not pile up."""

SCHEMA: Final = "fsgr-tui/notice/1"


class Notifier:
    """Runs the user's command without waiting for it; a fault of it is said once and harms nothing."""

    def __init__(self, environment: Mapping[str, str] | None = None, deadline_s: float = DEADLINE_S) -> None:
        self._argv = command((environment if environment is not None else os.environ).get(NOTIFY_VARIABLE, ""))
        self._deadline_s = deadline_s
        self._running: list[tuple[float, subprocess.Popen[bytes]]] = []
        self._told = False

    def send(self, state: str, job: str, text: str, document: Mapping[str, Any]) -> None:
        """Start the command, if there is one.

        Args:
            state: "alarm", "warning", or the state that the job ended in.
            document: what goes to standard input, beside these.
        """
        if not self._argv:
            return
        self.poll()
        if len(self._running) >= AT_ONCE:
            self._complain(f"{self._argv[0]} hangs; a message was left out")
            return
        body = jsontext.encode({"schema": SCHEMA, "state": state, "job": job, "text": text, **document})
        try:
            # A file, not a pipe: the command may never read it.
            with tempfile.TemporaryFile() as file:
                file.write(body)
                file.seek(0)
                process = subprocess.Popen(
                    [*self._argv, state, job, text.replace("\0", "")],
                    stdin=file, stdout=subprocess.DEVNULL, stderr=sys.stderr.fileno() if _has_fd(sys.stderr) else None,
                    # A mark of its own: it is none of the job's processes, which are ended with the job.
                    env={**os.environ, JOB_VARIABLE: "notice"},
                    start_new_session=True,
                )  # fmt: skip
        except (OSError, ValueError) as error:
            self._complain(f"{self._argv[0]} cannot be run: {error}")
            return
        self._running.append((time.monotonic() + self._deadline_s, process))

    def poll(self) -> None:
        """Bury commands that have ended, and end those that take too long."""
        left = []
        for deadline, process in self._running:
            if process.poll() is not None:
                continue
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, 9)
                process.wait()
                self._complain(f"{self._argv[0]} took more than {self._deadline_s:.0f} s")
                continue
            left.append((deadline, process))
        self._running = left

    def finish(self) -> None:
        """Wait for what runs, until its deadline."""
        while self._running:
            self.poll()
            time.sleep(0.02)

    def _complain(self, text: str) -> None:
        if not self._told:
            self._told = True
            print(f"{NOTIFY_VARIABLE}: {text}", file=sys.stderr)  # noqa: T201 - the runner's own log


def command(setting: str) -> list[str]:
    """The words of a setting; none for an empty one, or one that is no list of words."""
    setting = setting.strip()
    if not setting:
        return []
    try:
        words = json.loads(setting) if setting.startswith("[") else shlex.split(setting)
    except ValueError:
        return []
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else []


def _has_fd(stream: Any) -> bool:
    try:
        stream.fileno()
    except (OSError, ValueError, AttributeError):
        return False
    return True
