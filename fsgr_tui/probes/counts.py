"""Counts of image folders, remembered between plans: a folder that did not change is not listed again.

An entry holds for one path with the same device, inode and modification time of the folder. Adding, renaming and
deleting files changes that time; rewriting a file in place does not, so its size may be an old one until a recount.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.files import write_whole

COUNT_SCHEMA = "fsgr-tui/count/1"
MOST_ENTRIES = 200
_SETTLED_NS = 2 * 10**9
"""A folder that changed less than two seconds before it was listed may change again within one tick of its clock."""


class FolderCount(msgspec.Struct, frozen=True):
    """What one listing of a folder gave; the meaning of the numbers is that of `core.dataset.SplitFacts`."""

    found: int
    bytes: int
    ignored: int
    unnamed: int
    unnamed_example: str


class _Entry(msgspec.Struct, frozen=True):
    path: str
    device: int
    inode: int
    mtime_ns: int
    count: FolderCount
    schema: str = COUNT_SCHEMA


class CountMemory:
    """The remembered counts, one small file a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def recall(self, path: Path) -> FolderCount | None:
        """The count of a folder, if it is known and the folder is the same as it was then."""
        try:
            entry = jsontext.decode(self._file(path).read_bytes(), _Entry)
            stat = path.stat()
        except (OSError, ValueError, msgspec.MsgspecError):  # a damaged or foreign file counts as none
            return None
        same = (os.fspath(path.absolute()), stat.st_dev, stat.st_ino, stat.st_mtime_ns)
        known = (entry.path, entry.device, entry.inode, entry.mtime_ns)
        return entry.count if known == same and entry.schema == COUNT_SCHEMA else None

    def keep(self, path: Path, before: os.stat_result, count: FolderCount) -> None:
        """Remember a count, if the folder held still while it was made. A cache that cannot be written is left out.

        Args:
            before: the folder's status from before it was listed.
        """
        with contextlib.suppress(OSError, ValueError):
            after = path.stat()
            if after.st_mtime_ns != before.st_mtime_ns or time.time_ns() - after.st_mtime_ns < _SETTLED_NS:
                return
            entry = _Entry(os.fspath(path.absolute()), after.st_dev, after.st_ino, after.st_mtime_ns, count)
            target = self._file(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, jsontext.encode(entry))
            self._forget_oldest()

    def _file(self, path: Path) -> Path:
        folder = self._folder or _default_folder()
        return folder / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]}.json"

    def _forget_oldest(self) -> None:
        """Folders come and go; their entries are small, but nobody else takes them away."""
        files = sorted((self._folder or _default_folder()).glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for file in files[:-MOST_ENTRIES]:
            file.unlink(missing_ok=True)


def _default_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("fsgr-tui", appauthor=False) / "counts"
