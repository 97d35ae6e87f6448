"""`fsgr-tui` without a command: the screen, on terminals that can show it."""

from __future__ import annotations

import os
import sys

from fsgr_tui.cli import text
from fsgr_tui.core import language
from fsgr_tui.core.errors import EXIT_BAD_REQUEST
from fsgr_tui.core.language import tr
from fsgr_tui.tui.stream import first_environment, shows_unicode


def open_screen(image_root: str | None, features_dir: str | None) -> int:
    """Run the screen until the user leaves it.

    Returns:
        0; 2 without a terminal that can show it; 143 or 129 after SIGTERM or SIGHUP; 1 after a crash.
    """
    reason = _no_screen()
    if reason:
        instead = tr("`fsgr-tui --plan` tells the same as plain text.")
        text.echo(f"fsgr-tui: {reason} {instead}", sys.stderr)
        return EXIT_BAD_REQUEST
    if not shows_unicode(sys.stdout, first_environment()):
        # Chinese would not arrive; nor would the faults that jobs tell in it.
        os.environ[language.VARIABLE] = language.ENGLISH
        language.use(language.ENGLISH)
    from fsgr_tui.tui import first_frame

    with first_frame.shown():
        # Only now: a refusal has to be quick, and Textual takes 0.2 s to import.
        from fsgr_tui.tui.run import run_screen
    return run_screen(image_root, features_dir)


def _no_screen() -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        return tr("the screen needs a terminal, and standard input is none;")
    if sys.stdout is None or not sys.stdout.isatty():
        return tr("the screen needs a terminal, and standard output is none;")
    term = os.environ.get("TERM", "")
    if not term:
        return tr("the screen needs a terminal that can address its cells, and TERM is not set;")
    if term in ("dumb", "unknown"):
        return tr("the screen needs a terminal that can address its cells, and TERM is {term};", term=term)
    return ""
