"""The spec of a child of this program, as far as going on with it needs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.language import tr

RESUMABLE = ("fsgr_tui.extract", "fsgr_tui.train")


def spec_of(argv: Sequence[str]) -> Path | None:
    """The file that a resumable child reads; None for any other command."""
    return Path(argv[3]) if len(argv) == 4 and argv[1] == "-m" and argv[2] in RESUMABLE else None


def set_resume(child_spec: Path) -> None:
    """Have a child of this program go on with what is there.

    Raises:
        BadRequest: its spec cannot be read.
    """
    try:
        document = jsontext.decode(child_spec.read_bytes(), dict[str, object])
    except (OSError, msgspec.MsgspecError) as error:
        raise BadRequest(
            tr("{path} cannot be read: {error}.", path=child_spec, error=error),
            tr("Give the whole command again, with --resume."),
        ) from None
    if "resume" in document:
        write_whole(child_spec, jsontext.encode({**document, "resume": True, "overwrite": False}))
