"""Looking at one image of a feature file."""

from __future__ import annotations

from pathlib import Path

from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.features.sample import Sample, look_at


def look(
    path: str,
    image_id: int | None = None,
    *,
    position: int = 0,
    patch: tuple[int, int] | None = None,
    against: str = "",
) -> Sample:
    """One image's patches and values.

    Args:
        image_id: None for the image at `position` (ascending ids, 0 first; it wraps around).
        patch: (row, column) that the map is to show the similarity to.
        against: another feature file, to show the difference to.

    Raises:
        Problem: a file cannot be read, or has no such image.
    """
    other = FeatureFile(Path(against)) if against else None
    return look_at(FeatureFile(Path(path)), image_id, position=position, patch=patch, against=other)
