"""How a followed job ended, told once in the form that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from fsgr_tui.cli import follow, text
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.units import printable


def report(status: JobStatus, *, as_json: bool, done: Callable[[dict[str, Any]], None]) -> int:
    """Print the end of a job.

    Args:
        done: prints the result of a job that has one.

    Returns:
        The exit code of the command.
    """
    if as_json:
        text.json_out(status)
        return follow.exit_code(status)
    if not status.ended_for_good:
        return 0
    if status.result:
        done(status.result)
    if status.state in ("failed", "interrupted"):
        cause = status.cause
        text.echo(
            f"fsgr-tui: {printable(cause.text) if cause else f'{status.name} failed with exit code {status.exit_code}'}",
            sys.stderr,
        )
        if cause and cause.advice:
            text.echo(f"  {printable(cause.advice)}", sys.stderr)
        text.echo(f"  The log: fsgr-tui logs {status.name}", sys.stderr)
    if status.state == "stopped":
        text.echo(
            "Stopped. What was finished is kept; the same command goes on, with --resume where it has one.", sys.stderr
        )
    return follow.exit_code(status)


def result(values: dict[str, Any]) -> None:
    """Print any result, a line a value."""
    text.table([(name.replace("_", " "), printable(str(value))) for name, value in values.items()])
