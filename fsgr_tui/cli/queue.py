"""`fsgr-tui queue`: the jobs that wait, in the order in which they will begin."""

from __future__ import annotations

import time

import click

from fsgr_tui.cli import options, text
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import format_duration, printable
from fsgr_tui.service import queue


@click.command(
    "queue",
    help="List the jobs that wait, in the order in which they will begin, and what each waits for. `stop JOB` takes one "
    "out of the queue. JOB is a name, the beginning of one, or `last`.\n\n"
    "\b\nExamples:\n  fsgr-tui queue\n  fsgr-tui queue --first train-1125",
)
@click.option("--first", metavar="JOB", default="", help="Let this job begin before all others that wait for the same.")
@options.json_flag
def command(first: str, as_json: bool) -> int:
    """Move a job, and print the queue."""
    if first and as_json:
        raise BadRequest(tr("--first moves a job; --json only lists."), tr("Leave one of them out."))
    if first:
        text.echo(tr("{name} begins before the others now.", name=queue.to_front(first)))
    waiting = queue.queue()
    if as_json:
        text.json_out({"schema": "fsgr-tui/queue/1", "jobs": waiting})
        return 0
    if not waiting:
        text.echo(tr("No job waits."))
        return 0
    now = time.time()
    rows = [
        (
            str(job.place),
            printable(job.name),
            "" if job.queued is None else format_duration(max(0.0, now - job.queued)),
            printable(job.told),
        )
        for job in waiting
    ]
    text.table(rows, ("", tr("job"), tr("waited"), tr("what it waits for")))
    return 0
