"""Whether a disk takes what is to be written: refused before any work."""

from __future__ import annotations

from pathlib import Path

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.language import sentences, tr
from fsgr_tui.core.machine import Disk
from fsgr_tui.core.storage import RESERVE_BYTES, RESERVE_SHARE
from fsgr_tui.core.units import printable

_SMALL_RESERVE_SHARE = 0.05
"""A small job must not be refused on a small disk for a reserve that was made for large ones."""


def require_answer(disk: Disk, folder: Path, other: str) -> None:
    """Refuse a disk that hangs or is broken, before anything else asks it and hangs with it.

    Args:
        folder: what will be written in.
        other: what to do instead, as a sentence.

    Raises:
        MachineCannot: the disk did not answer.
    """
    if silence := disk.silence:
        raise MachineCannot(
            tr("The disk of {folder} did not answer ({why}).", folder=folder, why=silence.why),
            sentences(
                tr(
                    "Look at {mount} ({filesystem}): its server may be gone.",
                    mount=printable(disk.mount),
                    filesystem=disk.filesystem,
                ),
                other,
            ),
        )


def require_writable(disk: Disk, folder: Path, other: str) -> None:
    """Refuse a folder in which this user cannot create files; its disk may also not answer.

    Args:
        folder, other: as of `require_answer`.

    Raises:
        MachineCannot: it is not writable, or the disk did not answer.
    """
    require_answer(disk, folder, other)
    if not disk.writable:
        raise MachineCannot(tr("{folder} is not writable.", folder=folder), other)


def reserve_bytes(need_bytes: int) -> int:
    """What has to stay free beside a file of so many bytes."""
    return min(RESERVE_BYTES, round(_SMALL_RESERVE_SHARE * need_bytes)) + round(RESERVE_SHARE * need_bytes)
