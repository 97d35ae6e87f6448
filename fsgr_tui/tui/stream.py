"""What arrives on the terminal as it was sent. Without Textual, since the first frame has to know it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO


def shows_unicode(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether characters beyond ASCII arrive as such.

    The stream's encoding alone does not tell: Python writes UTF-8 under LANG=C, where the terminal may expect
    something else. The Linux console has no more than 512 glyphs.
    """
    if "utf" not in (stream.encoding or "").lower() or environment.get("TERM") == "linux":
        return False
    named = next((environment[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environment.get(name)), "")
    _, _, charset = named.partition(".")
    # Without any of them nobody said a word, as in most containers: the stream's encoding stands.
    return not named or (named not in ("C", "POSIX") and (not charset or "utf" in charset.lower()))


def first_environment() -> Mapping[str, str]:
    """The environment as this process was started with: Python itself sets LC_CTYPE=C.UTF-8 under LANG=C."""
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return os.environ
    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if b"=" in entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
