"""`fsgr-tui doctor`: what this machine is, for a bug report."""

from __future__ import annotations

import click

from fsgr_tui.cli import options, text
from fsgr_tui.core.units import printable
from fsgr_tui.service import diagnosis


@click.command(
    "doctor", help="What this machine and installation are, to be pasted into a bug report; nothing private is in it."
)
@options.json_flag
def command(as_json: bool) -> int:
    """Print the rows."""
    rows = diagnosis.examine()
    if as_json:
        text.json_out(
            {"schema": "fsgr-tui/doctor/1", "rows": [{"what": what, "reading": reading} for what, reading in rows]}
        )
    else:
        text.table([(what, printable(reading)) for what, reading in rows])
    return 0
