"""The real program on a pseudo-terminal: every byte that it sends is kept, with the time of its arrival."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from typing import Any

from typing_extensions import Self

LEFT = b"\x1b[?1049l"
ESCAPE = re.compile(rb"\x1b\[[0-9;?<>=]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\x1b[=>]")


class Session:
    """One run of the program."""

    def __init__(
        self,
        args: list[str],
        env: Mapping[str, str],
        cwd: str,
        *,
        size: tuple[int, int] = (80, 24),
        ignore_hangup: bool = False,
        module: str = "fsgr_tui",
    ) -> None:
        self.master, slave = pty.openpty()
        self.resize(*size)
        self.modes_before = termios.tcgetattr(slave)
        self.output = b""
        self.began = time.monotonic()

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignore_hangup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *args], stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=dict(env),
            preexec_fn=own_terminal,
        )  # fmt: skip
        self._slave = slave

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.kill()
        for fd in (self.master, self._slave):
            with contextlib.suppress(OSError):
                os.close(fd)

    def read_for(self, seconds: float) -> bytes:
        """What arrives within some time."""
        until, got = time.monotonic() + seconds, b""
        while (left := until - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                try:
                    chunk = os.read(self.master, 65536)
                except OSError:
                    break
                got += chunk
        self.output += got
        return got

    def wait_for(self, text: str, seconds: float = 15.0) -> float:
        """Read until a text has arrived; returns the seconds since the start."""
        begin = len(self.output)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.read_for(0.02)
            if text in plain(self.output[max(0, begin - 4000) :]):
                return time.monotonic() - self.began
        raise AssertionError(f"{text!r} did not arrive; the last was {plain(self.output)[-2000:]!r}")

    def settle(self, quiet_s: float = 1.5, most_s: float = 20.0) -> None:
        """Read until nothing has come for a while."""
        until = time.monotonic() + most_s
        while time.monotonic() < until and self.read_for(quiet_s):
            pass

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def end(self, seconds: float = 10.0) -> int:
        """Read until the process has ended; its exit code."""
        until = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < until:
            self.read_for(0.05)
        self.read_for(0.2)
        assert self.process.poll() is not None, "the program did not end"
        return int(self.process.returncode)

    def hang_up(self) -> None:
        """Take the terminal away."""
        os.close(self.master)
        os.close(self._slave)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    @property
    def modes(self) -> list[Any]:
        return termios.tcgetattr(self._slave)

    def assert_restored(self) -> None:
        """The terminal is as it was before: main screen, cursor shown, no mouse reports, and a sane line discipline."""
        tail = self.output[max(0, self.output.rindex(LEFT) - 200) :]
        for wanted in (b"\x1b[?1000l", b"\x1b[?1003l", b"\x1b[?1006l", b"\x1b[?2004l", LEFT, b"\x1b[?25h"):
            assert wanted in tail, f"{wanted!r} was not sent: {tail!r}"
        after = self.output[self.output.rindex(LEFT) :]
        assert b"\x1b[?25l" not in after
        assert b"h" not in b"".join(found for found in ESCAPE.findall(after) if found != b"\x1b[?25h")
        assert self.modes == self.modes_before


def plain(output: bytes) -> str:
    """The text without escapes."""
    return ESCAPE.sub(b"", output).decode("utf-8", "replace")


def environment(home: str, **changes: str | None) -> dict[str, str]:
    """A clean environment with a home of its own; None takes a variable away."""
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "COLORTERM", "LC_ALL", "LC_CTYPE", "TMUX")
    }
    env |= {
        "HOME": home,
        "FSGR_TUI_STATE": f"{home}/state/fsgr-tui",
        "FSGR_TUI_RUNS": f"{home}/runs",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
    }
    for name, value in changes.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env
