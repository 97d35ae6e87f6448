"""What every place has: the line on top, the keys at the bottom, and the notice when there is no room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text
from textual.keys import key_to_character
from textual.widgets import Input

from fsgr_tui.core.language import tr
from fsgr_tui.tui.first_frame import PLACES
from fsgr_tui.tui.format import DIM, WAY_B, cut
from fsgr_tui.tui.widgets.words import Words

if TYPE_CHECKING:
    from textual.screen import Screen

LEAST_WIDTH, LEAST_HEIGHT = 60, 15
EVERYWHERE = ("enlarge", "help", "quit", "command_palette")


@dataclass(frozen=True)
class TopWords:
    """What the top line says: where we are (host, GPUs, data set), and how many jobs run."""

    where: tuple[str, ...] = ()
    running: int = 0


class TopLine(Words):
    """The program's name, where we are, and the places with their keys."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place
        self._words = TopWords()

    def show(self, words: TopWords) -> None:
        """Say something new."""
        if words != self._words:
            self._words = words
            self._redraw()

    def on_resize(self) -> None:
        """Lay the line out."""
        self._redraw()

    def _redraw(self) -> None:
        places = Text()
        for key, name in PLACES:
            here = name == self._place
            count = f" {self._words.running}*" if name == "Jobs" and self._words.running else ""
            places.append(f" {key} {tr(name)}{count} ", f"reverse bold {WAY_B}" if here else WAY_B if count else DIM)
        room = self.size.width - places.cell_len - 11
        line = Text.assemble(" ", ("fsgr-tui", "bold"), "  ")
        words = " · ".join(self._words.where)
        line.append(cut(words, max(0, room)), DIM)
        line.append(" " * max(0, self.size.width - line.cell_len - places.cell_len))
        self.say(line.append_text(places))


class KeyLine(Words):
    """The keys that work now, the most wanted first; those that find no room are in `?` and Ctrl-P."""

    def __init__(self) -> None:
        super().__init__()

    def on_mount(self) -> None:
        """Follow the screen's keys."""
        self.screen.bindings_updated_signal.subscribe(self, self._keys_changed)

    def on_resize(self) -> None:
        """Lay the line out."""
        self._keys_changed(self.screen)

    def _keys_changed(self, screen: Screen[object]) -> None:
        if not self.is_attached or screen is not self.screen:
            return
        keys: dict[str, tuple[str, str]] = {}
        typing = isinstance(screen.focused, Input)
        for active in screen.active_bindings.values():
            binding = active.binding
            # Where letters are typed, they are no keys.
            if binding.show and active.enabled and not (typing and key_to_character(binding.key)):
                # Help has one key for all places and another for where letters are typed.
                action = binding.action.removeprefix("app.")
                keys.setdefault(action, (self.app.get_key_display(binding), tr(binding.description)))
        last = [key for action, key in keys.items() if action in EVERYWHERE]
        room = self.size.width - 1 - sum(map(_cells, last))
        line = Text(" ")
        for key in (key for action, key in keys.items() if action not in EVERYWHERE):
            # The place's own keys give way to those that work everywhere: help names them all.
            room -= _cells(key)
            if room < 0:
                break
            line.append(key[0], "bold").append(f" {key[1]}  ", DIM)
        for name, words in last:
            line.append(name, "bold").append(f" {words}  ", DIM)
        line.rstrip()
        self.say(line)


def _cells(key: tuple[str, str]) -> int:
    return cell_len(key[0]) + cell_len(key[1]) + 3


class NoRoom(Words):
    """Says how much room the screen needs; shown instead of everything else."""

    def __init__(self) -> None:
        super().__init__()

    def on_resize(self) -> None:
        """Say the present size."""
        size = self.app.size
        needs = tr(
            "fsgr-tui needs {columns} x {lines} cells; here are {width} x {height}.",
            columns=LEAST_WIDTH, lines=LEAST_HEIGHT, width=size.width, height=size.height,
        )  # fmt: skip
        self.say("\n".join((needs, tr("Enlarge the window, or use fsgr-tui --plan."), "", tr("q quits."))))
