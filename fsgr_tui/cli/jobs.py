"""`fsgr-tui jobs`: all jobs and how they stand."""

from __future__ import annotations

import os
import sys
import time

import click

from fsgr_tui.cli import job_table, options, text
from fsgr_tui.core import job_words
from fsgr_tui.core.errors import BadRequest, Problem
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import printable
from fsgr_tui.jobs.folder import all_runs, runs_dir

_SHOWN = 20
_WATCH_S = 2.0


@click.command(
    "jobs",
    help="List the jobs, the newest first, from every terminal and every machine that shares the folder.\n\n"
    "\b\nExamples:\n  fsgr-tui jobs\n  fsgr-tui jobs --watch\n  fsgr-tui jobs --all --json",
)
@click.option("--all", "show_all", is_flag=True, help=f"Not only the newest {_SHOWN}.")
@click.option("--watch", is_flag=True, help="Show them again every two seconds, until Ctrl-C.")
@options.json_flag
def command(show_all: bool, watch: bool, as_json: bool) -> int:
    """Print the jobs."""
    if watch and as_json:
        raise BadRequest(tr("--json is one document; --watch prints again and again."), tr("Leave one of them out."))
    if watch:
        return _watch(show_all=show_all)
    statuses, left = _statuses(show_all=show_all)
    if as_json:
        text.json_out(job_words.documents(statuses, time.time()))
    else:
        _show(statuses, left)
    return 0


def _statuses(*, show_all: bool) -> tuple[list[JobStatus], int]:
    """How the jobs stand, and how many older ones are left out."""
    statuses = []
    runs = all_runs()
    shown = runs if show_all else runs[:_SHOWN]
    for run in shown:
        try:
            statuses.append(run.read_status())
        except Problem:
            # A folder whose job never began, or which is being deleted, is no job.
            continue
    return statuses, len(runs) - len(shown)


def _show(statuses: list[JobStatus], left: int) -> None:
    if not statuses:
        text.echo(
            tr(
                "No jobs in {folder} yet. `fsgr-tui extract` or `fsgr-tui run` starts one.",
                folder=printable(str(runs_dir())),
            )
        )
        return
    now = time.time()
    # A pipe gets whole lines, for those who search in them.
    width = text.width() if sys.stdout.isatty() else None
    heads, *rows = job_table.lines([job_words.row(status, now) for status in statuses], width)
    text.echo(text.styled(heads, "dim"))
    for row in rows:
        text.echo(row)
    if left:
        text.echo("  " + tr("... and {count} older; --all shows them.", count=left))


def _watch(*, show_all: bool) -> int:
    live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    last: list[tuple[str, str, str]] = []
    try:
        while True:
            statuses, left = _statuses(show_all=show_all)
            told = [(status.name, str(status.state), status.note) for status in statuses]
            if live:
                # Home, and erase what is below: a list that became shorter leaves nothing behind.
                sys.stdout.write("\x1b[H\x1b[2J")
                _show(_fitting(statuses), left)
                sys.stdout.flush()
            elif told != last:
                # Into a file only what changed is worth a line.
                text.echo(time.strftime("%Y-%m-%d %H:%M:%S"))
                _show(statuses, left)
                sys.stdout.flush()
            last = told
            time.sleep(_WATCH_S)
    except KeyboardInterrupt:
        return 0


def _fitting(statuses: list[JobStatus]) -> list[JobStatus]:
    """As many as the terminal has lines for; those that live come first."""
    room = max(3, os.get_terminal_size(sys.stdout.fileno()).lines - 4)
    if len(statuses) <= room:
        return statuses
    return sorted(statuses, key=lambda status: status.ended_for_good)[:room]
