"""The terminal: written to without ever waiting for it, left in order, and given up when it is gone."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.drivers.linux_driver import LinuxDriver

from fsgr_tui.core.errors import EXIT_HUNG_UP, EXIT_TERMINATED

if TYPE_CHECKING:
    from textual.app import App

BACKLOG_CHARS = 200_000
"""More than a full repaint of 200x50 in true colour; beyond it a reader is so slow that frames are dropped."""

GONE_POLL_MS = 1000
POINTER_SHAPE = "\x1b]22;"
LAST_WORDS_S = 1.0


class TerminalWriter(threading.Thread):
    """Writes to the terminal from a thread of its own. A slow reader costs frames, never the event loop.

    Args:
        caught_up: called from the thread when frames were dropped and the terminal reads again.
    """

    def __init__(self, fileno: int, encoding: str, caught_up: Callable[[], None]) -> None:
        super().__init__(daemon=True, name="terminal-output")
        self._fileno = fileno
        self._encoding = encoding
        self._caught_up = caught_up
        self._pending: list[str] = []
        self._size = 0
        self._dropped = False
        self._closed = False
        self._ready = threading.Condition()

    def write(self, text: str, *, must: bool = False) -> None:
        """Hand text over; returns at once.

        Args:
            text: escapes and text.
            must: text that may not be dropped, as what restores the terminal.
        """
        with self._ready:
            if must and self._dropped:
                self._pending.clear()
            elif not must and (self._dropped or self._size + len(text) > BACKLOG_CHARS):
                self._dropped = True
                return
            self._pending.append(text)
            self._size += len(text)
            self._ready.notify()

    def run(self) -> None:
        """Write until closed, or until the terminal is gone."""
        while True:
            with self._ready:
                while not self._pending and not self._closed:
                    self._ready.wait()
                if not self._pending:
                    return
                chunk = "".join(self._pending)
                self._pending.clear()
            if not self._put(chunk.encode(self._encoding, "replace")):
                return
            with self._ready:
                self._size = sum(map(len, self._pending))
                behind = self._dropped and not self._pending
                self._dropped = self._dropped and not behind
            if behind:
                self._caught_up()

    def close(self) -> None:
        """Write what is pending, but do not wait long for a terminal that does not read."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        if self.is_alive():
            self.join(LAST_WORDS_S)

    def _put(self, data: bytes) -> bool:
        while data:
            try:
                data = data[os.write(self._fileno, data) :]
            except BlockingIOError:
                select.select([], [self._fileno], [])
            except OSError:
                # The terminal is gone; the driver's watch ends the screen.
                return False
        return True


class TerminalDriver(LinuxDriver):
    """Textual's driver for Unix, with some differences.

    It writes to standard output (Textual writes to standard error, which users redirect), it does not wait for the
    terminal, and it notices that the terminal is gone: reading from it then gives nothing, at once and for ever.
    """

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        stream = sys.__stdout__
        if stream is None:
            raise RuntimeError("there is no standard output")
        self._file = self._stream = stream
        self._writer: TerminalWriter | None = None
        self._watching = threading.Event()

    def _get_terminal_size(self) -> tuple[int, int]:
        """Columns and lines of the terminal itself.

        Textual believes COLUMNS and LINES where they are exported, which do not change with the window.
        """
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except OSError:
            return super()._get_terminal_size()
        return (size.columns or 80, size.lines or 24)

    def start_application_mode(self) -> None:
        """Take the terminal."""
        self._writer = TerminalWriter(self._stream.fileno(), self._stream.encoding, self._repaint)
        self._writer.start()
        self._watching.clear()
        threading.Thread(target=self._watch, daemon=True, name="terminal-watch").start()
        super().start_application_mode()  # type: ignore[no-untyped-call]  # it has no annotations

    def stop_application_mode(self) -> None:
        """Give the terminal back as it was."""
        self._watching.set()
        super().stop_application_mode()

    def resume_application_mode(self) -> None:
        """Take the terminal again, and paint all of it: it was cleared in the meantime."""
        super().resume_application_mode()
        self._repaint()

    def write(self, data: str) -> None:
        """Hand data to the writer; what is written while leaving is never dropped."""
        # Shapes of the mouse pointer: text on terminals that do not know the sequence, such as the Linux console.
        if self._writer is not None and not data.startswith(POINTER_SHAPE):
            self._writer.write(data, must=self._watching.is_set())

    def close(self) -> None:
        """End the writer."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        super().close()

    def run_input_thread(self) -> None:
        """Read keys until told to stop."""
        try:
            super().run_input_thread()
        except OSError:
            self._gone()

    def _watch(self) -> None:
        """Wait for the terminal's end: a poll that asks for no event is still told of a hang-up."""
        poller = select.poll()
        poller.register(self.fileno, 0)
        while not self._watching.is_set():
            if poller.poll(GONE_POLL_MS):
                self._gone()
                return

    def _gone(self) -> None:
        if not self._watching.is_set():
            # The input thread spins on a dead terminal until it is told to stop.
            self.exit_event.set()
            self._loop.call_soon_threadsafe(leave, self._app, EXIT_HUNG_UP)

    def _repaint(self) -> None:
        self._loop.call_soon_threadsafe(self._app.refresh)


def leave(app: App[Any], code: int) -> None:
    """End the app through its driver, which restores the terminal."""
    app.exit(return_code=code)


def leave_on_signals(app: App[Any]) -> None:
    """Turn SIGTERM and SIGHUP into an orderly end. Call it from the running event loop."""
    import asyncio

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, leave, app, EXIT_TERMINATED)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # Under nohup the signal stays ignored; the driver's watch ends the screen with its terminal.
        loop.add_signal_handler(signal.SIGHUP, leave, app, EXIT_HUNG_UP)
