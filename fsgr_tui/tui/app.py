"""The app: the places and their keys, and what passes between them."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.filter import LineFilter
from textual.screen import Screen

from fsgr_tui.core.plan import Intent, Plan
from fsgr_tui.core.units import Unknown, format_gib, printable
from fsgr_tui.tui.look import THEME
from fsgr_tui.tui.plain import AsciiFilter, ColourlessFilter
from fsgr_tui.tui.screens.place import Place
from fsgr_tui.tui.screens.plan import PlanPlace
from fsgr_tui.tui.services import Services
from fsgr_tui.tui.widgets.chrome import TopWords


class ScreenApp(App[int]):
    """Holds the latest plan and the latest look at the jobs, and hands them to the places."""

    CSS_PATH: ClassVar[str] = "screen.tcss"
    TITLE: ClassVar[str] = "fsgr-tui"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "place('plan')", "Plan", show=False),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False),
    ]

    def __init__(
        self,
        services: Services,
        image_root: str | None,
        features_dir: str,
        *,
        ascii_only: bool = False,
        driver_class: type[Driver] | None = None,
    ) -> None:
        super().__init__(driver_class=driver_class)
        self.services = services
        self.crash = ""
        self.last_words: tuple[str, ...] = ()
        self._plain: list[LineFilter] = ([ColourlessFilter()] if self.no_color else []) + ([AsciiFilter()] if ascii_only else [])
        self._plan_place = PlanPlace(services, Intent(), image_root, features_dir)
        self.animation_level = "none"
        self.register_theme(THEME)
        self.theme = THEME.name

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own filters, and those for terminals that show less; without colour nothing may turn into one."""
        return [*([] if self.no_color else super().get_line_filters()), *self._plain]

    def get_default_screen(self) -> Screen[None]:
        return self._plan_place

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from ()

    def on_plan_place_planned(self, message: PlanPlace.Planned) -> None:
        plan = message.plan
        gpus = plan.machine.gpus
        words = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" if gpus else "no GPU"
        self._plan_place.show_top(TopWords((plan.machine.host.name, words, plan.dataset.root.rpartition("/")[2] or "no images"), 0))

    def _handle_exception(self, error: Exception) -> None:
        """Keep the text of a crash for standard error, where it is printed once the terminal is restored."""
        self.crash = self.crash or "".join(traceback.format_exception(error))
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()
