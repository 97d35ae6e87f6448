"""The keys that do something now, for the palette and for help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.binding import ActiveBinding
from textual.screen import Screen

from fsgr_tui.core.language import mark, tr
from fsgr_tui.tui.screens.place import Place, own_keys

if TYPE_CHECKING:
    from fsgr_tui.tui.screens.asking import Help

MOVING = (
    (mark("Tab"), mark("Next panel or field")),
    (mark("arrows"), mark("Move or scroll in it")),
    ("^p", mark("All commands by name")),
    ("^z", mark("Suspend")),
)


def keys_of(screen: Screen[Any]) -> list[tuple[str, ActiveBinding]]:
    """What can be done on a screen, and with which keys: one line for all keys of an action."""
    keys: dict[str, tuple[list[str], ActiveBinding]] = {}
    for active in own_keys(screen):
        shown, _ = keys.setdefault(active.binding.action, ([], active))
        shown.append(screen.app.get_key_display(active.binding))
    return [(" ".join(shown), active) for shown, active in keys.values()]


def help_for(front: Screen[Any]) -> Help | None:
    """The page that explains a place or a dialog; None for what explains itself."""
    from fsgr_tui.tui.screens.asking import Dialog, Help

    if not isinstance(front, (Place, Dialog)):
        return None
    own = [(shown, tr(active.binding.description)) for shown, active in keys_of(front)]
    marked = (*front.MORE_KEYS, *(MOVING if isinstance(front, Place) else ()))
    return Help(tr(front.NAME), tr(front.ABOUT), (*own, *((tr(key), tr(words)) for key, words in marked)))
