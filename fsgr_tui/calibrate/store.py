"""A temporary feature file on the features' file system: rows written and synced, then read in no order."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fsgr_tui.calibrate.cache import evict
from fsgr_tui.calibrate.meter import Meter
from fsgr_tui.core.bench import scratch_name
from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import Estimate, Unknown
from fsgr_tui.features.build import FeatureBuild
from fsgr_tui.features.reader import FeatureFile

_PARTS = 8
"""The file is written in so many stretches, each synced."""


@contextmanager
def scratch(parent: Path, host: str) -> Iterator[Path]:
    """A folder of this process's own, deleted at the end however that comes.

    Raises:
        MachineCannot: it cannot be made.
    """
    folder = parent / scratch_name(host, os.getpid())
    try:
        folder.mkdir()
    except OSError as error:
        raise MachineCannot(
            tr("{folder} cannot be made: {reason}.", folder=folder, reason=error.strerror),
            tr("Choose a --features-dir that can be written."),
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(build: FeatureBuild, features: NDArray[np.generic], meter: Meter) -> Estimate | Unknown:
    """Bytes/s of rows into the file, each stretch synced and confirmed as the extraction does.

    Args:
        features: (some rows, *row shape); repeated to fill the file.
    """
    total, row_bytes = len(build.ids), build.manifest.row_bytes
    some = max(1, total // _PARTS)
    block = np.resize(features, (some, *features.shape[1:]))
    start = 0
    while meter.open:
        rows = [(start + number) % total for number in range(some)]
        began = meter.clock()
        build.write(rows, block)
        build.commit()
        meter.add(some * row_bytes, meter.clock() - began)
        start += some
    return meter.rate()


def publish(build: FeatureBuild) -> FeatureFile:
    """Finish the file with the rows that were written."""
    for row in build.missing:
        build.refuse(row, "", "no time was left to write it")
    build.publish()
    return FeatureFile(build.paths.final)


def read(file: FeatureFile, batch_size: int, meter: Meter) -> tuple[Estimate | Unknown, bool]:
    """Rows/s of single rows in no order, as a training's loader asks for them, by one process.

    Returns:
        The rate, and whether the page cache was dropped before each batch.
    """
    chance = random.Random(0)
    ids = file.ids.tolist()
    some = min(batch_size, len(ids))
    out = np.empty((some, *file.row_shape), file.dtype)
    file.read(ids[:1])
    cold = evict([file.path])
    while meter.open:
        wanted = chance.sample(ids, some)
        began = meter.clock()
        file.read(wanted, out)
        meter.add(some, meter.clock() - began)
        if cold:
            cold = evict([file.path])
    file.close()
    return meter.rate(), cold
