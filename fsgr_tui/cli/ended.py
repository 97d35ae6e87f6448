"""How a followed job ended, told once in the form that was asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from fsgr_tui.cli import follow, text
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.job_words import document
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import printable


def report(status: JobStatus, *, as_json: bool, done: Callable[[dict[str, Any]], None]) -> int:
    """Print the end of a job.

    Args:
        done: prints the result of a job that has one.

    Returns:
        The exit code of the command.
    """
    if as_json:
        text.json_out(document(status, time.time()))
        return follow.exit_code(status)
    if not status.ended_for_good:
        return 0
    if status.result:
        done(status.result)
    tell(status)
    return follow.exit_code(status)


def tell(status: JobStatus) -> None:
    """Say on standard error why a job did not end well, and how to go on."""
    cause = status.cause
    if status.state in ("failed", "interrupted"):
        told = (
            cause.text if cause else tr("{name} failed with exit code {code}.", name=status.name, code=status.exit_code)
        )
        text.echo(f"fsgr-tui: {printable(told)}", sys.stderr)
        if cause and cause.advice:
            text.echo(f"  {printable(cause.advice)}", sys.stderr)
        text.echo("  " + tr("The log: fsgr-tui logs {name}", name=status.name), sys.stderr)
    if status.state == "stopped":
        if cause and cause.kind == "need":
            text.echo(
                "fsgr-tui: " + tr("{name} did not begin: {cause}", name=status.name, cause=printable(cause.text)),
                sys.stderr,
            )
            text.echo(f"  {printable(cause.advice)}", sys.stderr)
        else:
            text.echo(
                tr("Stopped. What was finished is kept; go on with: fsgr-tui resume {name}", name=status.name),
                sys.stderr,
            )


def result(values: dict[str, Any]) -> None:
    """Print any result, a line a value."""
    # Only a job that ended pays for the import.
    from fsgr_tui.service import result_words

    text.table(result_words.rows(values))
