"""A log of any length: only the lines in sight are asked for, and drawn when they come."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from fsgr_tui.core.units import printable

AROUND = 200
"""Lines that are kept above and below those in sight."""


class LogView(ScrollView, can_focus=True):
    """Lines by their number. It never reads: it says which lines it wants, and gets them later.

    Attributes:
        following: whether lines that are added come into sight.
    """

    class Wanted(Message):
        """Lines that have come into sight."""

        def __init__(self, start: int, count: int) -> None:
            super().__init__()
            self.start, self.count = start, count

    class Turned(Message):
        """The end came into sight, or went out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.following = True
        self._count = 0
        self._start = 0
        self._lines: list[str] = []
        self._marked: int | None = None
        self._asked: tuple[int, int] | None = None

    @property
    def at_end(self) -> bool:
        """Whether the newest line is in sight."""
        return self.scroll_offset.y >= self.max_scroll_y

    @property
    def first_in_sight(self) -> int:
        """Number of the topmost line."""
        return self.scroll_offset.y

    def set_count(self, count: int, *, anew: bool = False) -> None:
        """Take another number of lines; the end stays in sight when it was.

        Args:
            anew: the log began anew, and what is known of it is void.
        """
        follow = self.following = self.at_end or anew
        if anew:
            self._lines, self._start, self._asked = [], 0, None
        self._count = count
        self.virtual_size = Size(self._widest(), count)
        if follow:
            self.scroll_end(animate=False, force=True)
        self._ask(again=True)

    def set_lines(self, start: int, lines: list[str]) -> None:
        """Take lines that were asked for."""
        self._asked = None
        if (start, lines) != (self._start, self._lines):
            self._start, self._lines = start, lines
            self.virtual_size = Size(self._widest(), self._count)
            self.refresh()
        self._ask()

    def mark(self, number: int) -> None:
        """Mark a line and bring it into sight."""
        self._marked = number
        self.scroll_to(y=max(0, number - self.size.height // 2), animate=False, force=True)
        self.refresh()
        self._ask()

    def action_scroll_right(self) -> None:
        """Half the width to the right: lines are not broken, and a cell at a time leads nowhere."""
        self.scroll_relative(x=self.size.width // 2, animate=False)

    def action_scroll_left(self) -> None:
        """Half the width to the left."""
        self.scroll_relative(x=-(self.size.width // 2), animate=False)

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Ask for the lines that come into sight."""
        super().watch_scroll_y(old, new)
        self._look_for_end()
        self._ask()

    def on_resize(self) -> None:
        """More lines may be in sight."""
        self._look_for_end()
        self._ask()

    def render_line(self, y: int) -> Strip:
        """One line, or an empty one until it comes."""
        number = self.scroll_offset.y + y
        style = self.rich_style
        text = self._line(number)
        if number == self._marked:
            style += Style(reverse=True)
        strip = Strip([Segment(printable(text), style)])
        left = self.scroll_offset.x
        return strip.crop_extend(left, left + self.size.width, style)

    def _look_for_end(self) -> None:
        if self.at_end != self.following:
            self.following = self.at_end
            self.post_message(self.Turned())

    def _line(self, number: int) -> str:
        at = number - self._start
        return self._lines[at] if 0 <= at < len(self._lines) else ""

    def _widest(self) -> int:
        return max(map(cell_len, self._lines), default=0)

    def _ask(self, *, again: bool = False) -> None:
        top, height = self.scroll_offset.y, max(1, self.size.height)
        known = self._start <= top and min(self._count, top + height) <= self._start + len(self._lines)
        wanted = (max(0, top - AROUND), height + 2 * AROUND)
        if self._count and self._asked is None and (again or not known):
            self._asked = wanted
            self.post_message(self.Wanted(*wanted))
