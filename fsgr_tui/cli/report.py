"""`fsgr-tui report`: one page about a job."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fsgr_tui.cli import options, text
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.language import tr
from fsgr_tui.jobs.folder import find_run
from fsgr_tui.service import report, report_pages

_MARKDOWN, _HTML = {".md", ".markdown", ".txt"}, {".html", ".htm"}


@click.command(
    "report",
    help="One page about a job: what ran, where, how fast, curves, alarms, cause, result. JOB is a name, the beginning of one, or `last`.",
    epilog="\b\nExamples:\n  fsgr-tui report\n  fsgr-tui report train-1125 --out train.html\n  fsgr-tui report last --out report.md",
)
@click.argument("job", default="last")
@click.option("--out", type=click.Path(), help="Write there: Markdown for .md, one HTML page with pictures for .html.")
@click.option("--html", "as_html", is_flag=True, help="HTML instead of Markdown.")
@options.json_flag
def command(job: str, out: str | None, as_html: bool, as_json: bool) -> int:
    """Collect and write the page."""
    suffix = Path(out).suffix.lower() if out else ""
    if as_json and (out or as_html):
        raise BadRequest(tr("--json goes to standard output and has no other form."), tr("Leave out --out and --html."))
    if out and suffix not in _MARKDOWN | _HTML:
        raise BadRequest(
            tr("{path} is named neither as Markdown nor as HTML.", path=out), tr("End the name with .md or .html.")
        )
    if as_html and suffix in _MARKDOWN:
        raise BadRequest(
            tr("--html and {path} contradict each other.", path=out),
            tr("End the name with .html, or leave out --html."),
        )
    made = report.collect(find_run(job))
    if as_json:
        text.json_out(made)
        return 0
    page = report_pages.as_html(made) if as_html or suffix in _HTML else report_pages.as_markdown(made) + "\n"
    body = page.encode("utf-8", "replace")
    if out is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(body)
        return 0
    try:
        write_whole(Path(out), body)
    except OSError as error:
        raise MachineCannot(tr("{path} cannot be written: {reason}.", path=out, reason=error.strerror), tr("Choose a folder that exists and can be written.")) from None  # fmt: skip
    text.echo(out)
    return 0
