"""Extraction: everything that can be refused is refused here, before a process is started."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core import coco
from fsgr_tui.core.errors import BadRequest, MachineCannot, MissingExtra, did_you_mean
from fsgr_tui.core.extraction import ExtractSpec, ModelChoice
from fsgr_tui.core.storage import RESERVE_BYTES, RESERVE_SHARE, temporary_bytes
from fsgr_tui.core.tower import FeatureShape, Tower
from fsgr_tui.core.units import format_bytes, printable
from fsgr_tui.features.images import Image, write_image_list
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, new_run
from fsgr_tui.probes.dataset import list_images, require_folder, split_folder
from fsgr_tui.probes.disk import probe_disk
from fsgr_tui.probes.host import probe_host, suggested_workers
from fsgr_tui.probes.models import find_model, is_installed

SMALL_RESERVE_SHARE = 0.05


class ExtractRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for.

    Attributes:
        splits: split folders or "karpathy".
        id_pattern: regular expression whose first group is the image id, for names of other data sets.
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
    shown: tuple[str, ...] = ()


class Prepared(msgspec.Struct, frozen=True):
    """A request that nothing speaks against."""

    request: ExtractRequest
    tower: Tower
    images: tuple[Image, ...]
    need_bytes: int
    free_bytes: int | None

    @property
    def shape(self) -> FeatureShape:
        """What one image's features are."""
        return FeatureShape(self.tower, self.request.model.grid, self.request.model.dtype)


def select_images(image_root: str, splits: Sequence[str], id_pattern: str = "") -> tuple[Image, ...]:
    """The images of the splits, in ascending order of their ids.

    Raises:
        BadRequest: a folder is missing or holds no images, a name carries no id, or two files carry the same one.
    """
    if not splits:
        raise BadRequest("No split was given.", "Add --split train2014 (or val2014, karpathy, ...).")
    pattern = _compiled(id_pattern)
    root = Path(image_root)
    require_folder(root)
    by_id: dict[int, str] = {}
    unnamed: list[str] = []
    for split in coco.split_names(tuple(splits)):
        folder = split_folder(root, split)
        if not folder.is_dir():
            here = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
            raise BadRequest(
                f"There is no folder {folder}.",
                did_you_mean(split, here) or f"Folders there: {', '.join(here[:8]) or 'none'}.",
            )
        before = len(by_id)
        for image in list_images(folder):
            image_id = coco.image_id(image.name, pattern)
            if image_id is None:
                unnamed.append(image.path)
            elif image_id in by_id:
                raise BadRequest(
                    f"Two files carry the image id {image_id}: {by_id[image_id]} and {image.path}.",
                    "Remove one of them.",
                )
            else:
                by_id[image_id] = image.path
        if len(by_id) == before and not unnamed:
            raise BadRequest(
                f"There are no images in {folder}.", f"Images end in {', '.join(sorted(coco.IMAGE_SUFFIXES))}."
            )
    if unnamed:
        raise BadRequest(
            f"{len(unnamed):,} image names carry no id, e.g. {unnamed[0]}.",
            f"The rule: {coco.ID_RULE}. For other names give --id-pattern with the digits in a group, "
            "e.g. --id-pattern '_([0-9]+)_small$'; or move those files out of the folder.",
        )
    return tuple(Image(image_id, by_id[image_id]) for image_id in sorted(by_id))


def prepare(request: ExtractRequest) -> Prepared:
    """Look at everything that could stop the extraction.

    Raises:
        BadRequest: unknown model, grid or split; missing images; the output exists.
        MachineCannot: missing packages or weights, the output folder is not writable, or there is not enough space.
    """
    tower = find_model(request.model.clip_model)
    shape = FeatureShape(tower, request.model.grid, request.model.dtype).checked()
    images = select_images(request.image_root, request.splits, request.id_pattern)
    require_weights(request.model.weights)
    output = Path(request.output)
    if output.suffix not in (".hdf5", ".h5"):
        raise BadRequest(
            f"--output-path {output} does not end in .hdf5.", "The field's training code asks for that ending."
        )
    _require_free_name(output, request)
    need = shape.file_bytes(len(images)) + temporary_bytes(len(images))
    free = _require_space(output, need)
    for package in ("torch", "torchvision", "open_clip", "PIL"):
        if not is_installed(package):
            raise MissingExtra("extract", "extract", package)
    return Prepared(request, tower, images, need, free)


def start(prepared: Prepared) -> RunFolder:
    """Start a prepared extraction as a job.

    Raises:
        MachineCannot: the output's folder or the run folder cannot be made.
    """
    request = prepared.request
    output = Path(request.output).absolute()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineCannot(
            f"{output.parent} is not writable: {error.strerror}.", "Choose another --output-path."
        ) from None
    run = new_run("extract")
    images_file = run.folder / "images"
    write_image_list(images_file, prepared.images)
    spec = ExtractSpec(
        model=msgspec.structs.replace(
            request.model, clip_model=prepared.tower.name, weights=_absolute(request.model.weights)
        ),
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
    control.start(run, "extract", (sys.executable, "-m", "fsgr_tui.extract", str(child_spec)), request.shown)
    return run


def _compiled(id_pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(id_pattern) if id_pattern else None
    except re.error as error:
        raise BadRequest(
            f"--id-pattern {id_pattern!r} is no regular expression: {error}.",
            "Put the digits in a group: '_([0-9]+)$'.",
        ) from None


def require_weights(weights: str) -> None:
    """Refuse what can be refused without torch: a path that is not there, or a folder."""
    looks_like_path = os.sep in weights or weights.endswith((".pt", ".pth", ".bin", ".safetensors"))
    path = Path(weights)
    if path.is_dir():
        found = sorted(file.name for file in path.iterdir() if file.suffix in (".pt", ".pth", ".bin", ".safetensors"))
        raise BadRequest(
            f"--weights {path} is a folder.",
            f"Name one of its files: {', '.join(found[:8])}."
            if found
            else "It holds no .pt, .pth or .safetensors file.",
        )
    if looks_like_path and not path.is_file():
        raise MachineCannot(
            f"There is no weights file {path}.", "Look at --weights, or give an open_clip tag such as openai."
        )
    if weights.startswith("random:") and not weights.removeprefix("random:").isdigit():
        raise BadRequest(f"--weights {weights}: the seed is no number.", "Write it like random:0.")


def _absolute(weights: str) -> str:
    """A weights path that holds in any working folder; tags stay as they are."""
    return str(Path(weights).absolute()) if Path(weights).is_file() else weights


def _require_free_name(output: Path, request: ExtractRequest) -> None:
    if output.is_dir():
        raise BadRequest(f"--output-path {output} is a folder.", "Name the file in it.")
    if request.resume or request.overwrite:
        return
    if output.exists():
        raise BadRequest(
            f"{output} exists already ({format_bytes(output.stat().st_size)}).",
            "Use --resume to add what is missing in it, --overwrite to replace it, or another --output-path.",
        )
    part = output.with_name(output.name + ".part")
    if part.exists():
        raise BadRequest(
            f"An unfinished extraction lies at {part} ({format_bytes(part.stat().st_size)}).",
            "Use --resume to go on with it, or --overwrite to start anew.",
        )


def _require_space(output: Path, need: int) -> int | None:
    """Refuse before any work when the file would not fit; an unfinished file has its space already."""
    disk = probe_disk(output.parent)
    if not disk.writable:
        raise MachineCannot(f"{output.parent} is not writable.", "Choose another --output-path.")
    if not isinstance(disk.free_bytes, int):
        return None
    part = output.with_name(output.name + ".part")
    there = part.stat().st_blocks * 512 if part.exists() else 0
    # A small job must not be refused on a small disk for a reserve that was made for large ones.
    reserve = min(RESERVE_BYTES, round(SMALL_RESERVE_SHARE * need)) + round(RESERVE_SHARE * need)
    if need + reserve - there > disk.free_bytes:
        raise MachineCannot(
            f"Not enough space for {output}: {format_bytes(need + reserve)} are needed, {format_bytes(disk.free_bytes)} "
            f"are free on {disk.mount} ({disk.filesystem}).",
            "Use --dtype float16 or --grid 7x7, or another disk; `fsgr-tui plan` shows what fits.",
        )
    return disk.free_bytes


def default_workers() -> int:
    """Decoding threads for this process."""
    return suggested_workers(probe_host().cpus)
