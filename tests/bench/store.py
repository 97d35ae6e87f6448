"""Random reads of one array per image: our file against today's habit and against other formats."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bench.stores import WAYS, Reader
from tests.bench.table import Row, Table

if TYPE_CHECKING:
    from tests.bench.__main__ import Bench

WIDTH = 768
BATCH = 150
SLOW = "gzip"
"""Read less often and from fewer rows: it takes seconds where the others take milliseconds."""

# The least that each way has to be better than one gzip data set per image: plain h5py, one sample, a batch of 150 and
# two processes with the program's reader.
TARGETS = {49: (5, 30, 20, 30), 196: (10, 30, 8, 30)}


@dataclass(frozen=True)
class Scale:
    """How much is read."""

    rows: int
    gzip_rows: int
    rounds: int
    seconds: float


FULL = Scale(rows=2000, gzip_rows=400, rounds=5, seconds=1.5)
QUICK = Scale(rows=400, gzip_rows=160, rounds=3, seconds=0.5)


def run(bench: Bench) -> list[Table]:
    scale = QUICK if bench.quick else FULL
    return [_table(bench, scale, tokens, dtype) for dtype in ("float32", "float16") for tokens in (49, 196)]


def _table(bench: Bench, scale: Scale, tokens: int, dtype: str) -> Table:
    title = f"{tokens}x{WIDTH} {dtype}"
    bench.say(f"store: {title}")
    folder = bench.folder / f"{tokens}-{dtype}"
    folder.mkdir()
    rows = _features(scale.rows, tokens, dtype)
    for way in {way.file: way for way in WAYS.values()}.values():
        way.write(folder / way.file, rows[: scale.gzip_rows] if way is WAYS[SLOW] else rows)
    saved = 1 - (folder / WAYS[SLOW].file).stat().st_size / rows[: scale.gzip_rows].nbytes
    # First the processes: LMDB cannot be opened in a child of a process that has it open.
    together = {name: _two_processes(name, folder, rows[0], scale) for name in WAYS}
    readers = {name: way.read(folder / way.file, rows[0]) for name, way in WAYS.items()}
    _same_rows(readers, rows)
    one, batch, fresh = _alone(readers, scale, rows)
    shutil.rmtree(folder)
    return _as_table(title, TARGETS[tokens], dtype, (one, batch, fresh, together), saved, scale)


def _features(count: int, tokens: int, dtype: str) -> np.ndarray:
    """Values that compress as little as real features do."""
    generator = np.random.default_rng(0)
    rows = np.empty((count, tokens, WIDTH), dtype)
    for start in range(0, count, 100):
        block = generator.standard_normal((min(100, count - start), tokens, WIDTH), np.float32)
        rows[start : start + 100] = block + block.mean(1, keepdims=True)
    return rows


def _same_rows(readers: dict[str, Reader], rows: np.ndarray) -> None:
    for reader in readers.values():
        out = np.empty((2, *rows.shape[1:]), rows.dtype)
        reader.fill([7, 3], out)
        if not (np.array_equal(out, rows[[7, 3]]) and np.array_equal(reader.one(5), rows[5])):
            raise AssertionError("a store gave other rows than were written")


def _alone(readers: dict[str, Reader], scale: Scale, rows: np.ndarray) -> tuple[dict[str, float], ...]:
    """Seconds for one sample, for a batch, and for a batch into a new array; the median of rounds that take turns."""
    timed: tuple[dict[str, list[float]], ...] = (defaultdict(list), defaultdict(list), defaultdict(list))
    out = np.zeros((BATCH, *rows.shape[1:]), rows.dtype)
    for number in range(-1, scale.rounds):
        for name, reader in readers.items():
            found = _round(reader, random.Random(number), out, _limits(name, scale))
            if number >= 0:  # the first round warms the page cache
                for kind, seconds in zip(timed, found, strict=True):
                    kind[name].append(seconds)
    return tuple({name: statistics.median(values) for name, values in kind.items()} for kind in timed)


def _limits(name: str, scale: Scale) -> tuple[int, int, int]:
    """Rows to choose from, samples and batches per round."""
    return (scale.gzip_rows, 200, 2) if name == SLOW else (scale.rows, scale.rows, 8)


def _round(
    reader: Reader, chance: random.Random, out: np.ndarray, limits: tuple[int, int, int]
) -> tuple[float, float, float]:
    known, samples, batches = limits
    singles = chance.choices(range(known), k=samples)
    lists = [chance.choices(range(known), k=BATCH) for _ in range(batches)]
    return (
        _each(singles, reader.one),
        _each(lists, lambda ids: reader.fill(ids, out)),
        _each(lists, lambda ids: reader.fill(ids, np.empty_like(out))),
    )


def _each(items: list[Any], work: Callable[[Any], object]) -> float:
    began = time.perf_counter()
    for item in items:
        work(item)
    return (time.perf_counter() - began) / len(items)


def _two_processes(name: str, folder: Path, like: np.ndarray, scale: Scale) -> float:
    """Samples per second of two processes that read at once, each with handles of its own."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    known = scale.gzip_rows if name == SLOW else scale.rows
    asked = (name, folder, like, known, scale.seconds, barrier, results)
    children = [context.Process(target=_read_for_a_while, args=(number, *asked)) for number in range(2)]
    for child in children:
        child.start()
    rates = [results.get(timeout=30 + 10 * scale.seconds) for _ in children]
    for child in children:
        child.join()
    return sum(rates)


def _read_for_a_while(seed, name, folder, like, known, seconds, barrier, results) -> None:
    reader = WAYS[name].read(folder / WAYS[name].file, like)
    chance = random.Random(seed)
    picks = [chance.choices(range(known), k=20) for _ in range(2000)]
    for image_id in picks[0]:
        reader.one(image_id)
    barrier.wait()
    began, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        for image_id in picks[count // 20 % len(picks)]:
            reader.one(image_id)
        count += 20
    results.put(count / spent)


def _as_table(
    title: str,
    targets: tuple[int, ...],
    dtype: str,
    found: tuple[dict[str, float], ...],
    saved: float,
    scale: Scale,
) -> Table:
    one, batch, fresh, together = found
    # The targets were set for float32, which is what the field's extractors write.
    plain, single, many, both = targets if dtype == "float32" else (None,) * 4
    us, ms = (lambda s: f"{s * 1e6:,.1f} us"), (lambda s: f"{s * 1e3:,.2f} ms")
    rows = [
        _row("one sample, plain h5py on our file", one, "h5py", us, plain),
        _row("one sample, our reader", one, "ours", us, single),
        _row(f"batch of {BATCH}, plain h5py on our file", batch, "h5py", ms, None),
        _row(f"batch of {BATCH}, our reader", batch, "ours", ms, many),
        _row(f"batch of {BATCH} into a new array, our reader", fresh, "ours", ms, None),
        _row("2 processes, plain h5py on our file", together, "h5py", _rate, None, more_is_better=True),
        _row("2 processes, our reader", together, "ours", _rate, both, more_is_better=True),
    ]
    notes = [
        f"random reads with a warm page cache out of {scale.rows:,} rows ({scale.gzip_rows:,} for gzip); median of {scale.rounds} rounds",
        f"gzip saves {saved:.1%} of the space here",
    ]
    if "lmdb" not in WAYS:
        notes.append("LMDB SKIPPED: the package lmdb is not installed (pip install lmdb)")
    further = ("LMDB", ".npy per image", "packed .npy, memmap")
    return Table("store", f"random reads, {title}", "gzip 4 per image", rows, further, tuple(notes))


def _rate(value: float) -> str:
    return f"{value:,.0f}/s"


def _row(
    what: str,
    values: dict[str, float],
    name: str,
    shown: Callable[[float], str],
    least: int | None,
    *,
    more_is_better: bool = False,
) -> Row:
    ratio = values[name] / values[SLOW] if more_is_better else values[SLOW] / values[name]
    more = tuple(shown(values[other]) if other in values else "skipped" for other in ("lmdb", "npy", "packed"))
    return Row(
        what,
        shown(values[name]),
        shown(values[SLOW]),
        ratio,
        f">= {least}x" if least else "",
        ratio >= least if least else None,
        more,
    )
