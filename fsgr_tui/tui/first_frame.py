"""The first frame: the top line, drawn before Textual is imported, which takes longer than everything else at the start.

Textual takes the same alternate screen over and paints over it. Until then this module gives the terminal back when a
signal ends the program.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import unicodedata
from collections.abc import Iterator
from types import FrameType

from fsgr_tui.core.language import mark, tr

PLACES = (
    ("1", mark("Plan")), ("2", mark("Run")), ("3", mark("Jobs")), ("4", mark("Features")), ("5", mark("Compare")),
)  # fmt: skip
"""Keys and names, as every place's top line shows them."""

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J\x1b[H"
# Mouse and paste modes too: the signal may come when Textual has already asked for them.
_LEAVE = "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2004l\x1b[?25h\x1b[?1049l"


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Show the frame while the body runs; the body's end leaves it standing, its failure takes it back.

    SIGTERM and SIGHUP stay in this module's hands until the screen's event loop takes them over.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Under nohup a hang-up stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    _put(_ENTER + _top_line(_columns()))
    try:
        yield
    except BaseException:
        _put(_LEAVE)
        raise


def _columns() -> int:
    try:
        # Not COLUMNS, which does not change with the window.
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def _top_line(width: int) -> str:
    places = "".join(f" {key} {tr(name)} " for key, name in PLACES)
    name = " fsgr-tui"
    room = width - len(name) - _cells(places)
    return name + " " * room + places if room > 0 else name


def _cells(text: str) -> int:
    # Rich measures text, too, but takes long to import.
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _leave(number: int, _frame: FrameType | None) -> None:
    _put(_LEAVE)
    os._exit(128 + number)


def _put(text: str) -> None:
    # Past Python's buffers, as Textual's driver does: what stands in them would come out of order.
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), text.encode("utf-8", "replace"))
