"""`fsgr-tui stop`: end a job, gently first."""

from __future__ import annotations

import click

from fsgr_tui.cli import text
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import find_run


@click.command("stop", help="Stop a job: it finishes its batch; after --gentle-s seconds its processes are killed.")
@click.argument("job")
@click.option(
    "--gentle-s",
    type=click.FloatRange(0),
    default=control.GENTLE_S,
    show_default=True,
    help="Seconds to wait before killing.",
)
def command(job: str, gentle_s: float) -> int:
    """Stop and say how it ended."""
    status = control.stop(find_run(job), gentle_s)
    text.echo(
        f"{status.name}: {status.state}" + (f", exit code {status.exit_code}" if status.exit_code is not None else "")
    )
    return 0
