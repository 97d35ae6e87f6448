"""`fsgr-tui jobs`: all jobs and how they stand."""

from __future__ import annotations

import time

import click

from fsgr_tui.cli import options, text
from fsgr_tui.cli.follow import progress_words
from fsgr_tui.core.errors import Problem
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.units import format_duration
from fsgr_tui.jobs.folder import all_runs


@click.command("jobs", help="List the jobs, the newest first.")
@click.option("--all", "show_all", is_flag=True, help="Not only the newest twenty.")
@options.json_flag
def command(show_all: bool, as_json: bool) -> int:
    """Print the jobs."""
    statuses = []
    for run in all_runs()[: None if show_all else 20]:
        try:
            statuses.append(run.read_status())
        except Problem:
            # A folder whose job never began, or which is being deleted, is no job.
            continue
    if as_json:
        text.json_out({"schema": "fsgr-tui/jobs/1", "jobs": statuses})
        return 0
    if not statuses:
        text.echo("No jobs yet. `fsgr-tui extract` starts one.")
        return 0
    text.table([_row(status) for status in statuses], ("job", "state", "age", "how it stands"))
    return 0


def _row(status: JobStatus) -> tuple[str, ...]:
    age = format_duration(time.time() - status.started) if status.started else "-"
    if status.ended_for_good:
        told = status.cause.text if status.cause else f"exit code {status.exit_code}"
    else:
        told = progress_words(status.progress)
    return (status.name, status.state, age, told)
