"""A disk that fills up at random moments, on a small file system of its own."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fsgr_tui.core.errors import EXIT_FOUND_FAULTS, EXIT_MACHINE_CANNOT, EXIT_OK
from fsgr_tui.core.extraction import ExtractSpec
from fsgr_tui.features.build import BuildPaths
from fsgr_tui.features.images import Image
from tests.bench import child
from tests.bench.table import Row, Table, counted, skipped

if TYPE_CHECKING:
    from tests.bench.__main__ import Bench

TITLE = "a file system that fills up while an extraction goes on"
CHUNK = 1 << 16
UNREADABLE = 10
FINISHED = (EXIT_OK, EXIT_FOUND_FAULTS)
"""Exit codes of a run that came to its end: with images refused, it is 1."""

ATTEMPTS = 4
"""Runs of a round on the full disk before space is made."""


class Ballast:
    """A file that takes space away, and gives it back; as a context, it does so at random until the end."""

    def __init__(self, folder: Path, chance: random.Random, most_free: int) -> None:
        self._folder = folder
        self._fd = os.open(folder / "ballast", os.O_RDWR | os.O_CREAT, 0o600)
        self._chance = chance
        self._most_free = most_free
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._move, daemon=True)

    def leave(self, free: int) -> None:
        """Grow or shrink so that about `free` bytes are left."""
        disk = os.statvfs(self._folder)
        size = max(0, os.fstat(self._fd).st_size + disk.f_bavail * disk.f_frsize - free)
        os.ftruncate(self._fd, min(size, os.fstat(self._fd).st_size))
        # Whoever else writes may take the space first.
        with contextlib.suppress(OSError):
            while (missing := size - os.fstat(self._fd).st_size) > 0:
                os.pwrite(self._fd, bytes(min(missing, CHUNK)), os.fstat(self._fd).st_size)

    def __enter__(self) -> Ballast:
        self._thread.start()
        return self

    def __exit__(self, *_reason) -> None:
        self._ended.set()
        self._thread.join()

    def _move(self) -> None:
        while not self._ended.wait(self._chance.uniform(0.02, 0.3)):
            self.leave(0 if self._chance.random() < 0.5 else self._chance.randrange(self._most_free))

    def close(self) -> None:
        os.close(self._fd)


@dataclass
class Count:
    """What the rounds came to."""

    rounds: int = 0
    exits: Counter[str] = field(default_factory=Counter)
    full: Counter[str] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)
    confirmed: int = 0
    lost: int = 0
    forgotten: int = 0
    torn: int = 0
    unreadable: int = 0
    resumed: int = 0
    whole: int = 0


@dataclass
class Stage:
    """Where the rounds take place."""

    disk: Path
    spec: ExtractSpec
    images: list[Image]
    reference: child.Reference
    events: Path
    need: int


def run(bench: Bench) -> list[Table]:
    rounds, images, size_mb = (6, 200, 8) if bench.quick else (30, 500, 16)
    disk = bench.folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "fsgr-bench", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        return [skipped("disk-full", TITLE, f"mounting a small tmpfs is not allowed here ({mounted.stderr.strip()})")]
    try:
        return [_measure(bench, disk, rounds, images, size_mb)]
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def _measure(bench: Bench, disk: Path, rounds: int, count_of_images: int, size_mb: int) -> Table:
    stage = _prepare(bench, disk, count_of_images)
    count = Count()
    for number in range(rounds):
        if number % 5 == 0:
            bench.say(f"disk-full: round {number} of {rounds}")
        _round(stage, random.Random(number), count, reserve=number % 3 == 0)
    return _table(count, stage, size_mb)


def _prepare(bench: Bench, disk: Path, count: int) -> Stage:
    images = child.tiny_pictures(bench.folder / "pictures", count)
    # Refused images are noted in the ledger too, on a disk that may be full.
    for number in range(0, count, count // UNREADABLE):
        images.insert(number, Image(count + number, str(bench.folder / f"missing-{number}.jpg")))
    events = bench.folder / "events"
    undisturbed = child.write_spec(bench.folder, images, bench.folder / "undisturbed.hdf5")
    child.start(undisturbed, events).wait()
    final = Path(undisturbed.output)
    spec = child.write_spec(bench.folder, images, disk / "full.hdf5")
    return Stage(disk, spec, images, child.Reference(final), events, final.stat().st_size)


@contextlib.contextmanager
def _ballast(stage: Stage, chance: random.Random) -> Iterator[Ballast]:
    ballast = Ballast(stage.disk, chance, stage.need // 3)
    try:
        yield ballast
    finally:
        ballast.close()
        (stage.disk / "ballast").unlink()


def _round(stage: Stage, chance: random.Random, count: Count, *, reserve: bool) -> None:
    paths, spec, before = BuildPaths(Path(stage.spec.output)), stage.spec, set()
    count.rounds += 1
    with _ballast(stage, chance) as ballast:
        # The first run meets a disk that is too small from the start, or one that gets full on the way.
        ballast.leave(chance.randrange(stage.need * 2))
        with ballast:
            for _ in range(ATTEMPTS):
                running = child.start(spec, stage.events, reserve=reserve)
                _judge(running, count, "reserved" if reserve else "not reserved")
                if paths.final.exists():
                    break
                before = _note(child.look(paths, stage.images, stage.reference), count, before)
    running = child.start(msgspec.structs.replace(spec, resume=True), stage.events, reserve=reserve)
    done = running.wait() in FINISHED and running.finished
    count.resumed += done
    if not done:
        count.strange.append(_told(running))
    count.whole += paths.final.exists() and child.whole(paths.final, stage.reference)
    for path in (paths.final, paths.part, paths.ledger, paths.head):
        path.unlink(missing_ok=True)


def _judge(running: child.Child, count: Count, way: str) -> None:
    """A run on the full disk ends with its result, or with exit code 3 and the reason."""
    code = running.wait()
    fault = running.fault
    if code in FINISHED and running.finished:
        count.exits["found space enough, finished"] += 1
    elif code == EXIT_MACHINE_CANNOT and fault is not None and fault.exit_code == code:
        count.exits[f"exit 3, space {way}"] += 1
        count.full["at the start" if running.phase in ("start", "load model") else f"in the phase {running.phase}"] += 1
    else:
        count.strange.append(_told(running))


def _told(running: child.Child) -> str:
    fault = running.fault
    return f"exit {running.process.exitcode} in {running.phase}: {fault.what if fault else 'nothing said'}"


def _note(found: child.Found, count: Count, before: set[int]) -> set[int]:
    count.confirmed += len(found.rows)
    count.lost += found.lost
    count.torn += found.torn
    count.forgotten += len(before - found.rows)
    count.unreadable += found.opens is False
    return found.rows


def _table(count: Count, stage: Stage, size_mb: int) -> Table:
    rows = [
        Row("rounds", f"{count.rounds:,}"),
        *(Row(f"- runs that ended so: {how}", f"{number:,}") for how, number in sorted(count.exits.items())),
        *(Row(f"- of those with exit 3, {where}", f"{number:,}") for where, number in sorted(count.full.items())),
        counted("runs that ended otherwise (crash, another code, no reason given)", len(count.strange), 0),
        Row("rows in the ledger, looked at after every run", f"{count.confirmed:,}"),
        counted("of these, lost: the CRC32 does not hold", count.lost, 0),
        counted("of these, torn and yet accepted: not the image's row", count.torn, 0),
        counted("rows that were in the ledger before a run and not after it", count.forgotten, 0),
        counted("unfinished files that did not open", count.unreadable, 0),
        counted("resumed to the end once space was free", count.resumed, count.rounds),
        counted("whole files, every row checked", count.whole, count.rounds),
    ]
    notes = [
        f"tmpfs of {size_mb} MiB; the finished file takes {stage.need / 1e6:.1f} MB; another file grows and shrinks at random, half of the time to the last byte; {UNREADABLE} of the images cannot be read; "
        f"up to {ATTEMPTS} runs on the full disk per round, then one with space",
        "space reserved: the program as it is; not reserved: as on a file system without fallocate, so that space ends in the middle",
        *(f"ended otherwise: {what}" for what in count.strange[:5]),
    ]
    return Table("disk-full", TITLE, "-", rows, (), tuple(notes))
