"""A table of rows: what the library tells of a row that is gone by then."""

from __future__ import annotations

from textual.app import App
from textual.widgets import DataTable

from fsgr_tui.tui.widgets.rows import Column, Row, Rows


class Table(App[None]):
    def compose(self):
        yield Rows((Column("name"),))


async def test_a_highlight_of_a_row_that_is_gone_is_no_choice():
    async with Table().run_test() as pilot:
        rows = pilot.app.query_one(Rows)
        rows.show([Row("a", (("A", ""),)), Row("b", (("B", ""),))])
        await pilot.pause()
        assert rows.chosen == "a"
        rows.post_message(DataTable.RowHighlighted(rows, 1, None))
        await pilot.pause()
        assert rows.chosen == "a"
