"""Looking at one image of a feature file."""

from __future__ import annotations

from pathlib import Path

from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.features.sample import Sample, look_at
from fsgr_tui.service import texts


def look(
    path: str,
    image_id: int | None = None,
    *,
    position: int = 0,
    patch: tuple[int, int] | None = None,
    against: str = "",
    text: str | None = None,
    weights: str = "",
) -> Sample:
    """One image's patches and values.

    Args:
        image_id: None for the image at `position` (ascending ids, 0 first; it wraps around).
        patch: (row, column) that the map is to show the similarity to.
        against: another feature file, to show the difference to.
        text: None for none; else show the cosine of each patch to it; a text that was not asked for before takes seconds to minutes.
        weights: where the model of the text is, if the manifest's source is not here; empty for the manifest's.

    Raises:
        Problem: a file cannot be read, or has no such image, or its tokens cannot be held against a text.
    """
    file = FeatureFile(Path(path))
    other = FeatureFile(Path(against)) if against else None
    toward = texts.direction(file.path, file.manifest, text, weights) if text is not None else None
    return look_at(file, image_id, position=position, patch=patch, against=other, text=toward)
