"""Conversion: copy every row, read every row back from the target, then give the target its name and measure both."""

from __future__ import annotations

import contextlib
import os
import random
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot
from fsgr_tui.core.event import EventWriter, RateWindow
from fsgr_tui.core.extraction import FormatName
from fsgr_tui.core.language import tr
from fsgr_tui.features.formats.draft import Draft
from fsgr_tui.features.formats.rows import Content, Format, Rows
from fsgr_tui.features.images import ids_digest
from fsgr_tui.features.manifest import Manifest
from fsgr_tui.features.writer import disk_problem, system_error

BATCH_BYTES = 1 << 24
BATCH_ROWS = 256
SAMPLE_ROWS = 500
RATE_BOX_S = 1.5
RATE_LEAST_S = 0.25

Stopping = Callable[[], bool]


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """One conversion; see `core.extraction.ConvertSpec` for the meaning of the flags."""

    source: Path
    target: Path
    source_format: Format
    target_format: Format
    dtype: str | None = None
    overwrite: bool = False
    rates: bool = True
    command: str = ""


class Side(msgspec.Struct, frozen=True):
    """One end of a conversion.

    Attributes:
        disk_bytes: allocated on the disk.
        ratio: of that to the bytes of the values alone.
        rows_per_s: single rows at random out of the page cache, one process; None when it was not measured.
    """

    path: str
    format: FormatName
    dtype: str
    disk_bytes: int
    ratio: float
    rows_per_s: float | None


class ConvertReport(msgspec.Struct, frozen=True):
    """What a conversion came to: every row was read back from the target and compared.

    Attributes:
        global_width: channels of the class tokens that were converted with the rows; 0 for none.
    """

    source: Side
    target: Side
    rows: int
    row_shape: tuple[int, ...]
    seconds: float
    global_width: int = 0


def convert(job: Conversion, events: EventWriter, stopping: Stopping) -> ConvertReport | None:
    """Convert, verify, publish, measure.

    Returns:
        The report; None when it was stopped, and then nothing is left behind.

    Raises:
        BadRequest: the target exists, or cannot hold such rows.
        FoundFaults: the source is damaged, a value overflows the new type, or a row did not come back as it was written.
        MachineCannot: the disk is full or fails, or another process writes the same target.
    """
    began = time.monotonic()
    rows = job.source_format.open(job.source)
    try:
        for remark in rows.remarks:
            events.warning(remark)
        wanted = _wanted(rows.content, job, events)
        with Draft(job.target, overwrite=job.overwrite) as draft:
            if not _copied(rows, job, wanted, draft.content, events, stopping):
                return None
            if not _verified(rows, job, wanted, draft.content, events, stopping):
                return None
            draft.publish()
        seconds = time.monotonic() - began
        events.phase("measure reading")
        return ConvertReport(
            _side(rows, job.source, job.source_format, rates=job.rates),
            _target_side(job),
            len(wanted.ids),
            wanted.row_shape,
            round(seconds, 3),
            wanted.global_width,
        )
    finally:
        rows.close()


def _wanted(content: Content, job: Conversion, events: EventWriter) -> Content:
    """What the target shall hold, with a manifest that is true of it."""
    manifest = content.manifest
    dtype = job.dtype or content.dtype
    if np.dtype(content.dtype).kind not in "fiu":
        raise FoundFaults(
            tr("{source} holds {dtype}, not numbers.", source=job.source, dtype=content.dtype),
            tr("Look whether this is the right file."),
        )
    if dtype != content.dtype and np.dtype(content.dtype).kind != "f":
        raise BadRequest(
            tr("{source} holds {dtype}, which --dtype cannot change.", source=job.source, dtype=content.dtype),
            tr("Leave --dtype out."),
        )
    if manifest is None:
        return msgspec.structs.replace(content, dtype=dtype)
    _require_as_promised(content, manifest, job.source)
    if manifest.images and manifest.images != len(content.ids):
        events.warning(
            tr(
                "The manifest of {source} counts {images:,} images, {n:,} are there.",
                source=job.source,
                images=manifest.images,
                n=len(content.ids),
            )
        )
    # The type is part of a file's identity; that it came by conversion must be seen later.
    changed = dtype != content.dtype
    command = f"{manifest.command}; {job.command or f'converted from {content.dtype}'}" if changed else manifest.command
    refused_ids = [image_id for image_id, _, _ in content.refused]
    true = msgspec.structs.replace(
        manifest,
        dtype=dtype,
        command=command,
        images=len(content.ids),
        refused=len(content.refused),
        converted_from=(*manifest.converted_from, content.dtype) if changed else manifest.converted_from,
        ids_sha256=ids_digest([*content.ids, *refused_ids]),
    )
    return msgspec.structs.replace(content, dtype=dtype, manifest=true)


def _require_as_promised(content: Content, manifest: Manifest, source: Path) -> None:
    promised = (manifest.row_shape, manifest.dtype)
    if promised != (content.row_shape, content.dtype):
        raise FoundFaults(
            tr(
                "The rows of {source} are {row_shape} {dtype}, its manifest promises {promised} {promised2}.",
                source=source,
                row_shape=content.row_shape,
                dtype=content.dtype,
                promised=promised[0],
                promised2=promised[1],
            ),
            tr("Look at it with `fsgr-tui check`."),
        )
    if manifest.global_width != content.global_width:
        raise FoundFaults(
            tr(
                "The manifest of {source} promises class tokens of {global_width} channels, and {global_width2} are "
                "there.",
                source=source,
                global_width=manifest.global_width,
                global_width2=content.global_width or tr("none"),
            ),
            tr("Look at it with `fsgr-tui check`."),
        )


def _copied(rows: Rows, job: Conversion, wanted: Content, place: Path, events: EventWriter, stopping: Stopping) -> bool:
    """Write every row into the draft; False when it was stopped."""
    events.phase("convert", len(wanted.ids), "rows")
    with _writing(job.target):
        sink = job.target_format.create(place, wanted)
    with contextlib.closing(sink):
        for ids in _batches(rows.content, events):
            if stopping():
                return False
            arrays = _read(rows, ids)
            _require_sound(rows, ids, arrays, job.source)
            cast = [_cast(array, wanted.dtype, ids, job.source) for array in arrays]
            with _writing(job.target):
                sink.write(ids, *cast)
        with _writing(job.target):
            sink.finish()
    return True


def _read(rows: Rows, ids: Sequence[int]) -> list[NDArray[np.generic]]:
    """The arrays of some images: their rows, and their class tokens where there are any."""
    return [rows.read(ids), rows.read_class_tokens(ids)] if rows.content.global_width else [rows.read(ids)]


def _verified(
    rows: Rows, job: Conversion, wanted: Content, place: Path, events: EventWriter, stopping: Stopping
) -> bool:
    """Read every row back from the draft and compare it with the source; False when it was stopped."""
    events.phase("verify", len(wanted.ids), "rows")
    written = job.target_format.open(place)
    with contextlib.closing(written):
        _require_same_content(written.content, wanted, job.target)
        for ids in _batches(rows.content, events):
            if stopping():
                return False
            pairs = zip(_read(rows, ids), _read(written, ids), strict=True)
            different = [bad for bad in (first_difference(*pair) for pair in pairs) if bad is not None]
            if different:
                bad = min(different)
                raise FoundFaults(
                    tr(
                        "{target}: image {ids} did not come back as it was written; nothing was published.",
                        target=job.target,
                        ids=ids[bad],
                    ),
                    tr("Convert again; if it happens again, suspect the disk or the memory."),
                )
    return True


def first_difference(source: NDArray[Any], target: NDArray[Any]) -> int | None:
    """The first row in which two arrays differ; None when there is none.

    Rows of one type have to be equal byte for byte. Where the target's type is wider, the values have to be equal; where
    it is narrower, no further apart than half the distance between its neighbouring numbers.

    Args:
        source, target: arrays (rows, ...) of the same shape.
    """
    if source.dtype == target.dtype:
        same = np.ascontiguousarray(source).view(np.uint8) == np.ascontiguousarray(target).view(np.uint8)
    else:
        wide = np.promote_types(source.dtype, target.dtype)
        ours, theirs = source.astype(wide), target.astype(wide)
        limit = np.zeros((), wide) if target.dtype == wide else _rounding(np.abs(ours), target.dtype)
        with np.errstate(invalid="ignore"):
            same = (ours == theirs) | (np.abs(ours - theirs) <= limit) | (np.isnan(ours) & np.isnan(theirs))
    rows = np.flatnonzero(~same.reshape(len(source), -1).all(1))
    return int(rows[0]) if len(rows) else None


def _rounding(size: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """How far rounding to `dtype` may move numbers of these magnitudes; an infinite one not at all."""
    kind = np.finfo(dtype)
    limit = np.maximum(size * (float(kind.eps) / 2), float(kind.smallest_subnormal) / 2)
    return np.where(np.isfinite(size), limit, 0)


def _cast(values: NDArray[np.generic], dtype: str, ids: Sequence[int], source: Path) -> NDArray[np.generic]:
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):
        cast = values.astype(dtype)
    burst = np.isfinite(values) & ~np.isfinite(cast)
    if burst.any():
        row = int(np.flatnonzero(burst.reshape(len(ids), -1).any(1))[0])
        largest = float(np.max(np.abs(values[row], where=np.isfinite(values[row]), out=np.zeros_like(values[row]))))
        raise FoundFaults(
            tr(
                "{source}: image {ids} holds {largest:.6g}, which {dtype} cannot (its largest is {float:g}).",
                source=source,
                ids=ids[row],
                largest=largest,
                dtype=dtype,
                float=float(np.finfo(dtype).max),
            ),
            tr("Keep {name}: leave --dtype out.", name=values.dtype.name),
        )
    return cast


def _require_sound(rows: Rows, ids: Sequence[int], arrays: Sequence[NDArray[np.generic]], source: Path) -> None:
    """A damaged row must not be given a fresh checksum."""
    for number, image_id in enumerate(ids):
        known = rows.crc32.get(image_id)
        if known is None:
            continue
        found = 0
        for array in arrays:
            found = zlib.crc32(np.ascontiguousarray(array[number]).data.cast("B"), found)
        if found != known:
            raise FoundFaults(
                tr(
                    "{source}: image {image_id} does not hold its checksum: it changed since it was written.",
                    source=source,
                    image_id=image_id,
                ),
                tr("`fsgr-tui check --deep` lists all such images; extract them again."),
            )


def _require_same_content(found: Content, wanted: Content, target: Path) -> None:
    names = [name for name in Content.__struct_fields__ if getattr(found, name) != getattr(wanted, name)]
    if names:
        raise FoundFaults(
            tr(
                "{target}: {names} did not come back as written; nothing was published.",
                target=target,
                names=" and ".join(names),
            ),
            tr("Convert again; if it happens again, report it."),
        )


def _batches(content: Content, events: EventWriter) -> Iterator[Sequence[int]]:
    """All ids in pieces whose rows fit into 16 MiB; progress is told when the work on a piece is done."""
    size = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, content.row_bytes + content.global_bytes)))
    window = RateWindow()
    window.add(0)
    for start in range(0, len(content.ids), size):
        ids = content.ids[start : start + size]
        yield ids
        window.add(start + len(ids))
        events.progress(start + len(ids), len(content.ids), window.rate())


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Faults of the disk under the target; advice that belongs to extraction is replaced."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        known = system_error(error)
        if known is None:
            raise
        what = disk_problem(target, known).what
        raise MachineCannot(what, tr("Nothing was changed at the target; mend this and convert again.")) from None


def _target_side(job: Conversion) -> Side:
    with contextlib.closing(job.target_format.open(job.target)) as rows:
        return _side(rows, job.target, job.target_format, rates=job.rates)


def _side(rows: Rows, path: Path, kind: Format, *, rates: bool) -> Side:
    size = disk_bytes(path)
    rate = random_rate(rows) if rates else None
    return Side(str(path), kind.name, rows.content.dtype, size, round(size / rows.content.raw_bytes, 4), rate)


def disk_bytes(path: Path) -> int:
    """Bytes that a file, or all files of a folder, take on the disk."""
    places = [path, *path.iterdir()] if path.is_dir() else [path]
    return sum(_allocated(place.stat()) for place in places)


def _allocated(stat: os.stat_result) -> int:
    # Some network file systems count no blocks.
    return stat.st_blocks * 512 or stat.st_size


def random_rate(rows: Rows, seed: int = 0) -> float | None:
    """Single rows per second at random, out of the page cache: a sample of 500 is read once, then timed.

    Both passes are boxed to 1.5 s; what the first one did not reach is not timed.
    """
    ids = rows.content.ids
    sample = random.Random(seed).sample(ids, min(SAMPLE_ROWS, len(ids)))
    began = time.perf_counter()
    warm = []
    for image_id in sample:
        rows.read([image_id])
        warm.append(image_id)
        if time.perf_counter() - began > RATE_BOX_S:
            break
    count, seconds, began = 0, 0.0, time.perf_counter()
    while seconds < RATE_LEAST_S:
        for image_id in warm:
            rows.read([image_id])
            count += 1
            seconds = time.perf_counter() - began
            if seconds > RATE_BOX_S:
                break
    return round(count / seconds, 1)
