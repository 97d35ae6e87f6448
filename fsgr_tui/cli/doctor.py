"""`fsgr-tui doctor`: what this machine is, for a bug report."""

from __future__ import annotations

import click

from fsgr_tui.cli import options, text
from fsgr_tui.core.units import printable
from fsgr_tui.service import diagnosis


@click.command(
    "doctor",
    help="What this machine and installation are, to be pasted into a bug report. Home folder and user names are taken out of it.\n\n"
    "\b\nExamples:\n  fsgr-tui doctor --markdown --hide-host\n  fsgr-tui doctor --python ~/miniconda3/envs/fsgr/bin/python",
)
@click.option("--markdown", is_flag=True, help="A Markdown table, for an issue.")
@click.option("--hide-host", is_flag=True, help="Take the machine's name out, too.")
@click.option("--python", type=click.Path(), default="", help="Ask a lab's Python as well: torch, CUDA, spaCy.")
@options.json_flag
def command(markdown: bool, hide_host: bool, python: str, as_json: bool) -> int:
    """Print the rows."""
    rows = diagnosis.examine(python=python, hide_host=hide_host)
    if as_json:
        told = [{"what": row.what, "reading": row.reading} for row in rows]
        text.json_out({"schema": "fsgr-tui/doctor/1", "rows": told})
    elif markdown:
        text.echo(diagnosis.page(rows))
    else:
        text.table([(printable(what), printable(reading)) for what, reading in diagnosis.grouped(rows)])
    return 0
