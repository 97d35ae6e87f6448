"""What all places share: the frame around their body, and the sizes at which their layout changes."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.events import ScreenResume
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from fsgr_tui.core.language import mark
from fsgr_tui.core.plan import Plan
from fsgr_tui.tui.seen import JobsSeen
from fsgr_tui.tui.widgets.choice import Choice
from fsgr_tui.tui.widgets.chrome import LEAST_HEIGHT, LEAST_WIDTH, KeyLine, NoRoom, TopLine, TopWords

WIDTHS = ((0, "-no-width"), (LEAST_WIDTH, "-narrow"), (80, "-normal"), (110, "-wide"), (160, "-huge"))
HEIGHTS = ((0, "-no-height"), (LEAST_HEIGHT, "-low"), (32, "-tall"))

_LIBRARY_KEYS = {
    key
    for binding in (*Screen.BINDINGS, *App.BINDINGS)
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
}


def own_keys(screen: Screen[Any]) -> list[ActiveBinding]:
    """The keys of the place and the program that do something now, without those of the library's widgets."""
    return [
        active
        for active in screen.active_bindings.values()
        if isinstance(active.node, (Screen, App))
        and active.enabled
        and active.binding.description
        and active.binding.action != "command_palette"
        and active.binding.key not in _LIBRARY_KEYS
    ]


class Place(Screen[None]):
    """One of the numbered places.

    Attributes:
        NAME: as in `first_frame.PLACES`; marked for translation, like all three.
        ABOUT: what it shows; help says it.
        MORE_KEYS: (key, what it does) of keys that are no bindings of the place itself.
    """

    NAME: ClassVar[str] = ""
    ABOUT: ClassVar[str] = ""
    MORE_KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()
    HORIZONTAL_BREAKPOINTS = list(WIDTHS)  # noqa: RUF012 - declared by Textual
    VERTICAL_BREAKPOINTS = list(HEIGHTS)  # noqa: RUF012 - as above
    ESCAPE_TO_MINIMIZE = False
    ALLOW_IN_MAXIMIZED_VIEW: ClassVar[str | None] = "TopLine, KeyLine"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("z", "enlarge", mark("Enlarge")),
        Binding("escape", "let_go", mark("Back"), key_display="Esc"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._top = TopLine(self.NAME)
        self._resumed = False

    def compose(self) -> ComposeResult:
        """The body in its frame."""
        yield self._top
        yield from self.body()
        yield KeyLine()
        yield NoRoom()

    def body(self) -> ComposeResult:
        """The place's own widgets."""
        raise NotImplementedError

    def on_screen_resume(self, event: ScreenResume) -> None:
        """Keep the styles as they were left; a change of theme or size brings its own. To make all anew takes 20 ms."""
        event.refresh_styles = not self._resumed
        self._resumed = True

    def show_top(self, words: TopWords) -> None:
        """Fill the top line."""
        self._top.show(words)

    def show_plan(self, plan: Plan, features_dir: str) -> None:
        """Know the latest plan, where it matters."""

    def show_jobs(self, seen: JobsSeen) -> None:
        """Know how the jobs stand, where it matters."""

    def point_at(self, what: str) -> None:
        """Turn to one of the things that this place shows."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's signature
        """Offer only what does something."""
        if action == "enlarge":
            return self.maximized is None and self._panel_in_focus() is not None
        if action == "let_go":
            return self.maximized is not None or isinstance(self.focused, (Input, Choice))
        return True

    def action_enlarge(self) -> None:
        """Give the panel in focus the whole body."""
        panel = self._panel_in_focus()
        if panel is not None:
            self.maximize(panel, container=False)

    def action_let_go(self) -> None:
        """Back to all panels; then out of the field in focus."""
        if self.maximized is not None:
            # Not `minimize`, which would scroll the page to the panel although it was in sight before.
            self.maximized = None
        else:
            self.set_focus(None)

    def _panel_in_focus(self) -> Widget | None:
        focused = self.focused
        if focused is None:
            return None
        nodes = [node for node in focused.ancestors_with_self if isinstance(node, Widget) and node is not self]
        return next((node for node in reversed(nodes) if node.ALLOW_MAXIMIZE), None)
