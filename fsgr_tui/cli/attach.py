"""`fsgr-tui attach`: watch a job that runs already."""

from __future__ import annotations

import sys

import click

from fsgr_tui.cli import ended, follow, options, text
from fsgr_tui.jobs.folder import find_run

_SHOWN_LINES = 20


@click.command(
    "attach",
    help="Watch a running job. JOB is a name, the beginning of one, or `last`.\n\n"
    "Ctrl-C asks whether to stop the job or only to stop watching; closing the terminal leaves the job alone.\n\n"
    "\b\nExamples:\n  fsgr-tui attach\n  fsgr-tui attach train-1125",
)
@click.argument("job", default="last")
@options.json_flag
def command(job: str, as_json: bool) -> int:
    """Follow the job to its end."""
    run = find_run(job)
    text.echo(run.name, sys.stderr)
    status = follow.follow(run, output=run.read_spec().kind == "command" and not as_json, last=_SHOWN_LINES)
    return ended.report(status, as_json=as_json, done=ended.result)
