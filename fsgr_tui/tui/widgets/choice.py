"""One of a few values, all of them in sight where there is room: left and right choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from fsgr_tui.core.language import tr
from fsgr_tui.tui.format import DIM, WAY_B
from fsgr_tui.tui.widgets.in_order import answer
from fsgr_tui.tui.widgets.words import Words


class Choice(Words, can_focus=True):
    """Shows its values, translated, side by side; the chosen one stands out by its mark too, not by colour alone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Left", show=False),
        Binding("right,space", "step(1)", "Right", show=False),
    ]

    class Changed(Message):
        """Another value was chosen."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    def __init__(self, values: Sequence[str], chosen: str, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id)
        self._values = tuple(values)
        self._at = self._values.index(chosen) if chosen in self._values else 0

    @property
    def value(self) -> str:
        """The chosen value."""
        return self._values[self._at]

    @value.setter
    def value(self, value: str) -> None:
        if value in self._values:
            self._at = self._values.index(value)
            self._redraw()

    async def _on_key(self, event: events.Key) -> None:
        # Enter is the form's, which would come too late.
        if event.key != "enter" or not self.has_focus:
            await answer(self, event)

    def on_mount(self) -> None:
        """Draw."""
        self._redraw()

    def on_focus(self) -> None:
        """Show that the keys go here."""
        self._redraw()

    def on_blur(self) -> None:
        """Show that they no longer do."""
        self._redraw()

    def action_step(self, by: int) -> None:
        """Choose the neighbour; from the last to the first and back."""
        self._at = (self._at + by) % len(self._values)
        self._redraw()
        self.post_message(self.Changed(self))

    def on_resize(self) -> None:
        """Show as many values as there is room for."""
        self._redraw()

    def _redraw(self) -> None:
        chosen = f"[{tr(self.value)}]", f"reverse bold {WAY_B}" if self.has_focus else f"bold {WAY_B}"
        line = Text()
        for number, value in enumerate(self._values):
            if number == self._at:
                line.append(*chosen)
            else:
                line.append(f" {tr(value)} ", DIM)
        if 0 < self.size.width < line.cell_len:
            # Without room for all of them: the chosen one, between signs that there are others.
            line = Text.assemble(("‹", DIM), chosen, ("›", DIM))
        self.say(line)
