"""Training: everything that can be refused is refused here, before a process is started."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from fsgr_tui.core import coco
from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.guide import (
    GUIDE_PRECOMPUTED_BATCH,
    GUIDE_PRECOMPUTED_STEP_S,
    GUIDE_REALTIME_BATCH,
    GUIDE_REALTIME_STEP_S,
)
from fsgr_tui.core.training import Adapters, BestBy, CaptionerSize, Mode, SelfCritical, TrainSpec, UseJava
from fsgr_tui.core.units import Unknown, format_bytes, format_duration
from fsgr_tui.features.captions import Captions, read_captions
from fsgr_tui.features.images import Image, write_image_list
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, new_run
from fsgr_tui.probes.disk import probe_disk
from fsgr_tui.probes.java import probe_java
from fsgr_tui.probes.models import find_model
from fsgr_tui.service import running
from fsgr_tui.service.markdown import Rows
from fsgr_tui.service.model_choice import (
    TOWER_PACKAGES,
    for_child,
    require_device,
    require_packages,
    require_weights,
)
from fsgr_tui.service.selection import select_images

_EXP_NAME = re.compile(r"[A-Za-z0-9._-]+")
_SCORERS = "pycocoevalcap"

GUIDE_MEMORY: dict[Mode, str] = {"realtime": "22 GB", "precomputed": "16 GB"}
GUIDE_EPOCH: dict[Mode, str] = {"realtime": "2 h", "precomputed": "40 min"}
_GUIDE_STEP: dict[Mode, tuple[float, int]] = {
    "realtime": (GUIDE_REALTIME_STEP_S, GUIDE_REALTIME_BATCH),
    "precomputed": (GUIDE_PRECOMPUTED_STEP_S, GUIDE_PRECOMPUTED_BATCH),
}
"""Section 6 of the guide, measured by its author on one V100."""


class TrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for; see `core.training.TrainSpec` for the meaning of the numbers."""

    mode: Mode
    annotation_folder: str
    features: str = ""
    image_root: str = ""
    pixels: str = ""
    splits: tuple[str, ...] = ()
    model: ModelChoice
    adapters: Adapters | None = None
    output: str = "checkpoints"
    exp_name: str = "fsgr"
    size: CaptionerSize = CaptionerSize()
    epochs: int = 20
    critical: SelfCritical = SelfCritical()
    max_steps: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-4
    warmup: int = 1000
    evaluate: bool = True
    max_eval_images: int | None = None
    beam: int = 5
    best_by: BestBy = "cider"
    patience: int | None = None
    keep: int = 0
    save_s: float = 600.0
    java: UseJava = "auto"
    workers: int = 2
    seed: int = 0
    processes: int = 1
    shuffle_images: bool = False
    rehearsal: bool = False
    logs: str = ""
    resume: bool = False
    overwrite: bool = False
    shown: tuple[str, ...] = ()


class PreparedTraining(msgspec.Struct, frozen=True):
    """A request that nothing speaks against; `images` only for realtime.

    Attributes:
        needed: annotated images.
        captions: the kind of the captions, in words.
        java: for METEOR and the original tokenizer at the end; empty to leave them out.
        notices: what a person should know before it starts.
    """

    request: TrainRequest
    needed: int
    images: tuple[Image, ...] = ()
    captions: str = ""
    java: str = ""
    notices: tuple[str, ...] = ()


def prepare(request: TrainRequest) -> PreparedTraining:
    """Look at everything that could stop the training.

    Raises:
        BadRequest: a file or folder is missing or of the wrong kind, or the experiment exists.
        FoundFaults: images that the annotations need have no features, or are not there.
        MachineCannot: missing packages or weights, or the output folder is not writable.
    """
    require_packages("train", ("torch",) if request.mode == "precomputed" else TOWER_PACKAGES)
    if request.evaluate:
        require_packages("train", (_SCORERS,), "train")
    if not _EXP_NAME.fullmatch(request.exp_name):
        raise BadRequest(
            f"--exp-name {request.exp_name!r} is no plain name.", "Use letters, digits, dots, dashes and underscores."
        )
    if request.batch_size % request.processes:
        raise BadRequest(
            f"--batch-size {request.batch_size} does not divide among {request.processes} processes.",
            "It is the batch of all of them together; use a multiple.",
        )
    captions = read_captions(Path(request.annotation_folder))
    _require_output(request)
    images = _require_data(request, captions)
    java, notices = _java(request)
    return PreparedTraining(request, len(captions.image_ids), images, captions.kind, java, notices)


def _require_data(request: TrainRequest, captions: Captions) -> tuple[Image, ...]:
    """Make sure that every captioned image is there; the pictures that are to be decoded."""
    if request.mode == "precomputed":
        if request.adapters is not None:
            raise BadRequest(
                "Adapters inside CLIP cannot be trained on stored features.",
                "Use --mode realtime (from a pixel cache, if you like), or leave --adapter-b and --adapter-e out.",
            )
        _require_features(request.features, captions)
        return ()
    find_model(request.model.clip_model)
    require_weights(request.model.weights)
    if request.pixels:
        _require_rows(request.pixels, "pixels", captions)
        return ()
    return _realtime_images(request, captions)


def _java(request: TrainRequest) -> tuple[str, tuple[str, ...]]:
    """The Java for the scores at the end, looked for before hours are spent; and what to say when there is none.

    Raises:
        MachineCannot: it is asked for and does not work.
    """
    if request.java == "never" or not request.evaluate:
        return "", ()
    found = probe_java()
    if not isinstance(found.version, Unknown):
        return found.path, ()
    why = f"{found.path or 'java'}: {found.version.reason}"
    if request.java == "always":
        raise MachineCannot(
            f"METEOR and the Penn Treebank tokenizer would fail at the end of the run ({why}).",
            "Install a Java runtime (8 or later), or leave --java always out: CIDEr-D, BLEU and ROUGE-L need none.",
        )
    return "", (f"METEOR is left out ({why}); CIDEr-D, BLEU and ROUGE-L need no Java.",)


def start(prepared: PreparedTraining) -> RunFolder:
    """Start a prepared training as a job.

    Raises:
        BadRequest: the name is no device.
        MachineCannot: there is no such GPU here, or the run folder cannot be made.
    """
    request = prepared.request
    require_device(request.model.device)
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
        pixels=str(Path(request.pixels).absolute()) if request.pixels else "",
        model=for_child(request.model) if realtime else None,
        adapters=request.adapters,
        size=request.size,
        epochs=request.epochs,
        critical=request.critical,
        max_steps=request.max_steps,
        batch_size=request.batch_size,
        learning_rate=request.learning_rate,
        warmup=request.warmup,
        evaluate=request.evaluate,
        max_eval_images=request.max_eval_images,
        beam=request.beam,
        best_by=request.best_by,
        patience=request.patience,
        keep=request.keep,
        save_s=request.save_s,
        java=prepared.java,
        java_needed=request.java == "always",
        workers=request.workers,
        seed=request.seed,
        precision=request.model.precision,
        device=request.model.device,
        processes=request.processes,
        shuffle_images=request.shuffle_images,
        rehearsal=request.rehearsal,
        logs=str(Path(request.logs or f"{request.output}/{request.exp_name}_logs").absolute()),
        resume=request.resume,
        overwrite=request.overwrite,
    )
    child_spec = run.folder / "train.json"
    child_spec.write_bytes(msgspec.json.encode(spec))
    # Inside a job of `run` the GPU is chosen already.
    wish = None if run.adopted else running.gpu_for("train", request.shown, request.processes)
    control.start(run, "train", (sys.executable, "-m", "fsgr_tui.train", str(child_spec)), request.shown, gpu=wish)
    return run


def measured_rows(result: dict[str, Any]) -> Rows:
    """What a run measured here, beside the guide's V100: (what, here, guide)."""
    mode: Mode = result["mode"]
    step_s, batch = _GUIDE_STEP[mode]
    return [
        ("batch size", str(result["batch_size"]), str(batch)),
        ("time per step", shown_duration(result["step_s"]), f"{step_s} s"),
        ("caption pairs/s", shown_rate(result["pairs_per_s"]), f"{batch / step_s:.0f}"),
        ("time per epoch", shown_duration(result["epoch_s"]), GUIDE_EPOCH[mode]),
        ("waiting for data", shown_share(result["data_wait_share"]), "-"),
        ("memory beyond start", shown_memory(result), GUIDE_MEMORY[mode]),
        ("largest batch", shown_largest(result), f"{batch} was used"),
    ]


def shown_duration(seconds: float | None) -> str:
    """A duration, or a dash."""
    return "-" if seconds is None else format_duration(seconds)


def shown_rate(rate: float | None) -> str:
    """A rate, or a dash."""
    return "-" if rate is None else f"{rate:,.0f}"


def shown_share(share: float | None) -> str:
    """A share of the time, or a dash."""
    return "-" if share is None else f"{share:.0%} of the time"


def shown_memory(result: dict[str, Any]) -> str:
    """Peak less what the process held before any model was loaded: importing PyTorch alone takes hundreds of megabytes."""
    return f"{format_bytes(result['peak_memory_bytes'] - result['baseline_memory_bytes'])} {result['memory_kind']}"


def shown_largest(result: dict[str, Any]) -> str:
    """The batch that would fill the GPU."""
    largest = result["largest_batch"]
    return "not asked of a CPU" if largest is None else f"about {largest:,}"


def _require_output(request: TrainRequest) -> None:
    output = Path(request.output)
    if output.exists() and not output.is_dir():
        raise BadRequest(f"--output {output} is a file.", "Name a folder for the checkpoints.")
    if not probe_disk(output).writable:
        raise MachineCannot(f"{output} is not writable.", "Choose another --output.")
    if request.rehearsal:
        return
    last = output / f"{request.exp_name}_last.pth"
    if last.exists() and not (request.resume or request.overwrite):
        raise BadRequest(
            f"{last} exists already.", "Use --resume to go on, --overwrite to start anew, or another --exp-name."
        )
    if request.resume and not last.exists():
        raise BadRequest(
            f"There is no checkpoint {last} to resume.", "Leave --resume out, or look at --output and --exp-name."
        )


def _require_features(path: str, captions: Captions) -> None:
    if not path:
        raise BadRequest("--mode precomputed needs --features-path.", "Make the file with `fsgr-tui extract`.")
    if os.path.isdir(path):  # noqa: PTH112 - as the flag was given
        raise BadRequest(
            f"--features-path {path} is a folder.", "Name the .hdf5 file; a folder of images is for --mode realtime."
        )
    if FeatureFile(path).layout.suffix == "pixels":
        raise BadRequest(
            f"--features-path {path} holds pictures (a pixel cache), not features.",
            f"Use --mode realtime --pixels {path}.",
        )
    _require_rows(path, None, captions)


def _require_rows(path: str, suffix: str | None, captions: Captions) -> None:
    ids = FeatureFile(path, suffix).ids.tolist()
    _refuse_missing(path, "has no features for", captions, ids)


def _refuse_missing(path: str, what: str, captions: Captions, here: Iterable[int]) -> None:
    found = set(here)
    needed = captions.image_ids
    missing = sorted(needed - found)
    if not missing:
        return
    shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
    why = captions.explain(found)
    raise FoundFaults(
        f"{path} {what} {len(missing):,} of the {len(needed):,} annotated images: {shown}.{f' {why}' if why else ''}",
        "Features are kept by image id: extract them from the pictures themselves, or take the captions that belong to them."
        if why
        else "Extract them too: the Karpathy split needs --split karpathy (train2014 and val2014 in one file).",
    )


def _realtime_images(request: TrainRequest, captions: Captions) -> tuple[Image, ...]:
    if not request.image_root:
        raise BadRequest(
            "--mode realtime needs --image-root.",
            "Name the folder that holds train2014 and val2014, or a pixel cache with --pixels.",
        )
    images = select_images(request.image_root, request.splits or coco.KARPATHY_SPLITS)
    missing = sorted(captions.image_ids - {image.id for image in images})
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        why = captions.explain(image.id for image in images)
        raise FoundFaults(
            f"{len(missing):,} of the {len(captions.image_ids):,} annotated images are not in {request.image_root}: "
            f"{shown}.{f' {why}' if why else ''}",
            "Name all splits that the annotations use.",
        )
    return images
