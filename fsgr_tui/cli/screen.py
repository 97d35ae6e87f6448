"""`fsgr-tui` without a command: the screen, on terminals that can show it."""

from __future__ import annotations

import os
import sys

from fsgr_tui.cli import text
from fsgr_tui.core.errors import EXIT_BAD_REQUEST


def open_screen(image_root: str | None, features_dir: str | None) -> int:
    """Run the screen until the user leaves it.

    Returns:
        0; 2 without a terminal that can show it; 143 or 129 after SIGTERM or SIGHUP; 1 after a crash.
    """
    reason = _no_screen()
    if reason:
        text.echo(f"fsgr-tui: {reason}; `fsgr-tui --plan` tells the same as plain text.", sys.stderr)
        return EXIT_BAD_REQUEST
    from fsgr_tui.tui import first_frame

    with first_frame.shown():
        # Only now: a refusal has to be quick, and Textual takes 0.2 s to import.
        from fsgr_tui.tui.run import run_screen
    return run_screen(image_root, features_dir)


def _no_screen() -> str:
    for stream, name in ((sys.stdin, "input"), (sys.stdout, "output")):
        if stream is None or not stream.isatty():
            return f"the screen needs a terminal, and standard {name} is none"
    if os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        return (
            f"the screen needs a terminal that can address its cells, and TERM is {os.environ.get('TERM') or 'not set'}"
        )
    return ""
