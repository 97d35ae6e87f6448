"""A panel: a titled block of text that is laid out for its own width."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import Plan
from fsgr_tui.tui.widgets.words import Words

LOOKING = mark("looking ...")

Draw = Callable[[int], Text]


class Panel(VerticalScroll):
    """Scrolls when its text is longer than its room, and is redrawn only when the text became another one."""

    ALLOW_MAXIMIZE = True
    TITLE: ClassVar[str] = ""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self._draw: Draw = lambda _width: Text(tr(LOOKING), "dim")
        self._title = Text()
        self._body = Words()

    def compose(self) -> ComposeResult:
        """One block of text."""
        yield self._body

    def on_mount(self) -> None:
        """Draw for the first time."""
        if not self._title:
            self.set_title(tr(self.TITLE))
        self._redraw()

    def on_resize(self) -> None:
        """Lay the text out for the new width."""
        self._redraw()

    def set_title(self, title: Text | str) -> None:
        """Set the title; a `Text`, since user text in it must not be taken for markup."""
        text = Text.assemble(" ", title, " ")
        if text != self._title:
            self._title = text
            self.border_title = text

    def draw_with(self, draw: Draw) -> None:
        """Show what a function gives for the panel's width in cells."""
        self._draw = draw
        self._redraw()

    def clear(self) -> None:
        """Show nothing."""
        self.set_title(tr(self.TITLE))
        self.draw_with(lambda _width: Text())

    def _redraw(self) -> None:
        if not self.is_mounted:
            return
        self._body.say(self._draw(max(16, self.scrollable_content_region.width)))


class PlanPanel(Panel):
    """A panel that shows one side of a plan."""

    def show(self, plan: Plan) -> None:
        """Show a plan."""
        raise NotImplementedError
