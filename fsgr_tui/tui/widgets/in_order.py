"""Keys are answered in the order in which they came, also those of a slow line, which come in one piece.

The library inserts a letter at once, but lets other keys travel through the queues of all parents before they do
something: letters behind Down or Ctrl-U would overtake them, into the field that is just being left.
"""

from __future__ import annotations

from textual import events
from textual.widget import Widget


async def answer(widget: Widget, event: events.Key) -> None:
    """Answer a key in the widget's own turn: by what it is bound to, or where the key before it has moved the focus to."""
    focused = widget.screen.focused
    if focused is not widget:
        event.stop().prevent_default()
        (focused or widget.screen)._forward_event(events.Key(event.key, event.character))  # noqa: SLF001 - as the app does with a new key
    elif await widget.app._check_bindings(event.key):  # noqa: SLF001 - as the app does at the end of a key's way
        event.stop().prevent_default()
