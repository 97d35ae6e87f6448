"""SIGKILL at random moments of an extraction: nothing that the ledger confirmed is lost, nothing torn is taken."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from fsgr_tui.core.extraction import ExtractSpec
from fsgr_tui.features.build import BuildPaths
from fsgr_tui.features.images import Image
from tests.bench import child
from tests.bench.stores import write_gzip
from tests.bench.table import Row, Table, counted

if TYPE_CHECKING:
    from tests.bench.__main__ import Bench

PUBLISH_SHARE = 0.25
"""Share of the kills that wait for the last phase, which is short and would be hit seldom."""


@dataclass
class Count:
    """What was found after the kills."""

    kills: int = 0
    places: Counter[str] = field(default_factory=Counter)
    confirmed: int = 0
    lost: int = 0
    forgotten: int = 0
    torn: int = 0
    unreadable: int = 0
    looked_at: int = 0
    published: int = 0
    published_broken: int = 0
    failed_resumes: list[str] = field(default_factory=list)


@dataclass
class Stage:
    """Where the kills take place."""

    spec: ExtractSpec
    paths: BuildPaths
    images: list[Image]
    reference: child.Reference
    events: Path
    whole_s: float
    publish_s: float


def run(bench: Bench) -> list[Table]:
    kills, images = (20, 200) if bench.quick else (100, 400)
    stage = _prepare(bench, images)
    count, chance, before = Count(), random.Random(0), set()
    while count.kills < kills:
        if count.kills % 10 == 0:
            bench.say(f"crash: {count.kills} of {kills} kills")
        before = _round(stage, chance, count, before)
    # At last, what the kills have left is finished.
    code = child.start(stage.spec, stage.events).wait()
    count.published += 1
    count.published_broken += code != 0 or not child.whole(stage.paths.final, stage.reference)
    return [_table(count, kills, stage, _habit(bench, kills // 5, chance))]


def _prepare(bench: Bench, count: int) -> Stage:
    images = child.tiny_pictures(bench.folder / "pictures", count)
    events = bench.folder / "events"
    undisturbed = child.write_spec(bench.folder, images, bench.folder / "undisturbed.hdf5")
    child.start(undisturbed, events).wait()  # the first child waits for the fork server to import torch
    final = Path(undisturbed.output)
    reference = child.Reference(final)
    final.unlink()
    began = time.monotonic()
    quiet = child.start(undisturbed, events)
    quiet.wait()
    spec = child.write_spec(bench.folder, images, bench.folder / "killed.hdf5")
    return Stage(
        spec, BuildPaths(Path(spec.output)), images, reference, events, time.monotonic() - began, quiet.publish_s
    )


def _round(stage: Stage, chance: random.Random, count: Count, before: set[int]) -> set[int]:
    """One child and its end; returns the rows that are confirmed now."""
    running = child.start(stage.spec, stage.events)
    _wait_for_the_moment(stage, running, chance)
    killed = running.runs
    running.kill()
    if killed:
        count.kills += 1
        count.places[_place(running.phase)] += 1
    elif running.process.exitcode != 0:
        count.failed_resumes.append(running.fault.what if running.fault else f"exit {running.process.exitcode}")
    if stage.paths.final.exists():
        count.published += 1
        count.published_broken += not child.whole(stage.paths.final, stage.reference)
        for path in (stage.paths.final, stage.paths.ledger, stage.paths.head):
            path.unlink(missing_ok=True)
        return set()
    return _note(child.look(stage.paths, stage.images, stage.reference), count, before)


def _wait_for_the_moment(stage: Stage, running: child.Child, chance: random.Random) -> None:
    if chance.random() >= PUBLISH_SHARE:
        running.wait(chance.uniform(0, stage.whole_s / 2))
        return
    while running.runs and running.phase != "verify":
        time.sleep(0.001)
    time.sleep(chance.uniform(0, stage.publish_s))


def _place(phase: str) -> str:
    return {"extract": "while rows were written", "verify": "while verifying or publishing"}.get(
        phase, "before the first row"
    )


def _note(found: child.Found, count: Count, before: set[int]) -> set[int]:
    count.confirmed += len(found.rows)
    count.lost += found.lost
    count.torn += found.torn
    count.forgotten += len(before - found.rows)
    count.looked_at += found.opens is not None
    count.unreadable += found.opens is False
    count.places["(of these, with the publishing step begun)"] += found.publishing
    return found.rows


def _habit(bench: Bench, kills: int, chance: random.Random) -> tuple[int, int]:
    """The same done to a writer of today's habit: files that open, and kills."""
    bench.say("crash: one gzip data set per image, appended, for comparison")
    context, opened = multiprocessing.get_context("fork"), 0
    for number in range(kills):
        path = bench.folder / f"habit-{number}.hdf5"
        rows = np.random.default_rng(0).standard_normal((2000, 49, 96), np.float32)
        writer = context.Process(target=write_gzip, args=(path, rows))
        writer.start()
        while not path.exists():
            time.sleep(0.01)
        time.sleep(chance.uniform(0.1, 0.6))
        writer.kill()
        writer.join()
        with contextlib.suppress(OSError), h5py.File(path, "r") as file:
            opened += len(file) > 0
    return opened, kills


def _table(count: Count, kills: int, stage: Stage, habit: tuple[int, int]) -> Table:
    rows = [
        Row("SIGKILLs", f"{count.kills:,}", target=f"{kills:,}", met=count.kills >= kills),
        *(Row(f"- {place}", f"{number:,}") for place, number in sorted(count.places.items())),
        Row("rows in the ledger, looked at after every kill", f"{count.confirmed:,}"),
        counted("of these, lost: the CRC32 does not hold", count.lost, 0),
        counted("of these, torn and yet accepted: not the image's row", count.torn, 0),
        counted("rows that were in the ledger before a kill and not after it", count.forgotten, 0),
        Row(
            "unfinished files opened in plain h5py",
            f"{count.looked_at - count.unreadable:,} of {count.looked_at:,}",
            f"{habit[0]} of {habit[1]}",
        ),
        counted("unfinished files that did not open", count.unreadable, 0),
        Row("files that got their final name, on the way or at the end", f"{count.published:,}"),
        counted("of these, not whole", count.published_broken, 0),
        counted("runs that failed to go on by themselves", len(count.failed_resumes), 0),
    ]
    notes = [
        f"extraction of {len(stage.images)} images by the demo tower ({stage.whole_s:.1f} s when it is left alone), rows confirmed every 0.05 s; "
        "every run resumes what the kill before it has left",
        "a kill does not drop what the kernel holds: this shows the order of writes, not a power cut",
        "a file whose publishing step was cut off is opened with its head put back, as --resume does",
        *(f"failed: {what}" for what in count.failed_resumes[:5]),
    ]
    return Table("crash", "SIGKILL at random moments", "gzip 4 per image", rows, (), tuple(notes))
