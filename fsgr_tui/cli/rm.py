"""`fsgr-tui rm`: delete jobs that have ended."""

from __future__ import annotations

import re
import sys
import time

import click

from fsgr_tui.cli import app, text
from fsgr_tui.core.errors import EXIT_BAD_REQUEST, EXIT_OK, BadRequest, Problem
from fsgr_tui.core.language import tr, trn
from fsgr_tui.core.units import format_duration
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, all_runs, find_run

_UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_SHOWN = 20


@click.command(
    "rm",
    help="Delete the folders of jobs that have ended: their status, events and log. What they made (feature files, "
    "checkpoints) stays. JOB is a name, the beginning of one, or `last`.\n\n"
    "\b\nExamples:\n  fsgr-tui rm extract-1125\n  fsgr-tui rm --ended --older 7d --yes",
)
@click.argument("jobs", metavar="[JOB]...", nargs=-1)
@click.option("--ended", "all_ended", is_flag=True, help="All that have ended.")
@click.option(
    "--older", metavar="AGE", default="", help="With --ended: only those that ended so long ago, e.g. 7d, 12h."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(jobs: tuple[str, ...], all_ended: bool, older: str, yes: bool) -> int:
    """Ask once, then delete."""
    if bool(jobs) == all_ended:
        raise BadRequest(
            tr("Neither a JOB nor --ended was given.") if not jobs else tr("Give either JOBs or --ended."),
            tr("See --help."),
        )
    if older and not all_ended:
        raise BadRequest(tr("--older belongs to --ended."), tr("Leave it out, or use --ended."))
    chosen = _ended(age_s(older) if older else 0) if all_ended else [find_run(job) for job in jobs]
    chosen = list({run.folder: run for run in chosen}.values())
    if not chosen:
        text.echo(tr("There is nothing to delete."))
        return EXIT_OK
    if not yes and not _agreed(chosen):
        return EXIT_BAD_REQUEST
    code, deleted = EXIT_OK, 0
    for run in chosen:
        try:
            control.remove(run)
            deleted += 1
        except Problem as problem:
            app.tell(problem)
            code = max(code, problem.exit_code)
    text.echo(tr("{number} deleted.", number=deleted))
    return code


def age_s(words: str) -> float:
    """Seconds of an age such as `7d`, `12h`, `30min`.

    Raises:
        BadRequest: the words are no age.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(s|min|h|d|w)\s*", words)
    if not found:
        raise BadRequest(tr("--older {age} is no age.", age=repr(words)), tr("Write it like 7d, 12h or 30min."))
    return float(found[1]) * _UNITS_S[found[2]]


def _ended(older_s: float) -> list[RunFolder]:
    found = []
    for run in all_runs():
        try:
            status = run.read_status()
        except BadRequest:
            # What cannot be read is not deleted by the dozen; by its name it can be.
            continue
        since = status.ended or status.heartbeat or status.started or 0.0
        if status.ended_for_good and time.time() - since >= older_s:
            found.append(run)
    return found


def _agreed(chosen: list[RunFolder]) -> bool:
    for run in chosen[:_SHOWN]:
        try:
            status = run.read_status()
            state = tr(status.state)
            if status.ended:
                state = tr(
                    "{state}, {time} ago", state=state, time=format_duration(max(0.0, time.time() - status.ended))
                )
            text.echo(f"  {run.name}  {state}", sys.stderr)
        except BadRequest:
            text.echo("  " + tr("{name}  (its status cannot be read)", name=run.name), sys.stderr)
    if len(chosen) > _SHOWN:
        text.echo("  " + tr("... and {number} more", number=len(chosen) - _SHOWN), sys.stderr)
    if not sys.stdin.isatty():
        text.echo("fsgr-tui: " + tr("nothing was deleted: there is no terminal to ask on."), sys.stderr)
        text.echo("  " + tr("Add --yes."), sys.stderr)
        return False
    question = trn("Delete this job's folder?", "Delete these {count} folders?", len(chosen))
    return click.confirm(question, err=True)
