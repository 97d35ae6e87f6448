"""May a run go on with what is there? Only with the same settings and images."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr
from fsgr_tui.features.ledger import LedgerHeader
from fsgr_tui.features.manifest import Manifest, differences


def require_resumable(part: Path, header: LedgerHeader, ours: dict[str, Any], ids: Sequence[int]) -> None:
    """Refuse to go on with a file that was begun for something else.

    Args:
        part: the unfinished file, with its ledger's header.
        ours: the identity fields of this run, or those that are known so far.
        ids: this run's ids, in row order.

    Raises:
        BadRequest: other settings, or other images.
    """
    if told := _told_differences(ours, header.identity):
        raise BadRequest(
            tr("{part} was begun with other settings ({told}).", part=part, told=told),
            tr("Give the same settings to resume, or --overwrite to start anew."),
        )
    if header.order_crc32 != order_crc32(ids):
        raise BadRequest(
            tr(
                "{part} was begun for other images ({rows:,} there, {n:,} now, or other ids).",
                part=part,
                rows=header.rows,
                n=len(ids),
            ),
            tr("Restore the image folder to resume, or use --overwrite to start anew."),
        )


def require_extendable(
    final: Path, manifest: Manifest, here: Collection[int], ours: dict[str, Any], ids: Collection[int]
) -> None:
    """Refuse to extend a finished file with features of another kind, or into one that would lack some of its images.

    Args:
        final: the finished file; `manifest` and the ids `here` are its own.
        ours, ids: as of `require_resumable`.

    Raises:
        BadRequest: other settings, or lost images.
    """
    if told := _told_differences(ours, manifest.identity()):
        raise BadRequest(
            tr("{final} was made with other settings ({told}).", final=final, told=told),
            tr("Give the same settings, or --overwrite."),
        )
    if lost := set(here).difference(ids):
        raise BadRequest(
            tr(
                "{final} holds {n:,} images that are not in this selection (first id: {lost}).",
                final=final,
                n=len(lost),
                lost=min(lost),
            ),
            tr(
                "Name all splits that it shall hold (it has {splits}), or use --overwrite.",
                splits=", ".join(manifest.splits),
            ),
        )


def _told_differences(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    changed = {name: both for name, both in differences(ours, theirs).items() if name in ours}
    return tr("; ").join(
        tr("{name}: {there} there, {now} now", name=name, there=there, now=now)
        for name, (now, there) in changed.items()
    )


def order_crc32(ids: Sequence[int]) -> int:
    """Tells ids in their order from other ones, or other orders."""
    return zlib.crc32(np.array(ids, np.int64).tobytes())
