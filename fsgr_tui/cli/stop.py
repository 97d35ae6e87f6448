"""`fsgr-tui stop`: end jobs, gently first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import click

from fsgr_tui.cli import app, text
from fsgr_tui.core.errors import EXIT_OK, Problem
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, find_run


@click.command(
    "stop",
    help="Stop jobs: each finishes its batch; after --gentle-s seconds all its processes are killed, also those that "
    "have left its session. JOB is a name, the beginning of one, or `last`.\n\n"
    "\b\nExamples:\n  fsgr-tui stop last\n  fsgr-tui stop --now train-1125 extract-1125",
)
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
@click.option(
    "--gentle-s",
    type=click.FloatRange(0),
    default=control.GENTLE_S,
    show_default=True,
    help="Seconds to wait before killing.",
)
@click.option("--now", is_flag=True, help="Kill at once; what was finished is kept.")
def command(jobs: tuple[str, ...], gentle_s: float, now: bool) -> int:
    """Stop and say how each ended."""
    runs = list(dict.fromkeys(find_run(job).folder for job in jobs))

    def stopped(run: RunFolder) -> JobStatus | Problem:
        try:
            return control.stop(run, 0 if now else gentle_s)
        except Problem as problem:
            return problem

    code = EXIT_OK
    # All at once: a second job need not wait until the first has finished its batch.
    with ThreadPoolExecutor(len(runs)) as pool:
        for answer in pool.map(stopped, map(RunFolder, runs)):
            if isinstance(answer, Problem):
                app.tell(answer)
                code = max(code, answer.exit_code)
                continue
            state = tr(answer.state)
            if answer.exit_code is not None:
                state = tr("{state}, exit code {code}", state=state, code=answer.exit_code)
            text.echo(f"{answer.name}: {state}")
    return code
