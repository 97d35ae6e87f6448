"""Extraction: everything that can be refused is refused here, before a process is started."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import msgspec

from fsgr_tui.core import coco
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.extraction import ExtractSpec, ModelChoice
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.machine import Disk
from fsgr_tui.core.storage import temporary_bytes
from fsgr_tui.core.tower import FeatureShape, Tower
from fsgr_tui.core.units import format_bytes, printable
from fsgr_tui.features.build import BuildPaths
from fsgr_tui.features.images import Image, write_image_list
from fsgr_tui.features.ledger import read_header
from fsgr_tui.features.manifest import ROW_IDS, read_manifest
from fsgr_tui.features.opening import open_hdf5
from fsgr_tui.features.planned import known_identity
from fsgr_tui.features.resuming import require_extendable, require_resumable
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, new_run
from fsgr_tui.probes.dataset import probe_leftovers, split_folder
from fsgr_tui.probes.disk import probe_disk
from fsgr_tui.probes.host import probe_host, suggested_workers
from fsgr_tui.probes.models import find_model
from fsgr_tui.service import running
from fsgr_tui.service.model_choice import for_child, require_device, require_packages, require_weights
from fsgr_tui.service.selection import IdList, Selection, restricted, select_images, shard, shard_path
from fsgr_tui.service.space import require_answer, require_writable, reserve_bytes

_ELSEWHERE = mark("Choose another --output-path.")


class ExtractRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for.

    Attributes:
        splits: split folders or "karpathy".
        id_pattern: regular expression whose first group is the image id, for names of other data sets.
        annotations: captions JSON or folder; gives ids to names that carry none, and resolves annotation ids.
        ids: restricts the images to a list.
        shard: "i/n": only the i-th of n parts, into a file of its own name.
        shown: the command line as typed.
    """

    image_root: str
    splits: tuple[str, ...]
    output: str
    model: ModelChoice
    batch_size: int = 64
    workers: int = 4
    resume: bool = False
    overwrite: bool = False
    id_pattern: str = ""
    annotations: str = ""
    ids: IdList | None = None
    shard: str = ""
    shown: tuple[str, ...] = ()


class Prepared(msgspec.Struct, frozen=True):
    """A request that nothing speaks against."""

    request: ExtractRequest
    tower: Tower
    images: tuple[Image, ...]
    output: Path
    need_bytes: int
    free_bytes: int | None
    notices: tuple[str, ...] = ()

    @property
    def shape(self) -> FeatureShape:
        """What one image's features are."""
        return self.request.model.shape(self.tower)


def prepare(request: ExtractRequest) -> Prepared:
    """Look at everything that could stop the extraction.

    Raises:
        BadRequest: unknown model, grid or split; missing images; the output exists.
        MachineCannot: missing packages or weights, the output folder is not writable or does not answer, or there is not
            enough space.
    """
    tower = find_model(request.model.clip_model)
    shape = request.model.shape(tower)
    found = select_images(request.image_root, request.splits, request.id_pattern, request.annotations, dead_links=True)
    selected = Selection(found)
    if request.ids is not None:
        selected = restricted(selected.images, request.ids)
    images, output = selected.images, Path(request.output)
    require_weights(request.model.weights)
    _require_classes(request.model)
    if output.suffix not in (".hdf5", ".h5"):
        raise BadRequest(
            tr("--output-path {output} does not end in .hdf5.", output=output),
            tr("The field's training code asks for that ending."),
        )
    if request.shard:
        images, part, parts = shard(images, request.shard)
        output = shard_path(output, part, parts)
    disk = probe_disk(output.parent)
    # Where the disk hangs, a look at the name would hang with it.
    require_answer(disk, output.parent, tr(_ELSEWHERE))
    require_free_name(output, request)
    if request.resume and not request.overwrite:
        _require_same(output, [image.id for image in images], shape, for_child(request.model))
    need = shape.file_bytes(len(images)) + temporary_bytes(len(images))
    free = require_space(output, need, disk)
    require_packages("extract")
    notices = (*selected.notices, *_left_out(request, images))
    return Prepared(request, tower, images, output, need, free, notices)


def start(prepared: Prepared) -> RunFolder:
    """Start a prepared extraction as a job.

    Raises:
        BadRequest: the name is no device.
        MachineCannot: there is no such GPU here, or the output's folder or the run folder cannot be made.
    """
    request = prepared.request
    require_device(request.model.device)
    make_output_folder(prepared)
    run = new_run("extract")
    # Inside a job of `run` the GPU is chosen already; a pixel cache needs none.
    own = not run.adopted and request.model.stage != "pixels"
    wish = running.gpu_for("extract", request.shown) if own else None
    control.start(run, "extract", write_child(prepared, run), request.shown, gpu=wish)
    return run


def make_output_folder(prepared: Prepared) -> None:
    """Make the folder of the feature file.

    Raises:
        MachineCannot: it cannot be made.
    """
    folder = prepared.output.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineCannot(
            tr("{path} is not writable: {reason}.", path=folder, reason=error.strerror),
            tr("Choose another --output-path."),
        ) from None


def write_child(prepared: Prepared, run: RunFolder, python: str = sys.executable) -> tuple[str, ...]:
    """Write what the child reads into a run folder, and return its command.

    Args:
        python: the interpreter that will run it.
    """
    request, output = prepared.request, prepared.output.absolute()
    images_file = run.folder / "images"
    write_image_list(images_file, prepared.images)
    spec = ExtractSpec(
        model=for_child(request.model),
        images_file=str(images_file),
        output=str(output),
        batch_size=request.batch_size,
        workers=request.workers,
        resume=request.resume,
        overwrite=request.overwrite,
        dataset=printable(Path(request.image_root).name),
        splits=coco.split_names(request.splits),
        command=printable(shlex.join(request.shown)),
    )
    child_spec = run.folder / "extract.json"
    child_spec.write_bytes(msgspec.json.encode(spec))
    return (python, "-m", "fsgr_tui.extract", str(child_spec))


def _require_same(output: Path, ids: list[int], shape: FeatureShape, model: ModelChoice) -> None:
    """Refuse to go on with a file of other settings or images, as far as it is known before the model is loaded."""
    paths = BuildPaths(output)
    header = read_header(paths.ledger) if paths.unfinished else None
    if not output.exists() and header is None:
        return
    ours = known_identity(shape, model)
    if output.exists():
        with open_hdf5(output) as file:
            manifest = read_manifest(file)
            here = file.attrs.get(ROW_IDS)
        if manifest is None or here is None:
            raise BadRequest(
                tr("{output} was not made by this program, so it cannot be resumed.", output=output),
                tr("Use --overwrite to replace it."),
            )
        require_extendable(output, manifest, here.tolist(), ours, ids)
    if header is not None:
        require_resumable(paths.part, header, ours, ids)


def _left_out(request: ExtractRequest, images: tuple[Image, ...]) -> tuple[str, ...]:
    """What lies in the folders and is no image file, counted; names of images that lead to no file are worth a look."""
    root = Path(request.image_root)
    left = [probe_leftovers(split_folder(root, split)) for split in coco.split_names(request.splits)]
    told = []
    if others := sum(one.others for one in left):
        told.append(tr("Left out as no images (other suffixes, sidecar files, folders): {others:,}.", others=others))
    if strange := [path for one in left for path in one.no_files]:
        told.append(
            tr(
                "Left out although named like images, since they are no files: {number:,}; first: {path}.",
                number=len(strange),
                path=strange[0],
            )
        )
    dead = {path for one in left for path in one.dead_links}
    if dead and (refused := [image.path for image in images if image.path in dead]):
        told.append(
            tr(
                "Links to nothing among the images, which will be refused: {number:,}; first: {path}.",
                number=len(refused),
                path=refused[0],
            )
        )
    return tuple(told)


def _require_classes(model: ModelChoice) -> None:
    if model.stage == "labels" and not model.classes:
        raise BadRequest(
            tr("Patch labels need --classes."), tr("Name a file of text embeddings, or of class names, one a line.")
        )
    if model.classes and model.stage != "labels":
        raise BadRequest(tr("--classes belongs to patch labels."), tr("Add --labels, or leave --classes out."))
    if model.classes and not Path(model.classes).is_file():
        raise BadRequest(tr("There is no file {path}.", path=model.classes), tr("Look at --classes."))


def require_free_name(output: Path, request: ExtractRequest) -> None:
    """Refuse a feature file that is there, whole or unfinished, unless the request says what to do with it.

    Raises:
        BadRequest: it is there.
    """
    if output.is_dir():
        raise BadRequest(tr("--output-path {output} is a folder.", output=output), tr("Name the file in it."))
    if request.resume or request.overwrite:
        return
    if output.exists():
        raise BadRequest(
            tr("{output} exists already ({size}).", output=output, size=format_bytes(output.stat().st_size)),
            tr("Use --resume to add what is missing in it, --overwrite to replace it, or another --output-path."),
        )
    part = output.with_name(output.name + ".part")
    if part.exists():
        raise BadRequest(
            tr("An unfinished extraction lies at {part} ({size}).", part=part, size=format_bytes(part.stat().st_size)),
            tr("Use --resume to go on with it, or --overwrite to start anew."),
        )


def require_space(output: Path, need: int, disk: Disk | None = None) -> int | None:
    """Refuse before any work when the file would not fit; an unfinished file has its space already.

    Args:
        disk: that of the output's folder, where it was looked at already.

    Returns:
        Free bytes; None where that is not known.

    Raises:
        MachineCannot: it does not fit, or the folder is not writable, or its disk does not answer.
    """
    disk = disk or probe_disk(output.parent)
    require_writable(disk, output.parent, tr(_ELSEWHERE))
    if not isinstance(disk.free_bytes, int):
        return None
    part = output.with_name(output.name + ".part")
    there = part.stat().st_blocks * 512 if part.exists() else 0
    reserve = reserve_bytes(need)
    if need + reserve - there > disk.free_bytes:
        raise MachineCannot(
            tr(
                "Not enough space for {output}: {need} are needed, {free} are free on {mount} ({filesystem}).",
                output=output,
                need=format_bytes(need + reserve),
                free=format_bytes(disk.free_bytes),
                mount=disk.mount,
                filesystem=disk.filesystem,
            ),
            tr("Use --dtype float16 or --grid 7x7, or another disk; `fsgr-tui plan` shows what fits."),
        )
    return disk.free_bytes


def default_workers() -> int:
    """Decoding threads for this process."""
    return suggested_workers(probe_host().cpus)
