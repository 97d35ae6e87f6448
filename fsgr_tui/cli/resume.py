"""`fsgr-tui resume`: go on with a job that was stopped, interrupted or failed."""

from __future__ import annotations

import sys
import time

import click

from fsgr_tui.cli import ended, follow, options, text
from fsgr_tui.core.job_words import document
from fsgr_tui.core.language import tr
from fsgr_tui.jobs.folder import find_run
from fsgr_tui.service import resuming


@click.command(
    "resume",
    help="Go on with a job in its own folder, with the same settings. Extractions and trainings go on where they were; "
    "other commands of this program begin anew; a command of yours only with --again. Jobs that were stopped because "
    "they needed this one are started too.\n\n"
    "\b\nExamples:\n  fsgr-tui resume last\n  fsgr-tui resume extract-1125 --detach\n  fsgr-tui resume train-1125 --anyway",
)
@click.argument("job")
@click.option("--again", is_flag=True, help="Run a command of yours anew, from its beginning.")
@click.option("--anyway", is_flag=True, help="Do not wait any more for the jobs that it needed.")
@click.option("--detach", is_flag=True, help="Return at once with the job's name.")
@options.json_flag
def command(job: str, again: bool, anyway: bool, detach: bool, as_json: bool) -> int:
    """Start and follow it."""
    run, *further = resuming.resume(find_run(job), again=again, anyway=anyway)
    if further:
        text.echo(tr("Behind it wait: {jobs}", jobs=", ".join(each.name for each in further)), sys.stderr)
    if detach:
        if as_json:
            text.json_out(document(run.read_status(), time.time()))
        else:
            text.echo(run.name)
        return 0
    status = follow.follow(run, output=run.read_spec().kind == "command" and not as_json)
    return ended.report(status, as_json=as_json, done=ended.result)
