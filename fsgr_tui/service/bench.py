"""Measuring this machine: everything that can be refused is refused here, before a process is started."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sys
from itertools import islice
from pathlib import Path

import msgspec

from fsgr_tui.core import coco, jsontext
from fsgr_tui.core.bench import LEAST_SECONDS, MOST_SECONDS, BenchSpec, scratch_pid, speed_up
from fsgr_tui.core.calibration import Calibration, machine_words, read_calibration
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.guide import GUIDE_PRECOMPUTED_BATCH, GUIDE_REALTIME_BATCH
from fsgr_tui.core.job import Cause, JobState, JobStatus
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.machine import Disk, Host
from fsgr_tui.core.steps import DEFAULT_IMAGE_ROOT
from fsgr_tui.core.storage import temporary_bytes
from fsgr_tui.core.tower import FeatureShape
from fsgr_tui.core.units import Estimate, Unknown, format_bytes
from fsgr_tui.features.images import Image, write_image_list
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, new_run
from fsgr_tui.probes.dataset import list_images, probe_dataset, require_folder
from fsgr_tui.probes.disk import LOCAL_DISKS, DiskSystem, probe_disk
from fsgr_tui.probes.gpu import probe_gpus
from fsgr_tui.probes.host import probe_host, suggested_workers
from fsgr_tui.probes.models import find_model
from fsgr_tui.service.calibration import calibrations_dir
from fsgr_tui.service.model_choice import for_child, require_packages, require_weights
from fsgr_tui.service.space import require_writable

BENCH_SCHEMA = "fsgr-tui/bench/1"

MOST_FILE_BYTES = 256_000_000
"""Size of the temporary feature file: large enough for a disk's own cache to matter little, small for any disk."""

MOST_ROWS, LEAST_ROWS = 2048, 64
MOST_IMAGES = 8192
_LISTED = 4 * MOST_IMAGES
_PICTURES_BYTES = 48 * coco.AVERAGE_JPEG_BYTES
_ROOM_LEFT_BYTES = 256_000_000


class BenchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for.

    Attributes:
        image_root: None for the guide's folder if it is there, else generated pictures.
        splits: folders to take pictures from; empty for what is there.
        workers: decoding threads; None for what the host suggests.
        shown: the command line as typed.
    """

    model: ModelChoice
    image_root: str | None = None
    splits: tuple[str, ...] = ()
    features_dir: str = "features"
    annotation_folder: str = ""
    batch_size: int = 64
    workers: int | None = None
    seconds: float = 30.0
    shown: tuple[str, ...] = ()


class PreparedBench(msgspec.Struct, frozen=True):
    """A request that nothing speaks against.

    Attributes:
        images: a sample of the data set; empty when pictures are generated.
        dataset_images: images of the data set that the extraction's time is told for.
        parent: existing folder on the features' file system, for the temporary file.
    """

    request: BenchRequest
    host: Host
    workers: int
    images: tuple[Image, ...]
    dataset_images: int
    dataset: str
    parent: Path
    disk: Disk
    rows: int
    need_bytes: int


class BenchReport(msgspec.Struct, frozen=True):
    """How a measurement ended: the document that `--json` prints.

    Attributes:
        calibration: None when it did not end well; `cause` tells why.
        kept: the file that it is kept in.
        speed_up: precomputed against realtime training, by caption pairs a second.
        dataset, dataset_images: what `extraction` (seconds) is for.
    """

    job: str
    state: JobState
    exit_code: int | None
    cause: Cause | None
    calibration: Calibration | None
    kept: str
    speed_up: Estimate | Unknown | None
    dataset: str
    dataset_images: int
    extraction: Estimate | Unknown | None
    schema: str = BENCH_SCHEMA


def prepare(request: BenchRequest, disks: DiskSystem = LOCAL_DISKS) -> PreparedBench:
    """Look at everything that could stop the measurement.

    Raises:
        BadRequest: too little time, an unknown model, or a folder that is missing, empty or of the wrong kind.
        MachineCannot: missing packages or weights, a folder that cannot be read or written, or no space.
    """
    if not LEAST_SECONDS <= request.seconds <= MOST_SECONDS:
        wrong = (
            mark("--seconds {seconds:g} is too much: eight rates with their spans need {least} to {most}.")
            if request.seconds > MOST_SECONDS
            else mark("--seconds {seconds:g} is too little: eight rates with their spans need {least} to {most}.")
        )
        raise BadRequest(
            tr(wrong, seconds=request.seconds, least=LEAST_SECONDS, most=MOST_SECONDS), tr("Leave it out for 30.")
        )
    tower = find_model(request.model.clip_model)
    shape = request.model.shape(tower)
    require_weights(request.model.weights)
    _require_annotations(request.annotation_folder)
    images, count, dataset = _sample(request)
    parent, disk = _require_folder(request.features_dir, disks)
    rows = max(LEAST_ROWS, min(MOST_ROWS, MOST_FILE_BYTES // shape.bytes_per_image))
    need = _require_space(parent, disk, shape, rows, generated=not images)
    require_packages("bench")
    host = probe_host()
    workers = suggested_workers(host.cpus) if request.workers is None else request.workers
    return PreparedBench(request, host, workers, images, count, dataset, parent, disk, rows, need)


def start(prepared: PreparedBench) -> RunFolder:
    """Start a prepared measurement as a job; what a killed one left on this host is deleted first.

    Raises:
        MachineCannot: the run folder cannot be made.
    """
    sweep(prepared)
    request = prepared.request
    run = new_run("bench")
    images_file = ""
    if prepared.images:
        images_file = str(run.folder / "images")
        write_image_list(Path(images_file), prepared.images)
    spec = BenchSpec(
        model=for_child(request.model),
        machine=machine_words(prepared.host),
        host=prepared.host.name,
        cpus=prepared.host.cpus.count,
        features_path=str(Path(request.features_dir).absolute()),
        features_mount=prepared.disk.mount,
        folder=str(prepared.parent),
        filesystem=prepared.disk.filesystem,
        calibrations=str(calibrations_dir().absolute()),
        rows=prepared.rows,
        images_file=images_file,
        annotation_folder=str(Path(request.annotation_folder).absolute()) if request.annotation_folder else "",
        batch_size=request.batch_size,
        workers=prepared.workers,
        seconds=request.seconds,
        gpu_used_bytes=_used_bytes(),
    )
    child_spec = run.folder / "bench.json"
    child_spec.write_bytes(jsontext.encode(spec))
    control.start(run, "bench", (sys.executable, "-m", "fsgr_tui.calibrate", str(child_spec)), request.shown)
    return run


def sweep(prepared: PreparedBench) -> None:
    """Delete the temporary files of measurements on this host whose process is gone (killed without a word)."""
    # A folder that may be written but not listed keeps what a kill left; that is no reason to measure nothing.
    with contextlib.suppress(OSError):
        for entry in prepared.parent.iterdir():
            pid = scratch_pid(entry.name, prepared.host.name)
            if pid is not None and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(entry, ignore_errors=True)


def report(status: JobStatus, prepared: PreparedBench) -> BenchReport:
    """What `--json` prints of a measurement that has ended, or that is no longer watched."""
    calibration = gain = extraction = None
    if status.result:
        calibration = read_calibration(jsontext.encode(status.result["calibration"]))
        # At the batches that training will have, as the plan takes them.
        gain = speed_up(
            calibration.realtime_at(GUIDE_REALTIME_BATCH), calibration.precomputed_at(GUIDE_PRECOMPUTED_BATCH)
        )
        rate = calibration.extract
        extraction = rate if isinstance(rate, Unknown) else rate.seconds_for(prepared.dataset_images)
    return BenchReport(
        job=status.name,
        state=status.state,
        exit_code=status.exit_code,
        cause=status.cause,
        calibration=calibration,
        kept=str(status.result.get("kept", "")),
        speed_up=gain,
        dataset=prepared.dataset,
        dataset_images=prepared.dataset_images,
        extraction=extraction,
    )


def _sample(request: BenchRequest) -> tuple[tuple[Image, ...], int, str]:
    """A sample of the pictures, the data set's number of images, and its name."""
    root = request.image_root
    if root is None and Path(DEFAULT_IMAGE_ROOT).is_dir():
        root = DEFAULT_IMAGE_ROOT
    if root is None:
        facts = probe_dataset(None, request.splits)
        return (), facts.images, tr("{splits} (published counts)", splits=", ".join(facts.split_names))
    require_folder(Path(root))
    facts = probe_dataset(root, request.splits)
    here = [split for split in facts.splits if split.found]
    folders = [Path(split.folder) for split in here] or [Path(root)]
    # Directories give names in no order of theirs, so the first few thousand are as good as any.
    listed = [
        image.path for folder in folders for image in islice(list_images(folder), max(1, _LISTED // len(folders)))
    ]
    if not listed:
        raise BadRequest(
            tr("There are no images in {root} nor in its split folders.", root=root),
            tr(
                "Name the folder that holds train2014 and val2014, or leave --image-root out to measure with generated pictures."
            ),
        )
    count = sum(split.found for split in here) or len(listed)
    paths = random.Random(0).sample(sorted(listed), min(MOST_IMAGES, len(listed)))
    names = ", ".join(split.name for split in here) or Path(root).name
    return tuple(Image(number, os.path.abspath(path)) for number, path in enumerate(paths, 1)), count, names  # noqa: PTH100 - of thousands


def _require_annotations(folder: str) -> None:
    if not folder:
        return
    if not Path(folder).is_dir():
        raise BadRequest(
            tr("The annotation folder {folder} is not there.", folder=folder),
            tr("Leave --annotation-folder out to use synthetic captions."),
        )
    absent = [name for name in coco.ANNOTATION_FILES if not (Path(folder) / name).is_file()]
    if absent:
        raise BadRequest(
            tr("{folder} lacks {names}.", folder=folder, names=", ".join(absent)),
            tr("They come with M2 Transformer's annotations; or leave --annotation-folder out."),
        )


def _require_folder(features_dir: str, disks: DiskSystem) -> tuple[Path, Disk]:
    """The nearest existing folder of where features would go, and its disk."""
    parent = Path(features_dir).absolute()
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise BadRequest(
            tr("{parent} is a file.", parent=parent), tr("Name the folder that features go to with --features-dir.")
        )
    disk = probe_disk(parent, disks)
    require_writable(disk, parent, tr("Choose another --features-dir."))
    return parent, disk


def _require_space(parent: Path, disk: Disk, shape: FeatureShape, rows: int, *, generated: bool) -> int:
    need = shape.file_bytes(rows) + temporary_bytes(rows) + (_PICTURES_BYTES if generated else 0)
    if isinstance(disk.free_bytes, int) and need + _ROOM_LEFT_BYTES > disk.free_bytes:
        raise MachineCannot(
            tr(
                "Not enough space in {folder}: the temporary file takes {need}, and {rest} are left for others; "
                "{free} are free on {mount} ({filesystem}).",
                folder=parent,
                need=format_bytes(need),
                rest=format_bytes(_ROOM_LEFT_BYTES),
                free=format_bytes(disk.free_bytes),
                mount=disk.mount,
                filesystem=disk.filesystem,
            ),
            tr("Make room, or measure on another disk with --features-dir."),
        )
    return need


def _used_bytes() -> dict[str, int]:
    gpus = probe_gpus().gpus
    return {gpu.uuid: gpu.memory_used_bytes for gpu in gpus if isinstance(gpu.memory_used_bytes, int)}
