"""What all places share: the frame around their body, and the sizes at which their layout changes."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from fsgr_tui.tui.widgets.chrome import LEAST_HEIGHT, LEAST_WIDTH, KeyLine, NoRoom, TopLine, TopWords


class Place(Screen[None]):
    """One of the numbered places."""

    NAME: ClassVar[str] = ""
    ABOUT: ClassVar[str] = ""
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [
        (0, "-no-width"), (LEAST_WIDTH, "-narrow"), (80, "-normal"), (110, "-wide"), (160, "-huge"),
    ]  # fmt: skip
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [(0, "-no-height"), (LEAST_HEIGHT, "-low"), (32, "-tall")]
    ALLOW_IN_MAXIMIZED_VIEW: ClassVar[str | None] = "TopLine, KeyLine"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("z", "enlarge", "Enlarge"),
        Binding("escape", "let_go", "Back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._top = TopLine(self.NAME)

    def compose(self) -> ComposeResult:
        """The body in its frame."""
        yield self._top
        yield from self.body()
        yield KeyLine()
        yield NoRoom()

    def body(self) -> ComposeResult:
        """The place's own widgets."""
        raise NotImplementedError

    def show_top(self, words: TopWords) -> None:
        """Fill the top line."""
        self._top.show(words)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's signature
        """Offer only what does something."""
        if action == "enlarge":
            return self.maximized is None and self._panel_in_focus() is not None
        if action == "let_go":
            return self.maximized is not None or self.focused is not None
        return True

    def action_enlarge(self) -> None:
        """Give the panel in focus the whole body."""
        panel = self._panel_in_focus()
        if panel is not None:
            self.maximize(panel, container=False)

    def action_let_go(self) -> None:
        """Back to all panels; then out of the field in focus."""
        if self.maximized is not None:
            self.minimize()
        else:
            self.set_focus(None)

    def _panel_in_focus(self) -> Widget | None:
        focused = self.focused
        if focused is None:
            return None
        nodes = [node for node in focused.ancestors_with_self if isinstance(node, Widget) and node is not self]
        return next((node for node in reversed(nodes) if node.ALLOW_MAXIMIZE), None)
