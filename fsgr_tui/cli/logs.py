"""`fsgr-tui logs`: what a job printed."""

from __future__ import annotations

import codecs
import os
import re
import sys
import time
from pathlib import Path
from typing import BinaryIO

import click

from fsgr_tui.core.language import tr
from fsgr_tui.jobs.folder import find_run

_BLOCK_BYTES = 1 << 16
_LOOKED_BACK_BYTES = 64 << 20
_POLL_S = 0.3

# On a terminal colours, and what a progress bar needs (carriage return, erase line, cursor up), go through. All else
# that a terminal obeys (titles, the clipboard, other character sets) is shown instead of done.
_OBEYED = re.compile(r"(\x1b\[[0-9;]*[mKA])|[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class LogCopy:
    """Copies a growing log to a stream: what is new, each time; byte by byte, or made safe for a terminal.

    A log that was cut, or that another one took the place of, is copied from its beginning.
    """

    def __init__(self, path: Path, out: BinaryIO, *, terminal: bool) -> None:
        self._path = path
        self._out = out
        self._file: BinaryIO | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace") if terminal else None
        self._held = ""
        self._last = b"\n"

    def end_line(self) -> None:
        """On a terminal, close a line that the job left open, so that what follows stands on its own."""
        if self._decoder is not None and self._last != b"\n":
            self._out.write(b"\n")
            self._out.flush()

    def skip_to_last(self, lines: int) -> None:
        """Begin with the last lines."""
        self._open()
        if self._file is not None:
            self._file.seek(start_of_last(self._file, lines))

    def new(self) -> int:
        """Copy what is new; returns how many bytes that were."""
        self._open()
        copied = self._rest()
        if self._file is not None and self._replaced():
            self._file.close()
            self._file = None
            self._open()
            copied += self._rest()
        return copied

    def _open(self) -> None:
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return

    def _replaced(self) -> bool:
        assert self._file is not None
        mine = os.fstat(self._file.fileno())
        if mine.st_size < self._file.tell():
            return True
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)

    def _rest(self) -> int:
        copied = 0
        while self._file is not None and (block := self._file.read(_BLOCK_BYTES)):
            copied += len(block)
            self._last = block[-1:]
            self._out.write(self._safe(block))
        if copied:
            self._out.flush()
        return copied

    def _safe(self, block: bytes) -> bytes:
        if self._decoder is None:
            return block
        text = self._held + self._decoder.decode(block)
        # An escape that is cut at the end waits for its rest.
        cut = text.rfind("\x1b")
        cut = cut if cut >= 0 and len(text) - cut < 16 and re.fullmatch(r"\x1b(\[[0-9;]*)?", text[cut:]) else len(text)
        text, self._held = text[:cut], text[cut:]
        shown = _OBEYED.sub(lambda found: found[1] or f"\\x{ord(found[0]):02x}", text)
        return shown.encode(errors="backslashreplace")


def start_of_last(file: BinaryIO, lines: int) -> int:
    """Where the last lines of a file begin; looks back from its end, 64 MiB at the most."""
    end = place = file.seek(0, os.SEEK_END)
    if lines == 0 or end == 0:
        return end
    # The line feed at the very end closes the last line and opens none.
    wanted = lines + 1
    while place > 0 and end - place < _LOOKED_BACK_BYTES:
        size = min(_BLOCK_BYTES, place)
        file.seek(place - size)
        block = file.read(size)
        if place == end and not block.endswith(b"\n"):
            wanted -= 1
        found = block.count(b"\n")
        if found >= wanted:
            at = len(block)
            for _ in range(wanted):
                at = block.rfind(b"\n", 0, at)
            return place - size + at + 1
        wanted -= found
        place -= size
    return place


@click.command(
    "logs",
    help="Show a job's log. JOB is a name, the beginning of one, or `last`.\n\n"
    "Into a file or a pipe it is copied byte by byte; on a terminal only colours and progress bars are obeyed.\n\n"
    "\b\nExamples:\n  fsgr-tui logs -f\n  fsgr-tui logs extract-1125 -n 50\n  fsgr-tui logs last --attempt 1",
)
@click.argument("job", default="last")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.option("-n", "--lines", type=click.IntRange(0), default=None, help="Only the last lines.")
@click.option("--events", is_flag=True, help="The events (JSON lines) instead of the log.")
@click.option(
    "--attempt", type=click.IntRange(1), default=None, help="What an earlier attempt of a resumed job printed."
)
def command(job: str, follow: bool, lines: int | None, events: bool, attempt: int | None) -> int:
    """Copy the log to standard output."""
    run = find_run(job)
    path = run.events if events else run.log
    if attempt is not None and attempt != run.read_status().attempt:
        path = run.folder / f"attempt-{attempt}" / path.name
        if not path.exists():
            raise click.BadParameter(
                tr(
                    "{name} has no attempt {attempt}; it has {attempts}.",
                    name=run.name,
                    attempt=attempt,
                    attempts=run.read_status().attempt,
                )
            )
    copy = LogCopy(path, sys.stdout.buffer, terminal=sys.stdout.isatty())
    if lines is not None:
        copy.skip_to_last(lines)
    while True:
        # The status first: what ended the job was printed before it.
        ended = not follow or run.read_status().ended_for_good
        copy.new()
        if ended:
            copy.end_line()
            return 0
        time.sleep(_POLL_S)
