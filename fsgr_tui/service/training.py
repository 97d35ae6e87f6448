"""Training: everything that can be refused is refused here, before a process is started."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec

from fsgr_tui.core import coco
from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.training import CaptionerSize, Mode, TrainSpec
from fsgr_tui.features.annotations import captioned_ids
from fsgr_tui.features.images import Image, write_image_list
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, new_run
from fsgr_tui.probes.disk import probe_disk
from fsgr_tui.probes.models import find_model
from fsgr_tui.service.model_choice import TOWER_PACKAGES, for_child, require_packages, require_weights
from fsgr_tui.service.selection import select_images

_EXP_NAME = re.compile(r"[A-Za-z0-9._-]+")


class TrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for; see `core.training.TrainSpec` for the meaning of the numbers."""

    mode: Mode
    annotation_folder: str
    features: str = ""
    image_root: str = ""
    splits: tuple[str, ...] = ()
    model: ModelChoice
    output: str = "checkpoints"
    exp_name: str = "fsgr"
    size: CaptionerSize = CaptionerSize()
    epochs: int = 20
    max_steps: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-4
    warmup: int = 1000
    workers: int = 2
    seed: int = 0
    resume: bool = False
    overwrite: bool = False
    shown: tuple[str, ...] = ()


class PreparedTraining(msgspec.Struct, frozen=True):
    """A request that nothing speaks against; `images` only for realtime."""

    request: TrainRequest
    needed: int
    images: tuple[Image, ...] = ()


def prepare(request: TrainRequest) -> PreparedTraining:
    """Look at everything that could stop the training.

    Raises:
        BadRequest: a file or folder is missing or of the wrong kind, or the experiment exists.
        FoundFaults: images that the annotations need have no features, or are not there.
        MachineCannot: missing packages or weights, or the output folder is not writable.
    """
    require_packages("train", ("torch",) if request.mode == "precomputed" else TOWER_PACKAGES)
    if not _EXP_NAME.fullmatch(request.exp_name):
        raise BadRequest(
            f"--exp-name {request.exp_name!r} is no plain name.", "Use letters, digits, dots, dashes and underscores."
        )
    folder = Path(request.annotation_folder)
    if not folder.is_dir():
        raise BadRequest(
            f"The annotation folder {folder} is not there.",
            "Name the folder with captions_train2014.json and the id files.",
        )
    absent = [name for name in coco.ANNOTATION_FILES if not (folder / name).is_file()]
    if absent:
        raise BadRequest(f"{folder} lacks {', '.join(absent)}.", "They come with M2 Transformer's annotations.")
    needed = captioned_ids(folder).image_ids
    _require_output(request)
    if request.mode == "precomputed":
        _require_features(request.features, needed)
        return PreparedTraining(request, len(needed))
    find_model(request.model.clip_model)
    require_weights(request.model.weights)
    images = _realtime_images(request, needed)
    return PreparedTraining(request, len(needed), images)


def start(prepared: PreparedTraining) -> RunFolder:
    """Start a prepared training as a job."""
    request = prepared.request
    run = new_run("train")
    images_file = ""
    if prepared.images:
        images_file = str(run.folder / "images")
        write_image_list(Path(images_file), prepared.images)
    realtime = request.mode == "realtime"
    spec = TrainSpec(
        mode=request.mode,
        annotation_folder=str(Path(request.annotation_folder).absolute()),
        output=str(Path(request.output).absolute()),
        exp_name=request.exp_name,
        features="" if realtime else str(Path(request.features).absolute()),
        images_file=images_file,
        model=for_child(request.model) if realtime else None,
        size=request.size,
        epochs=request.epochs,
        max_steps=request.max_steps,
        batch_size=request.batch_size,
        learning_rate=request.learning_rate,
        warmup=request.warmup,
        workers=request.workers,
        seed=request.seed,
        precision=request.model.precision,
        device=request.model.device,
        resume=request.resume,
        overwrite=request.overwrite,
    )
    child_spec = run.folder / "train.json"
    child_spec.write_bytes(msgspec.json.encode(spec))
    control.start(run, "train", (sys.executable, "-m", "fsgr_tui.train", str(child_spec)), request.shown)
    return run


def _require_output(request: TrainRequest) -> None:
    output = Path(request.output)
    if output.exists() and not output.is_dir():
        raise BadRequest(f"--output {output} is a file.", "Name a folder for the checkpoints.")
    if not probe_disk(output).writable:
        raise MachineCannot(f"{output} is not writable.", "Choose another --output.")
    last = output / f"{request.exp_name}_last.pth"
    if last.exists() and not (request.resume or request.overwrite):
        raise BadRequest(
            f"{last} exists already.", "Use --resume to go on, --overwrite to start anew, or another --exp-name."
        )
    if request.resume and not last.exists():
        raise BadRequest(
            f"There is no checkpoint {last} to resume.", "Leave --resume out, or look at --output and --exp-name."
        )


def _require_features(path: str, needed: frozenset[int]) -> None:
    if not path:
        raise BadRequest("--mode precomputed needs --features-path.", "Make the file with `fsgr-tui extract`.")
    if Path(path).is_dir():
        raise BadRequest(
            f"--features-path {path} is a folder.", "Name the .hdf5 file; a folder of images is for --mode realtime."
        )
    file = FeatureFile(path)
    missing = sorted(needed - set(file.ids.tolist()))
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise FoundFaults(
            f"{path} has no features for {len(missing):,} of the {len(needed):,} annotated images: {shown}.",
            "Extract them too: the Karpathy split needs --split karpathy (train2014 and val2014 in one file).",
        )


def _realtime_images(request: TrainRequest, needed: frozenset[int]) -> tuple[Image, ...]:
    if not request.image_root:
        raise BadRequest("--mode realtime needs --image-root.", "Name the folder that holds train2014 and val2014.")
    images = select_images(request.image_root, request.splits or coco.KARPATHY_SPLITS)
    missing = sorted(needed - {image.id for image in images})
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise FoundFaults(
            f"{len(missing):,} of the {len(needed):,} annotated images are not in {request.image_root}: {shown}.",
            "Name all splits that the annotations use.",
        )
    return images
