"""The real program in a real tmux: keys go in, the screen comes out as text."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from typing_extensions import Self

PATIENCE_S = 90.0
"""Tests run on every core at once, and an extraction loads torch."""


class Tmux:
    """A tmux server of its own with one session, in which the program runs."""

    def __init__(self, socket: Path, args: list[str], env: Mapping[str, str], cwd: Path, size: tuple[int, int]) -> None:
        self._socket, self._env, self._cwd = socket, dict(env), cwd
        self._program = shlex.join([sys.executable, "-m", "fsgr_tui", *args])
        self._size = size

    def __enter__(self) -> Self:
        width, height = map(str, self._size)
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, "-s", "main", self._program)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._tmux("kill-server", check=False)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: `Down`, `C-s`, `2`."""
        self._tmux("send-keys", "-t", "main", *keys)

    def fill(self, label: str, text: str) -> None:
        """Put a text into the field in focus, which has this label, in place of what it held.

        Textual inserts a letter at once, but hands a control key on first: the pauses keep them in order. A machine that
        was too busy for that gets another chance.
        """
        for _ in range(5):
            for key in ("C-e", "C-u"):
                self.press(key)
                time.sleep(0.5)
            self._tmux("send-keys", "-t", "main", "-l", text)
            time.sleep(1)
            if re.search(rf"{label}\s+{re.escape(text)}\s", self.shown()):
                return
        raise AssertionError(f"{label} did not become {text}:\n{self.shown()}")

    def shown(self) -> str:
        """The screen as text; what tmux says where it has ended."""
        return self._tmux("capture-pane", "-p", "-t", "main", check=False)

    def wait_for(self, *words: str, without: str = "\0") -> str:
        """Wait until all of these words are on the screen, and one is gone from it; gives the screen."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            shown = self.shown()
            if without not in shown and all(word in shown for word in words):
                return shown
            time.sleep(0.2)
        raise AssertionError(f"{words} did not come; the last was\n{self.shown()}")

    def wait_for_line(self, *words: str) -> None:
        """Wait until one line of the screen has all of these words."""
        until = time.monotonic() + PATIENCE_S
        while not any(all(word in line for word in words) for line in self.shown().splitlines()):
            assert time.monotonic() < until, f"no line has {words}; the last was\n{self.shown()}"
            time.sleep(0.2)

    def press_until(self, key: str, *words: str) -> str:
        """A key, and what it leads to."""
        self.press(key)
        return self.wait_for(*words)

    def kill_session(self) -> None:
        """Take the terminal away, as a closed connection without tmux does: the program gets SIGHUP."""
        self._tmux("kill-session", "-t", "main")

    def _tmux(self, *args: str, check: bool = True) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", str(self._socket), *args],
            env=self._env, cwd=self._cwd, capture_output=True, text=True, timeout=30, check=check,
        )  # fmt: skip
        return done.stdout + done.stderr
