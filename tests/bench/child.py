"""A real extraction child that starts in a moment, and what an unfinished or finished file of its holds.

The child runs the program's own code from its spec to its exit code. Only the start of the interpreter and the
import of torch are shared: a fork server has done both.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import zlib
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import h5py
import msgspec
import numpy as np
from PIL import Image as Pillow

from fsgr_tui.core.event import EVENTS_VARIABLE, EventReader, Fault, Phase, Result
from fsgr_tui.core.extraction import ExtractSpec, ModelChoice
from fsgr_tui.features.build import BuildPaths
from fsgr_tui.features.images import Image, write_image_list
from fsgr_tui.features.ledger import LedgerHeader, _sound_records
from fsgr_tui.features.manifest import ROW_CRC32, ROW_IDS
from fsgr_tui.features.reader import FeatureFile

CHOICE = ModelChoice(clip_model="fsgr-demo-16", weights="random:0", precision="fp32", device="cpu")
SAME = 1e-2
"""Relative L2 up to which a row is that of its image (batches of other sizes round differently); a torn row is off by far more."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["fsgr_tui.extract.work"])


def tiny_pictures(folder: Path, count: int) -> list[Image]:
    """JPEG files of 64 x 64 pixels, each another."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    images = []
    for number in range(count):
        blocks = generator.integers(0, 256, (4, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        path = folder / f"{number}.jpg"
        Pillow.fromarray(blocks).save(path)
        images.append(Image(number, str(path)))
    return images


def write_spec(folder: Path, images: list[Image], output: Path) -> ExtractSpec:
    listed = folder / "images.list"
    write_image_list(listed, images)
    return ExtractSpec(model=CHOICE, images_file=str(listed), output=str(output), batch_size=16, workers=2, resume=True)


@dataclass
class Child:
    """A started extraction; `events` tells what it said."""

    process: ForkServerProcess
    events: Path

    @property
    def phase(self) -> str:
        """The phase that it was in last."""
        phases = [event.name for event in EventReader(self.events).new() if isinstance(event, Phase)]
        return phases[-1] if phases else "start"

    @property
    def fault(self) -> Fault | None:
        return next((event for event in EventReader(self.events).new() if isinstance(event, Fault)), None)

    @property
    def finished(self) -> bool:
        return any(isinstance(event, Result) for event in EventReader(self.events).new())

    @property
    def publish_s(self) -> float:
        """How long it verified and published."""
        told = list(EventReader(self.events).new())
        began = next(event.at for event in told if isinstance(event, Phase) and event.name == "verify")
        return next(event.at for event in told if isinstance(event, Result)) - began

    @property
    def runs(self) -> bool:
        return self.process.exitcode is None

    def wait(self, seconds: float = 120) -> int | None:
        self.process.join(seconds)
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def start(spec: ExtractSpec, events: Path, *, reserve: bool = True, commit_s: float = 0.05) -> Child:
    """Start an extraction.

    `reserve` False stands for a file system that cannot reserve space, so that it runs out in the middle;
    `commit_s` is how often rows are confirmed (2 s by default: there would be hardly a kill between two of them).
    """
    events.unlink(missing_ok=True)
    process = _context.Process(target=_extract, args=(msgspec.json.encode(spec), str(events), reserve, commit_s))
    process.start()
    return Child(process, events)


def _extract(spec: bytes, events: str, reserve: bool, commit_s: float) -> None:
    from fsgr_tui.core.child import run_child
    from fsgr_tui.extract import pipeline, work
    from fsgr_tui.features import build

    os.environ[EVENTS_VARIABLE] = events
    log = os.open(events + ".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 2)
    pipeline.COMMIT_S = commit_s
    if not reserve:
        build.allocate = os.ftruncate
    asked = msgspec.json.decode(spec, type=ExtractSpec)
    sys.exit(run_child(lambda told, stopper: work.extract(asked, told, stopper)))


class Reference:
    """The rows as an undisturbed extraction gives them."""

    def __init__(self, path: Path) -> None:
        file = FeatureFile(path)
        self._rows: dict[int, np.ndarray] = dict(
            zip(file.ids.tolist(), file.read(file.ids.tolist()).astype(np.float32), strict=True)
        )

    @property
    def ids(self) -> list[int]:
        """The images that could be read."""
        return sorted(self._rows)

    def holds(self, image_id: int, row: np.ndarray) -> bool:
        expected = self._rows[image_id]
        return bool(np.linalg.norm(row.astype(np.float32) - expected) <= SAME * np.linalg.norm(expected))


@dataclass
class Found:
    """What lies on the disk after a child has ended.

    Attributes:
        rows: rows in the ledger.
        lost: of these, rows whose bytes do not hold their CRC32.
        torn: of these, rows that hold their CRC32 and are not their image's.
        opens: whether plain h5py opens the unfinished file; None when there is nothing to open yet.
        publishing: whether the end came within the publishing step, so that the file's head lies aside.
    """

    rows: set[int] = field(default_factory=set)
    lost: int = 0
    torn: int = 0
    opens: bool | None = None
    publishing: bool = False


def look(paths: BuildPaths, images: list[Image], reference: Reference) -> Found:
    """Look at an unfinished file with nothing but the ledger's lines and h5py."""
    header, crc32 = read_ledger(paths.ledger)
    if header is None or not paths.part.exists():
        return Found()
    found = Found(rows=set(crc32), publishing=paths.head.exists())
    kind, shape = np.dtype(header.identity["dtype"]), (header.identity["tokens"], header.identity["width"])
    with paths.part.open("rb") as file:
        for row, expected in crc32.items():
            data = os.pread(file.fileno(), header.row_bytes, header.first_offset + row * header.stride_bytes)
            if zlib.crc32(data) != expected:
                found.lost += 1
            elif not reference.holds(images[row].id, np.frombuffer(data, kind).reshape(shape)):
                found.torn += 1
    found.opens = _opens(paths, header, [images[row].id for row in crc32])
    return found


def read_ledger(path: Path) -> tuple[LedgerHeader | None, dict[int, int]]:
    """Header and CRC32 by row, without taking the lock or mending anything."""
    header, crc32 = None, {}
    for record, _ in _sound_records(path.read_bytes() if path.exists() else b""):
        if "ledger" in record:
            header = msgspec.convert(record["ledger"], LedgerHeader)
        elif "rows" in record:
            crc32.update(zip(record["rows"], record["crc32"], strict=True))
        elif "forget" in record:
            crc32 = {row: value for row, value in crc32.items() if row not in record["forget"]}
    return header, crc32


def _opens(paths: BuildPaths, header: LedgerHeader, ids: list[int]) -> bool:
    """Whether plain h5py opens the file and has the keys; within the publishing step, once its head is put back."""
    place = paths.part
    if paths.head.exists():
        place = paths.part.with_suffix(".copy")
        shutil.copy(paths.part, place)
        with place.open("r+b") as file:
            file.write(paths.head.read_bytes())
            file.truncate(header.file_bytes)
    try:
        with h5py.File(place, "r") as file:
            return all(f"{image_id}_grids" in file for image_id in ids)
    except OSError:
        return False
    finally:
        if place != paths.part:
            place.unlink()


def whole(path: Path, reference: Reference) -> bool:
    """Whether a file that bears the final name holds the row of every readable image, each with its CRC32."""
    with h5py.File(path, "r") as file:
        ids, sums = file.attrs[ROW_IDS].tolist(), file.attrs[ROW_CRC32].tolist()
        rows = [file[f"{image_id}_grids"][()] for image_id in ids]
    return sorted(ids) == reference.ids and all(
        zlib.crc32(row.tobytes()) == expected and reference.holds(image_id, row)
        for image_id, row, expected in zip(ids, rows, sums, strict=True)
    )
