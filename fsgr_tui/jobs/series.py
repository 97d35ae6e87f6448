"""A series of samples in a run folder: JSON lines, never more than so many; older ones are thinned when it is full."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsgr_tui.core import jsontext
from fsgr_tui.core.files import write_whole

LIMIT = 4000


class Series:
    """Appends samples to a file; when it is full every second sample goes, and only every second one is taken from then on.

    So the file always spans the whole job, at an even pace. A fault of the disk loses samples and nothing else.
    """

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._kept = len(read(path))
        self._every = 1
        self._count = 0

    def add(self, *samples: Mapping[str, Any]) -> None:
        """Keep samples, or pass them over."""
        taken = []
        for sample in samples:
            self._count += 1
            if self._count % self._every == 0:
                taken.append(jsontext.encode(dict(sample)) + b"\n")
        if not taken:
            return
        try:
            with self._path.open("ab") as file:
                file.write(b"".join(taken))
            self._kept += len(taken)
            while self._kept > self._limit:
                self._thin()
        except OSError:
            return

    def _thin(self) -> None:
        kept = read(self._path)[::2]
        write_whole(self._path, b"".join(jsontext.encode(sample) + b"\n" for sample in kept))
        self._kept = len(kept)
        self._every *= 2


def read(path: Path) -> list[dict[str, Any]]:
    """The samples of a series; lines that are cut or no JSON are passed over."""
    try:
        body = path.read_bytes()
    except OSError:
        return []
    found = []
    for line in body.splitlines():
        try:
            sample = json.loads(line)
        except ValueError:
            continue
        if isinstance(sample, dict):
            found.append(sample)
    return found
