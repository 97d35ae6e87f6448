"""A table whose rows are known by a key, and whose last column takes the room that is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import DataTable
from textual.widgets.data_table import RowKey

from fsgr_tui.core.language import tr
from fsgr_tui.tui.format import cut, cut_left

LEAST_LAST_COLUMN = 12


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        title: marked for translation.
        most: cells that it takes at the most.
        from_width: the table's width below which the column is left out.
        least: cells down to which it gives way where the others find no room; 0 for a column that never does.
        keep_end: whether the beginning gives way where the room is short, as with paths.
    """

    title: str
    most: int = 200
    from_width: int = 0
    least: int = 0
    keep_end: bool = False

    @property
    def heading(self) -> str:
        """The title in the user's language; of an empty one a catalogue would tell about itself."""
        return tr(self.title) if self.title else ""


@dataclass(frozen=True)
class Row:
    """One row: its key, and the text and style of every column."""

    key: str
    cells: tuple[tuple[str, str], ...]


class Rows(DataTable[Text]):
    """Draws rows of text; only cells that changed are drawn again, and the cursor stays on its row."""

    class Chosen(Message):
        """The cursor came to another row."""

        def __init__(self, rows: Rows, key: str) -> None:
            super().__init__()
            self.rows_widget = rows
            self.key = key

        @property
        def control(self) -> Rows:
            """The table, for `@on` with a selector."""
            return self.rows_widget

    def __init__(self, columns: Sequence[Column], *, id: str | None = None) -> None:  # noqa: A002 - Textual's name for it
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, cell_padding=1)
        self._wanted = tuple(columns)
        self._content: tuple[Row, ...] = ()
        self._laid_out: tuple[tuple[int, int], ...] = ()
        self._chosen = self._awaited = ""

    @property
    def chosen(self) -> str:
        """The key of the row under the cursor; empty without rows."""
        return self._chosen

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows, in this order."""
        content = tuple(rows)
        if content != self._content:
            before, self._content = self._content, content
            self._lay_out(before)

    def choose(self, key: str) -> None:
        """Put the cursor on a row, as soon as it is there."""
        self._chosen = self._awaited = key
        self._place_cursor()

    def on_resize(self, event: events.Resize) -> None:
        """Give the last column the new room."""
        if event.size.width:
            self._lay_out(self._content)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Tell which row the cursor is on."""
        event.stop()
        # A table that was emptied in the meantime tells of no row.
        named: RowKey | None = event.row_key
        key = (named.value if named is not None else None) or ""
        if key and key != self._chosen:
            self._chosen, self._awaited = key, ""
            self.post_message(self.Chosen(self, key))

    def _lay_out(self, before: tuple[Row, ...]) -> None:
        if not self.size.width:
            return
        layout = self._widths()
        same_rows = [row.key for row in before] == [row.key for row in self._content]
        if layout == self._laid_out and same_rows and self.row_count == len(self._content):
            self._update_cells(before)
            return
        self._laid_out = layout
        top = self.scroll_y
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
            for index, width in layout:
                self.add_column(Text(cut(self._wanted[index].heading, width)), width=width, key=str(index))
            for row in self._content:
                self.add_row(*(self._cell(row, index, width) for index, width in layout), key=row.key)
        self._place_cursor()
        self.scroll_to(y=top, animate=False)

    def _widths(self) -> tuple[tuple[int, int], ...]:
        """(column, cells) of those that are shown: their content's width, and for the last one what is left."""
        room = self.size.width - (1 if len(self._content) + 1 > self.size.height else 0)
        *firsts, last = [index for index, column in enumerate(self._wanted) if room >= column.from_width]
        widths = [(index, min(self._wanted[index].most, self._longest(index))) for index in firsts]
        left = room - sum(width + 2 * self.cell_padding for _, width in widths) - 2 * self.cell_padding
        wanted = min(LEAST_LAST_COLUMN, self._longest(last))
        for at, (index, width) in enumerate(widths):
            least = self._wanted[index].least
            if least and left < wanted:
                given = min(wanted - left, max(0, width - least))
                widths[at] = (index, width - given)
                left += given
        return (*widths, (last, max(wanted, left)))

    def _longest(self, index: int) -> int:
        """Cells that a column's content and heading take."""
        heading = cell_len(self._wanted[index].heading)
        return max((heading, *(cell_len(cut(row.cells[index][0], 200)) for row in self._content)))

    def _update_cells(self, before: tuple[Row, ...]) -> None:
        for old, new in zip(before, self._content, strict=True):
            for index, width in self._laid_out:
                if old.cells[index] != new.cells[index]:
                    self.update_cell(new.key, str(index), self._cell(new, index, width))

    def _place_cursor(self) -> None:
        keys = [row.key for row in self._content]
        if not keys or not self.row_count:
            return
        if self._awaited in keys:
            self._chosen, self._awaited = self._awaited, ""
            self.move_cursor(row=keys.index(self._chosen), animate=False)
            self.post_message(self.Chosen(self, self._chosen))
            return
        if self._chosen in keys:
            self.move_cursor(row=keys.index(self._chosen), animate=False)
            return
        self.move_cursor(row=0, animate=False)
        self._chosen = keys[0]
        self.post_message(self.Chosen(self, self._chosen))

    def _cell(self, row: Row, index: int, width: int) -> Text:
        text, style = row.cells[index]
        shown = cut_left(text, width) if self._wanted[index].keep_end else cut(text, width)
        return Text(shown, style, no_wrap=True)
