"""Comparing two feature files."""

from __future__ import annotations

from pathlib import Path

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr
from fsgr_tui.features.compare import SAMPLE_ROWS, FeatureComparison, compare_files
from fsgr_tui.features.distances import Tell


def compare(
    path_a: str, path_b: str, tell: Tell | None = None, *, sample: int = SAMPLE_ROWS, deep: bool = False
) -> FeatureComparison:
    """Compare two feature files.

    Args:
        tell: called with (rows read, rows to read).
        sample: images to compare, chosen at random among those that both have; deep: all of them.

    Raises:
        BadRequest: both names lead to one file, or one to none.
        Problem: a file cannot be read.
    """
    a, b = Path(path_a), Path(path_b)
    if a.exists() and b.exists() and a.samefile(b):
        raise BadRequest(tr("{a} and {b} are the same file.", a=path_a, b=path_b), tr("Name two files."))
    return compare_files(a, b, sample=sample, deep=deep, tell=tell)
