"""Running the app on the real terminal: from taking it to leaving it in order, whatever happens."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fsgr_tui.core.errors import EXIT_FOUND_FAULTS, EXIT_OK
from fsgr_tui.core.language import tr
from fsgr_tui.core.plan import Intent
from fsgr_tui.core.units import printable
from fsgr_tui.jobs.state import state_dir
from fsgr_tui.tui.app import ScreenApp
from fsgr_tui.tui.intent_form import Wanted
from fsgr_tui.tui.remembered import load
from fsgr_tui.tui.services import real_services
from fsgr_tui.tui.stream import first_environment, shows_unicode
from fsgr_tui.tui.terminal import TerminalDriver, leave_on_signals

DEFAULT_FEATURES_DIR = "features"
WORKERS_MAY_END_S = 0.3


def run_screen(image_root: str | None, features_dir: str | None) -> int:
    """Show the screen of this machine; returns the exit code."""
    return run_app(real_app(image_root, features_dir))


def real_app(image_root: str | None, features_dir: str | None) -> ScreenApp:
    """The app on this machine's services and this process's terminal.

    What was planned in this folder before comes back, unless another place is named now.
    """
    remembered = load()
    kept = remembered.wanted(str(Path.cwd()))
    if kept and (image_root not in (None, kept.image_root) or features_dir not in (None, kept.features_dir)):
        kept = None
    wanted = kept or Wanted(Intent(), image_root, features_dir or DEFAULT_FEATURES_DIR)
    ascii_only = not shows_unicode(sys.stdout, first_environment())
    return ScreenApp(
        real_services(),
        wanted.image_root,
        wanted.features_dir,
        intent=wanted.intent,
        remembered=remembered,
        ascii_only=ascii_only,
        driver_class=TerminalDriver,
    )


def run_app(app: ScreenApp) -> int:
    """Run an app to its end; returns the exit code.

    A worker that waits for a disk which does not answer cannot be ended, and Python would wait for it at exit; so the
    process ends itself when one is left.
    """
    workers = ThreadPoolExecutor(8, "worker")
    loop = asyncio.new_event_loop()
    loop.set_default_executor(workers)
    loop.call_soon(leave_on_signals, app)
    app.run(loop=loop)
    workers.shutdown(wait=False, cancel_futures=True)
    code = EXIT_FOUND_FAULTS if app.crash else app.return_code or EXIT_OK
    if app.crash:
        _tell_crash(app.crash)
    for line in app.last_words:
        print(printable(line))  # noqa: T201 - said on the terminal that the screen has left
    _end_with_workers(code)
    return code


def _tell_crash(crash: str) -> None:
    folder = state_dir()
    path = folder / time.strftime("crash-%Y%m%d-%H%M%S.log")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(crash, encoding="utf-8", errors="backslashreplace")
        kept = tr("This text is in {path}.", path=path)
    except OSError as error:
        kept = tr("This text could not be kept in {path}: {reason}.", path=path, reason=error.strerror)
    ended = tr("the screen ended by a fault of its own; jobs are not touched.")
    sys.stderr.write(f"{crash}\nfsgr-tui: {ended} {kept}\n")


def _end_with_workers(code: int) -> None:
    until = time.monotonic() + WORKERS_MAY_END_S
    while _left_behind() and time.monotonic() < until:
        time.sleep(0.02)
    if _left_behind():
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _left_behind() -> bool:
    return any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate())
