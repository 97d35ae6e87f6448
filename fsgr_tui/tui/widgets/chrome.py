"""What every place has: the line on top, the keys at the bottom, and the notice when there is no room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.text import Text
from textual.events import Click
from textual.keys import key_to_character
from textual.widgets import Input

from fsgr_tui.core.language import tr
from fsgr_tui.tui.first_frame import PLACES
from fsgr_tui.tui.format import DIM, WAY_B, cut
from fsgr_tui.tui.widgets.words import Words

if TYPE_CHECKING:
    from textual.screen import Screen

LEAST_WIDTH, LEAST_HEIGHT = 60, 15
EVERYWHERE = ("enlarge", "let_go", "help", "quit", "command_palette")


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
        self._ends: list[tuple[int, str]] = []

    def show(self, words: TopWords) -> None:
        """Say something new."""
        if words != self._words:
            self._words = words
            self._redraw()

    def on_resize(self) -> None:
        """Lay the line out."""
        self._redraw()

    async def on_click(self, event: Click) -> None:
        """Go to the place under the mouse."""
        name = next((name for end, name in self._ends if event.x < end), "")
        if name:
            await self.run_action(f"app.place('{name.lower()}')")

    def _redraw(self) -> None:
        places, ends = Text(), []
        for key, name in PLACES:
            here = name == self._place
            count = f" {self._words.running}*" if name == "Jobs" and self._words.running else ""
            places.append(f" {key} {tr(name)}{count} ", f"reverse bold {WAY_B}" if here else WAY_B if count else DIM)
            ends.append((places.cell_len, name))
        left = self.size.width - places.cell_len
        self._ends = [(left, ""), *((left + end, name) for end, name in ends)]
        room = left - 11
        line = Text.assemble(" ", ("fsgr-tui", "bold"), "  ")
        words = " · ".join(self._words.where)
        line.append(cut(words, max(0, room)), DIM)
        line.append(" " * max(0, left - line.cell_len))
        self.say(line.append_text(places))


class KeyLine(Words):
    """The keys that work now, the most wanted first; those that find no room are in `?` and Ctrl-P."""

    def __init__(self) -> None:
        super().__init__()
        self._ends: list[tuple[int, str]] = []

    def on_mount(self) -> None:
        """Follow the screen's keys."""
        self.screen.bindings_updated_signal.subscribe(self, self._keys_changed)

    def on_resize(self) -> None:
        """Lay the line out."""
        self._keys_changed(self.screen)

    def on_click(self, event: Click) -> None:
        """Do what the key under the mouse does."""
        key = next((key for end, key in self._ends if event.x < end), "")
        if key:
            self.app.simulate_key(key)

    def _keys_changed(self, screen: Screen[object]) -> None:
        if not self.is_attached or screen is not self.screen:
            return
        keys: dict[str, _Key] = {}
        typing = isinstance(screen.focused, Input)
        for active in screen.active_bindings.values():
            binding = active.binding
            # Where letters are typed, they are no keys.
            if binding.show and active.enabled and not (typing and key_to_character(binding.key)):
                # Help has one key for all places and another for where letters are typed.
                action = binding.action.removeprefix("app.")
                keys.setdefault(action, _Key(self.app.get_key_display(binding), tr(binding.description), binding.key))
        last = [key for action, key in keys.items() if action in EVERYWHERE]
        room = self.size.width - 1 - sum(key.cells for key in last)
        own = []
        for key in (key for action, key in keys.items() if action not in EVERYWHERE):
            # The place's own keys give way to those that work everywhere: help names them all.
            room -= key.cells
            if room < 0:
                break
            own.append(key)
        line, self._ends = Text(" "), []
        for key in (*own, *last):
            line.append(key.shown, "bold").append(f" {key.words}  ", DIM)
            self._ends.append((line.cell_len, key.key))
        line.rstrip()
        self.say(line)


class _Key(NamedTuple):
    """A key as it is shown, what it does, and its name."""

    shown: str
    words: str
    key: str

    @property
    def cells(self) -> int:
        return cell_len(self.shown) + cell_len(self.words) + 3


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
