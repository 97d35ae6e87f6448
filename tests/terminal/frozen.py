"""The screen with frozen facts on the real terminal: for what must not depend on how busy this machine is."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType

from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import new_run
from fsgr_tui.service.extraction import Prepared
from fsgr_tui.tui.app import ScreenApp
from fsgr_tui.tui.plain import first_environment, shows_unicode
from fsgr_tui.tui.run import run_app
from fsgr_tui.tui.services import Services, real_services
from fsgr_tui.tui.terminal import TerminalDriver
from tests.fakes.screen import FEATURES, ROOT, World


class Crashing(ScreenApp):
    """Has a fault of its own in a handler."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("x", "fail", "Fail")]

    def action_fail(self) -> None:
        raise RuntimeError("a fault made for the test")


def services(world: World) -> Services:
    """Frozen facts; with `jobs`, real jobs that sleep."""
    if "stuck" in sys.argv:
        world.hold = threading.Event()
    if "jobs" not in sys.argv:
        return world.services()
    return replace(world.services(), jobs=real_services().jobs, stop=real_services().stop, start=start_sleeping)


def start_sleeping(_prepared: Prepared) -> str:
    run = new_run("extract")
    control.start(run, "extract", ("sleep", "120"), ("fsgr-tui", "extract"))
    return run.name


def main() -> int:
    kind = Crashing if "crash" in sys.argv else ScreenApp
    ascii_only = not shows_unicode(sys.stdout, first_environment())
    return run_app(kind(services(World()), ROOT, FEATURES, ascii_only=ascii_only, driver_class=TerminalDriver))


sys.exit(main())
