"""Time and memory with as many keys as COCO has images, and whether memory grows with the number of images."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fsgr_tui.core.event import Silent
from fsgr_tui.features import build as builds
from fsgr_tui.features.build import FeatureBuild
from fsgr_tui.features.manifest import Manifest
from fsgr_tui.features.reader import FeatureFile
from tests.bench.child import CHOICE, tiny_pictures
from tests.bench.table import Row, Table
from tests.conftest import make_manifest

if TYPE_CHECKING:
    from tests.bench.__main__ import Bench

KEYS = 123_287
RESUMED_ROWS = 10_000
READ_ROWS = 10_000
BATCH = 150
SECONDS = 10.0
GROWTH_MB = 20.0
PLAIN: dict[str, str] = {}
STEADY = {"MALLOC_MMAP_THRESHOLD_": "131072"}


class Spent(NamedTuple):
    """What a step took in a process of its own: seconds, memory before, at its peak, and what the step itself tells."""

    seconds: float
    before_mb: float
    peak_mb: float
    told_mb: float


def run(bench: Bench) -> list[Table]:
    return [_keys(bench), _images(bench)]


def _keys(bench: Bench) -> Table:
    keys = KEYS // 10 if bench.quick else KEYS
    steps: tuple[tuple[str, Callable[..., None]], ...] = (
        ("create all keys", _create),
        (f"open for resume, {RESUMED_ROWS:,} confirmed rows checked", _resume),
        ("publish (without reading the rows back)", _publish),
        ("open and index for reading (FeatureFile)", FeatureFile),
        (f"read {READ_ROWS:,} random rows, batches of {BATCH}", _read),
    )
    many, few = bench.folder / "many.hdf5", bench.folder / "few.hdf5"
    rows = []
    for what, step in steps:
        bench.say(f"memory: {what}")
        at_all, at_a_tenth = (
            _apart(step, path, *((count,) if step in (_create, _resume, _publish) else ()))
            for path, count in ((many, keys), (few, keys // 10))
        )
        rows.append(_as_row(what, at_all, at_a_tenth))
    apparent, real = many.stat().st_size, many.stat().st_blocks * 512
    notes = (
        f"49x768 float16 rows; a sparse file of {apparent / 1e9:.2f} GB that takes {real / 1e6:,.0f} MB here, so reading costs no disk; "
        "each step in a process of its own",
        "in a cell: seconds; memory that the step added at its peak / peak of the whole process",
        "left out: reserving space, and reading every row back before publishing (the disk's speed decides both)",
    )
    return Table("memory", f"{keys:,} keys", f"{keys // 10:,} keys", rows, (), notes)


def _as_row(what: str, ours: Spent, tenth: Spent) -> Row:
    shown = (
        f"{spent.seconds:.2f} s; {spent.peak_mb - spent.before_mb:.0f} / {spent.peak_mb:.0f} MB"
        for spent in (ours, tenth)
    )
    return Row(what, *shown, target=f"<= {SECONDS:.0f} s", met=ours.seconds <= SECONDS)


def _create(path: Path, keys: int) -> None:
    builds.allocate = os.ftruncate
    FeatureBuild.start(path, _manifest(), range(keys)).close()


def _resume(path: Path, keys: int) -> None:
    builds.allocate = os.ftruncate
    FeatureBuild.start(path, _manifest(), range(keys), resume=True).close()


def _publish(path: Path, keys: int) -> None:
    builds.allocate = os.ftruncate
    build = FeatureBuild.start(path, _manifest(), range(keys), resume=True)
    build._rows_that_fail = lambda _tell: []
    _confirm(build, build.missing)
    build.publish()
    build.close()


def _read(path: Path) -> None:
    file = FeatureFile(path)
    chance, ids = random.Random(0), file.ids.tolist()
    out = np.empty((BATCH, *file.row_shape), file.dtype)
    for _ in range(0, READ_ROWS, BATCH):
        file.read(chance.choices(ids, k=BATCH), out)


def _manifest() -> Manifest:
    return make_manifest(tokens=49, width=768)


def _confirm(build: FeatureBuild, rows: list[int]) -> None:
    """Confirm rows that were never written: they read as zeros."""
    build.confirm(rows, [zlib.crc32(bytes(build.manifest.row_bytes))] * len(rows))


def _confirm_some(path: Path, keys: int) -> None:
    builds.allocate = os.ftruncate
    build = FeatureBuild.start(path, _manifest(), range(keys), resume=True)
    _confirm(build, build.missing[:RESUMED_ROWS])
    build.close()


def _images(bench: Bench) -> Table:
    few, many = (500, 2000) if bench.quick else (500, 5000)
    asked = [(many, PLAIN), (few, PLAIN), (many, STEADY), (few, STEADY)]
    spent = []
    for number, (count, variables) in enumerate(asked):
        bench.say(f"memory: extraction of {count:,} tiny images{', steady allocator' if variables else ''}")
        spent.append(_apart(_extract, bench.folder / f"extract-{number}.hdf5", count, variables=variables))
    usual, usual_few, steady, steady_few = spent
    more = [steady.peak_mb - steady.told_mb, steady_few.peak_mb - steady_few.told_mb]
    rows = [
        Row(
            f"what extracting {many:,} images adds at its peak (steady allocator)",
            f"{more[0]:.0f} MB",
            f"{more[1]:.0f} MB",
            target=f"<= {GROWTH_MB:.0f} MB more",
            met=more[0] - more[1] <= GROWTH_MB,
        ),
        Row("peak of the process (steady allocator)", f"{steady.peak_mb:.0f} MB", f"{steady_few.peak_mb:.0f} MB"),
        Row("peak of the process (allocator as it is)", f"{usual.peak_mb:.0f} MB", f"{usual_few.peak_mb:.0f} MB"),
    ]
    notes = (
        (
            f"differences {more[0] - more[1]:+.1f}, {steady.peak_mb - steady_few.peak_mb:+.1f} and {usual.peak_mb - usual_few.peak_mb:+.1f} MB; "
            f"the pixels of {many - few:,} images are {(many - few) * 224 * 224 * 3 / 1e6:,.0f} MB, their rows {(many - few) * 49 * 96 * 2 / 1e6:,.0f} MB"
        ),
        (
            f"steady allocator: {' '.join(f'{name}={value}' for name, value in STEADY.items())}, so that glibc gives large buffers back at once; "
            "as it is, it keeps freed ones in its heap, and the peak takes in its chance"
        ),
        "what the process holds before the first image (model, list of images, HDF5's memory from making the keys) is left out of the first row and shown in the table above",
        f"demo tower, batch 64, torch included; {usual.seconds:.0f} s and {usual_few.seconds:.0f} s",
    )
    title = "an extraction's memory and the number of images"
    return Table("memory", f"{title}, {many:,} against {few:,}", f"{few:,} images", rows, (), notes)


def _extract(path: Path, count: int) -> float:
    """Extract; returns the process's memory before the first image."""
    from fsgr_tui.extract.encoder import make_encoder, manifest_of
    from fsgr_tui.extract.pipeline import Extraction

    images = tiny_pictures(path.with_suffix(".pictures"), count)
    encoder = make_encoder(CHOICE)
    build = FeatureBuild.start(path, manifest_of(encoder, CHOICE), range(count))
    before = _memory_mb("VmRSS")
    run = Extraction(
        build, images, encoder, resize="squash", batch_size=64, workers=2, events=Silent(), stopping=lambda: False
    )
    run.run()
    build.publish()
    build.close()
    return before


def _apart(step: Callable[..., Any], *asked: Any, variables: Mapping[str, str] = PLAIN) -> Spent:
    """Run a step in a new process with some variables set, so that its memory is its own."""
    if step is _resume:
        _apart(_confirm_some, *asked)
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=_measured, args=(step, asked, results))
    os.environ.update(variables)
    process.start()
    for name in variables:
        del os.environ[name]
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{step.__name__} ended with {process.exitcode}")
    return results.get()


def _measured(step: Callable[..., Any], asked: tuple[Any, ...], results: Any) -> None:
    before = _memory_mb("VmRSS")
    began = time.perf_counter()
    told = step(*asked)
    own = told if isinstance(told, float) else 0.0
    results.put(Spent(time.perf_counter() - began, before, _memory_mb("VmHWM"), own))


def _memory_mb(field: str) -> float:
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(match[1]) / 1000 if match else float("nan")
