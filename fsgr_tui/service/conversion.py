"""Conversion: everything that can be refused is refused here, before a process is started."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import msgspec
import numpy as np

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.extraction import ConvertSpec, FormatName
from fsgr_tui.core.job import Cause, JobState, JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.core.tower import Dtype
from fsgr_tui.core.units import format_bytes, printable
from fsgr_tui.features.convert import ConvertReport
from fsgr_tui.features.formats import catalogue
from fsgr_tui.features.formats.draft import draft_folder
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, new_run
from fsgr_tui.probes.disk import LOCAL_DISKS, DiskSystem, probe_disk
from fsgr_tui.service.model_choice import require_packages
from fsgr_tui.service.space import require_writable, reserve_bytes

CONVERT_SCHEMA = "fsgr-tui/convert/1"


class ConvertRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for; `to` is None where the target's name tells the format."""

    source: str
    target: str
    to: FormatName | None = None
    dtype: Dtype | None = None
    overwrite: bool = False
    rates: bool = True
    shown: tuple[str, ...] = ()


class PreparedConversion(msgspec.Struct, frozen=True):
    """A request that nothing speaks against; the target's links are resolved, so that it grows on its own disk."""

    request: ConvertRequest
    source: Path
    target: Path
    target_format: FormatName
    survey: catalogue.Survey
    need: catalogue.Need


class ConvertDocument(msgspec.Struct, frozen=True):
    """How a conversion ended: the document that `--json` prints.

    Attributes:
        report: None when it did not end well; `cause` tells why.
    """

    job: str
    state: JobState
    exit_code: int | None
    cause: Cause | None
    report: ConvertReport | None
    schema: str = CONVERT_SCHEMA


def prepare(request: ConvertRequest, disks: DiskSystem = LOCAL_DISKS) -> PreparedConversion:
    """Look at everything that could stop the conversion.

    Raises:
        Problem: of the source's own reader, when it cannot be read.
        BadRequest: the target's format is not known, it exists, or both are the same.
        MachineCannot: a package is missing, the folder is not writable, or there is not enough space or inodes.
    """
    source, target = Path(request.source).absolute(), Path(request.target).resolve()
    kind = catalogue.target_format(target, request.to)
    _require_apart(source.resolve(), target)
    _require_free_name(target, overwrite=request.overwrite)
    source_kind = catalogue.source_format(source)
    _require_packages({source_kind, kind})
    survey = catalogue.survey(source, source_kind)
    factor = _growth(survey, request.dtype)
    need = catalogue.need(
        kind, survey.rows, *(round(size * factor) for size in (survey.row_bytes, survey.global_bytes))
    )
    _require_room(target, kind, need, disks)
    return PreparedConversion(request, source, target, kind, survey, need)


def start(prepared: PreparedConversion) -> RunFolder:
    """Start a prepared conversion as a job.

    Raises:
        MachineCannot: the target's folder or the run folder cannot be made.
    """
    request, target = prepared.request, prepared.target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineCannot(
            tr("{parent} is not writable: {reason}.", parent=target.parent, reason=error.strerror),
            tr("Choose another target."),
        ) from None
    spec = ConvertSpec(
        source=str(prepared.source),
        target=str(target),
        source_format=prepared.survey.format,
        target_format=prepared.target_format,
        dtype=request.dtype,
        overwrite=request.overwrite,
        rates=request.rates,
        command=printable(shlex.join(request.shown)),
    )
    run = new_run("convert")
    child_spec = run.folder / "convert.json"
    child_spec.write_bytes(jsontext.encode(spec))
    control.start(run, "convert", (sys.executable, "-m", "fsgr_tui.extract", str(child_spec)), request.shown)
    return run


def document(status: JobStatus) -> ConvertDocument:
    """What `--json` prints of a job that has ended, or that is no longer watched."""
    report = msgspec.convert(status.result, ConvertReport) if status.result else None
    return ConvertDocument(status.name, status.state, status.exit_code, status.cause, report)


def _growth(survey: catalogue.Survey, dtype: Dtype | None) -> float:
    """How many times as many bytes the values take in the new type."""
    if dtype is None:
        return 1.0
    # A tensor folder without manifest may hold anything; the smallest type gives the largest factor.
    return np.dtype(dtype).itemsize / np.dtype(survey.dtype or "float16").itemsize


def _require_apart(source: Path, target: Path) -> None:
    if source == target or (source.exists() and target.exists() and source.samefile(target)):
        raise BadRequest(
            tr("{source} is source and target at once.", source=source), tr("Give the target another name.")
        )
    for inner, outer in ((source, target), (target, source)):
        if inner.is_relative_to(outer):
            raise BadRequest(
                tr("{inner} lies within {outer}.", inner=inner, outer=outer), tr("Give a target beside the source.")
            )


def _require_free_name(target: Path, *, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise BadRequest(
            tr("{target} exists already.", target=target),
            tr("Use --overwrite to replace it at the end, or another name."),
        )
    if target.is_dir() and not catalogue.of_features_only(target):
        raise BadRequest(
            tr("{target} is a folder that holds more than features.", target=target),
            tr("Move it away, or choose another name."),
        )


def _require_packages(kinds: set[FormatName]) -> None:
    if "pt" in kinds:
        require_packages("convert", ("torch",))
    if "lmdb" in kinds:
        require_packages("convert", ("lmdb",), extra="convert")


def _require_room(target: Path, kind: FormatName, need: catalogue.Need, disks: DiskSystem) -> None:
    disk = probe_disk(target.parent, disks)
    require_writable(disk, target.parent, tr("Choose another target."))
    if isinstance(disk.inodes_free, int) and need.inodes > disk.inodes_free:
        raise MachineCannot(
            tr(
                "Not enough inodes for {target}: {kind} needs {inodes:,} inodes, {inodes_free:,} free on {mount} "
                "({filesystem}).",
                target=target,
                kind=kind,
                inodes=need.inodes,
                inodes_free=disk.inodes_free,
                mount=disk.mount,
                filesystem=disk.filesystem,
            ),
            tr("Use one file instead: a target that ends in .hdf5 (or .packed.hdf5, .lmdb).")
            if kind in ("npz", "pt")
            else tr("Delete small files there, or choose another disk."),
        )
    if not isinstance(disk.free_bytes, int):
        return
    reserve = reserve_bytes(need.bytes)
    if need.bytes + reserve - _left_over(target) > disk.free_bytes:
        raise MachineCannot(
            tr(
                "Not enough space for {target}: {bytes} are needed, {free_bytes} are free on {mount} ({filesystem}).",
                target=target,
                bytes=format_bytes(need.bytes + reserve),
                free_bytes=format_bytes(disk.free_bytes),
                mount=disk.mount,
                filesystem=disk.filesystem,
            ),
            tr("Use --dtype float16, or another disk."),
        )


def _left_over(target: Path) -> int:
    """Bytes of what an interrupted conversion left, which the next one deletes first."""
    places = draft_folder(target).rglob("*")
    return sum(place.lstat().st_blocks * 512 for place in places)
