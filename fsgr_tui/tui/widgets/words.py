"""Text that is sent again only when it became another one."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


class Words(Static):
    """A static text; what is said twice is drawn once."""

    def __init__(self, said: Text | str = "", *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        self._said = Text(said) if isinstance(said, str) else said
        super().__init__(self._said, markup=False, id=id, classes=classes)

    def say(self, said: Text | str) -> None:
        """Show a text."""
        text = Text(said) if isinstance(said, str) else said
        if text != self._said or text.style != self._said.style:
            self._said = text
            self.update(text)
