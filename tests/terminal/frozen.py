"""The screen with frozen facts on the real terminal: for what must not depend on how busy this machine is."""

from __future__ import annotations

import math
import sys
import threading
import time
from dataclasses import replace
from typing import ClassVar

import msgspec
from textual.binding import Binding, BindingType

from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import new_run
from fsgr_tui.tui.app import ScreenApp
from fsgr_tui.tui.order import Ready
from fsgr_tui.tui.run import run_app
from fsgr_tui.tui.seen import JobCourse, JobsSeen
from fsgr_tui.tui.services import Services, real_services
from fsgr_tui.tui.stream import first_environment, shows_unicode
from fsgr_tui.tui.terminal import TerminalDriver
from tests.fakes.screen import FEATURES, ROOT, RUNNING, World


class Crashing(ScreenApp):
    """Has a fault of its own in a handler."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("x", "fail", "Fail")]

    def action_fail(self) -> None:
        raise RuntimeError("a fault made for the test")


def services(world: World) -> Services:
    """Frozen facts; with `jobs`, real jobs that sleep; with `live`, a job whose numbers change at every look."""
    if "stuck" in sys.argv:
        world.hold = threading.Event()
    if "live" in sys.argv:
        return replace(world.services(), jobs=Live().look)
    if "jobs" not in sys.argv:
        return world.services()
    return replace(world.services(), jobs=real_services().jobs, stop=real_services().stop, start=start_sleeping)


class Live:
    """A job that goes on with time, as a real one does."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._rates: list[float] = []

    def look(self, _chosen: str) -> JobsSeen:
        """The job as it stands now."""
        passed_s = time.monotonic() - self._began
        rate = 480 + 40 * math.sin(passed_s)
        self._rates = [*self._rates, rate][-400:]
        stages = {"decode": 0.5 + 0.1 * math.sin(passed_s), "encode": 0.97, "write": 0.03}
        progress = msgspec.structs.replace(
            RUNNING.progress, step=int(41_200 + 500 * passed_s), rate=rate, eta_s=160 - passed_s, stages=stages
        )
        status = msgspec.structs.replace(RUNNING, progress=progress)
        log = tuple(f"step {number} loss 2.31" for number in range(int(10 * passed_s) - 20, int(10 * passed_s)))
        return JobsSeen((status,), JobCourse(RUNNING.name, tuple(self._rates), log))


def start_sleeping(_ready: Ready) -> str:
    run = new_run("extract")
    control.start(run, "extract", ("sleep", "120"), ("fsgr-tui", "extract"))
    return run.name


def main() -> int:
    kind = Crashing if "crash" in sys.argv else ScreenApp
    ascii_only = not shows_unicode(sys.stdout, first_environment())
    return run_app(kind(services(World()), ROOT, FEATURES, ascii_only=ascii_only, driver_class=TerminalDriver))


sys.exit(main())
