"""The screen with frozen facts on the real terminal: for what must not depend on how busy this machine is."""

from __future__ import annotations

import sys
from typing import ClassVar

from textual.binding import Binding, BindingType

from fsgr_tui.tui.app import ScreenApp
from fsgr_tui.tui.plain import first_environment, shows_unicode
from fsgr_tui.tui.run import run_app
from fsgr_tui.tui.terminal import TerminalDriver
from tests.fakes.screen import FEATURES, ROOT, World


class Crashing(ScreenApp):
    """Has a fault of its own in a handler."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("x", "fail", "Fail")]

    def action_fail(self) -> None:
        raise RuntimeError("a fault made for the test")


def main() -> int:
    kind = Crashing if "crash" in sys.argv else ScreenApp
    world = World()
    ascii_only = not shows_unicode(sys.stdout, first_environment())
    return run_app(kind(world.services(), ROOT, FEATURES, ascii_only=ascii_only, driver_class=TerminalDriver))


sys.exit(main())
