"""Checks that are remembered: what the last check of a file came to, as long as the file is the one that was checked.

Both faces check through here, so that the screen knows what a shell has checked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.files import write_whole
from fsgr_tui.jobs.state import state_dir

if TYPE_CHECKING:
    from fsgr_tui.features.check import CheckReport, Tell
    from fsgr_tui.service.checking import CheckRequest

FILES_KEPT = 100
IDS_KEPT = 20
"""Missing and further ids that are kept of a report; a new check names them all."""


class Identity(msgspec.Struct, frozen=True):
    """What tells a file from what stood at its path before.

    Attributes:
        changed_ns: Unix time in nanoseconds.
    """

    bytes: int
    changed_ns: int
    inode: int


class KeptCheck(msgspec.Struct, frozen=True):
    """What a check came to.

    Attributes:
        at: Unix time of the check.
        report: as `features.check.CheckReport`; None for a file that could not be read as features.
        what, fix: why not, and what to do.
    """

    path: str
    identity: Identity
    at: float
    report: dict[str, Any] | None = None
    what: str = ""
    fix: str = ""


@dataclass(frozen=True)
class PastCheck:
    """A remembered check.

    Attributes:
        at: Unix time of the check.
        outcome: the report, or why the file is none of features.
        current: whether the file is still the one that was checked.
    """

    at: float
    outcome: CheckReport | FoundFaults
    current: bool = True

    @property
    def good(self) -> bool:
        """Whether the check found no fault."""
        return not isinstance(self.outcome, FoundFaults) and self.outcome.good


def place() -> Path:
    """The file that holds them."""
    return state_dir() / "checks.json"


def check(request: CheckRequest, tell: Tell | None = None) -> CheckReport:
    """Check a file without the model, and remember what that came to.

    A file that is held against another one or a training is judged for that purpose only: that is not remembered.

    Raises:
        Problem: as `checking.check`.
    """
    from fsgr_tui.service import checking

    before = _identity(request.path)
    plain = not request.like and not request.trained_with
    try:
        report = checking.check(request, tell)
    except FoundFaults as fault:
        if plain:
            _keep(request.path, before, what=fault.what, fix=fault.fix)
        raise
    if plain:
        short = msgspec.structs.replace(report, missing=report.missing[:IDS_KEPT], extra=report.extra[:IDS_KEPT])
        _keep(request.path, before, msgspec.to_builtins(short))
    return report


def recall(paths: Iterable[str]) -> dict[str, PastCheck]:
    """The remembered checks of those files that are there and were checked once."""
    kept = _load()
    found = {}
    for path in paths:
        known, now = kept.get(str(Path(path).absolute())), _identity(path)
        past = _past(known, current=known.identity == now) if known is not None and now is not None else None
        if past is not None:
            found[path] = past
    return found


def _past(kept: KeptCheck, *, current: bool) -> PastCheck | None:
    if kept.report is None:
        return PastCheck(kept.at, FoundFaults(kept.what, kept.fix), current)
    from fsgr_tui.features.check import CheckReport

    try:
        return PastCheck(kept.at, msgspec.convert(kept.report, CheckReport), current)
    except msgspec.MsgspecError:
        # Of another version of this program.
        return None


def _identity(path: str) -> Identity | None:
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return Identity(stat.st_size, stat.st_mtime_ns, stat.st_ino)


def _load() -> dict[str, KeptCheck]:
    """By absolute path, the oldest first; nothing where the file is missing, damaged or of another version."""
    try:
        kept = jsontext.decode(place().read_bytes(), tuple[KeptCheck, ...])
    except (OSError, msgspec.MsgspecError):
        return {}
    return {each.path: each for each in kept}


def _keep(
    path: str, before: Identity | None, report: dict[str, Any] | None = None, what: str = "", fix: str = ""
) -> None:
    """Keep it, whole; a folder that cannot be written costs the memory, nothing else."""
    if before is None or before != _identity(path):
        # Nobody knows which of the two files the report is about.
        return
    absolute = str(Path(path).absolute())
    others = [each for each in _load().values() if each.path != absolute]
    kept = [*others, KeptCheck(absolute, before, time.time(), report, what, fix)][-FILES_KEPT:]
    try:
        place().parent.mkdir(parents=True, exist_ok=True)
        write_whole(place(), jsontext.encode(kept))
    except OSError:
        return
