"""Training: everything that can be refused is refused here, before a process is started."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from fsgr_tui.core import coco
from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot
from fsgr_tui.core.guide import (
    GUIDE_PRECOMPUTED_BATCH,
    GUIDE_PRECOMPUTED_STEP_S,
    GUIDE_REALTIME_BATCH,
    GUIDE_REALTIME_STEP_S,
)
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.training import Mode, TrainSpec
from fsgr_tui.core.units import Unknown, few, format_bytes, format_duration
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
from fsgr_tui.service.training_request import TrainRequest

_EXP_NAME = re.compile(r"[A-Za-z0-9._-]+")
_SCORERS = "pycocoevalcap"

_MEMORY_KINDS = (mark("GPU allocated"), mark("process RSS"))
"""As the child tells them."""

GUIDE_MEMORY: dict[Mode, str] = {"realtime": "22 GB", "precomputed": "16 GB"}
GUIDE_EPOCH: dict[Mode, str] = {"realtime": mark("2 h"), "precomputed": mark("40 min")}
_GUIDE_STEP: dict[Mode, tuple[float, int]] = {
    "realtime": (GUIDE_REALTIME_STEP_S, GUIDE_REALTIME_BATCH),
    "precomputed": (GUIDE_PRECOMPUTED_STEP_S, GUIDE_PRECOMPUTED_BATCH),
}
"""Section 6 of the guide, measured by its author on one V100."""


class PreparedTraining(msgspec.Struct, frozen=True):
    """A request that nothing speaks against; `images` only for realtime.

    Attributes:
        needed: annotated images.
        pairs: captions to train on.
        captions: the kind of the captions, in words.
        java: for METEOR and the original tokenizer at the end; empty to leave them out.
        notices: what a person should know before it starts.
    """

    request: TrainRequest
    needed: int
    images: tuple[Image, ...] = ()
    captions: str = ""
    pairs: int = 0
    java: str = ""
    notices: tuple[str, ...] = ()


def prepare(request: TrainRequest) -> PreparedTraining:
    """Look at everything that could stop the training.

    Raises:
        BadRequest: a file or folder is missing or of the wrong kind, numbers that do not go together, or the experiment
            exists.
        FoundFaults: images that the annotations need have no features, or are not there.
        MachineCannot: missing packages or weights, or the output folder is not writable.
    """
    spec = request.spec
    require_packages("train", ("torch",) if spec.mode == "precomputed" else TOWER_PACKAGES)
    if spec.evaluate:
        require_packages("train", (_SCORERS,), "train")
    _require_numbers(spec)
    captions = read_captions(Path(spec.annotation_folder))
    _require_output(spec)
    images = _require_data(request, captions)
    java, notices = _java(request)
    pairs = len(captions.annotations.train)
    return PreparedTraining(request, len(captions.image_ids), images, captions.kind, pairs, java, notices)


def _require_numbers(spec: TrainSpec) -> None:
    if not _EXP_NAME.fullmatch(spec.exp_name):
        raise BadRequest(
            tr("--exp-name {name} is no plain name.", name=repr(spec.exp_name)),
            tr("Use letters, digits, dots, dashes and underscores."),
        )
    if spec.batch_size % spec.world:
        raise BadRequest(
            tr(
                "--batch-size {batch} does not divide among {processes} processes.",
                batch=spec.batch_size,
                processes=spec.world,
            ),
            tr("It is the batch of all of them together; use a multiple."),
        )
    if spec.size.d_model % spec.size.heads:
        raise BadRequest(
            tr("--d-model {width} is no multiple of --heads {heads}.", width=spec.size.d_model, heads=spec.size.heads),
            tr("Use 512 and 8, or 128 and 4."),
        )


def _require_data(request: TrainRequest, captions: Captions) -> tuple[Image, ...]:
    """Make sure that every captioned image is there; the pictures that are to be decoded."""
    spec = request.spec
    if spec.mode == "precomputed":
        if spec.adapters is not None:
            raise BadRequest(
                tr("Adapters inside CLIP cannot be trained on stored features."),
                tr("Use --mode realtime (from a pixel cache, if you like), or leave --adapter-b and --adapter-e out."),
            )
        _require_features(spec.features, captions)
        return ()
    if spec.model is None:
        raise BadRequest(tr("--mode realtime needs --clip-model."), tr("Name the tower that looks at the images."))
    find_model(spec.model.clip_model)
    require_weights(spec.model.weights)
    if spec.pixels:
        _require_rows(spec.pixels, "pixels", captions)
        return ()
    return _realtime_images(request, captions)


def _java(request: TrainRequest) -> tuple[str, tuple[str, ...]]:
    """The Java for the scores at the end, looked for before hours are spent; and what to say when there is none.

    Raises:
        MachineCannot: it is asked for and does not work.
    """
    if request.java == "never" or not request.spec.evaluate:
        return "", ()
    found = probe_java()
    if not isinstance(found.version, Unknown):
        return found.path, ()
    why = f"{found.path or 'java'}: {found.version.reason}"
    if request.java == "always":
        raise MachineCannot(
            tr("METEOR and the Penn Treebank tokenizer would fail at the end of the run ({why}).", why=why),
            tr("Install a Java runtime (8 or later), or leave --java always out: CIDEr-D, BLEU and ROUGE-L need none."),
        )
    return "", (tr("METEOR is left out ({why}); CIDEr-D, BLEU and ROUGE-L need no Java.", why=why),)


def start(prepared: PreparedTraining) -> RunFolder:
    """Start a prepared training as a job.

    Raises:
        BadRequest: the name is no device.
        MachineCannot: there is no such GPU here, or the run folder cannot be made.
    """
    request = prepared.request
    require_device(request.spec.device)
    run = new_run("train")
    images_file = ""
    if prepared.images:
        images_file = str(run.folder / "images")
        write_image_list(Path(images_file), prepared.images)
    child_spec = run.folder / "train.json"
    child_spec.write_bytes(msgspec.json.encode(_for_child(prepared, images_file)))
    # Inside a job of `run` the GPU is chosen already.
    wish = None if run.adopted else running.gpu_for("train", request.shown, request.spec.processes)
    control.start(run, "train", (sys.executable, "-m", "fsgr_tui.train", str(child_spec)), request.shown, gpu=wish)
    return run


def _for_child(prepared: PreparedTraining, images_file: str) -> TrainSpec:
    """The spec with absolute paths, and what only the other way needs left out."""
    spec = prepared.request.spec
    realtime = spec.mode == "realtime"
    return msgspec.structs.replace(
        spec,
        annotation_folder=str(Path(spec.annotation_folder).absolute()),
        output=str(Path(spec.output).absolute()),
        features="" if realtime else str(Path(spec.features).absolute()),
        images_file=images_file,
        pixels=str(Path(spec.pixels).absolute()) if spec.pixels else "",
        model=for_child(spec.model) if realtime and spec.model is not None else None,
        java=prepared.java,
        java_needed=prepared.request.java == "always",
        logs=str(Path(spec.logs or f"{spec.output}/{spec.exp_name}_logs").absolute()),
    )


EPOCH_ROW = 3
"""Where `measured_rows` tell the time of an epoch."""


def measured_rows(result: dict[str, Any]) -> Rows:
    """What a run measured here, beside the guide's V100: (what, here, guide)."""
    mode: Mode = result["mode"]
    step_s, batch = _GUIDE_STEP[mode]
    return [
        (tr("batch size"), str(result["batch_size"]), str(batch)),
        (tr("time per step"), shown_duration(result["step_s"]), tr("{seconds} s", seconds=step_s)),
        (tr("caption pairs/s"), shown_rate(result["pairs_per_s"]), f"{batch / step_s:.0f}"),
        (tr("time per epoch"), shown_duration(result["epoch_s"]), tr(GUIDE_EPOCH[mode])),
        (tr("waiting for data"), shown_share(result["data_wait_share"]), "-"),
        (tr("memory beyond start"), shown_memory(result), GUIDE_MEMORY[mode]),
        (tr("largest batch"), shown_largest(result), tr("{batch} was used", batch=batch)),
    ]


def shown_duration(seconds: float | None) -> str:
    """A duration, or a dash."""
    return "-" if seconds is None else format_duration(seconds)


def shown_rate(rate: float | None) -> str:
    """A rate, or a dash."""
    return "-" if rate is None else f"{rate:,.0f}"


def shown_share(share: float | None) -> str:
    """A share of the time, or a dash."""
    return "-" if share is None else tr("{share:.0%} of the time", share=share)


def shown_memory(result: dict[str, Any]) -> str:
    """Peak less what the process held before any model was loaded: importing PyTorch alone takes hundreds of megabytes."""
    taken = format_bytes(result["peak_memory_bytes"] - result["baseline_memory_bytes"])
    return f"{taken} {memory_words(result)}"


def memory_words(result: dict[str, Any]) -> str:
    """Which memory was measured."""
    return tr(result["memory_kind"])


def shown_largest(result: dict[str, Any]) -> str:
    """The batch that would fill the GPU."""
    largest = result["largest_batch"]
    return tr("not asked of a CPU") if largest is None else tr("about {number:,}", number=largest)


def _require_output(spec: TrainSpec) -> None:
    output = Path(spec.output)
    if output.exists() and not output.is_dir():
        raise BadRequest(tr("--output {path} is a file.", path=output), tr("Name a folder for the checkpoints."))
    if not probe_disk(output).writable:
        raise MachineCannot(tr("{path} is not writable.", path=output), tr("Choose another --output."))
    if spec.rehearsal:
        return
    last = output / f"{spec.exp_name}_last.pth"
    if last.exists() and not (spec.resume or spec.overwrite):
        raise BadRequest(
            tr("{path} exists already.", path=last),
            tr("Use --resume to go on, --overwrite to start anew, or another --exp-name."),
        )
    if spec.resume and not last.exists():
        raise BadRequest(
            tr("There is no checkpoint {path} to resume.", path=last),
            tr("Leave --resume out, or look at --output and --exp-name."),
        )


def _require_features(path: str, captions: Captions) -> None:
    if not path:
        raise BadRequest(tr("--mode precomputed needs --features-path."), tr("Make the file with `fsgr-tui extract`."))
    if os.path.isdir(path):  # noqa: PTH112 - as the flag was given
        raise BadRequest(
            tr("--features-path {path} is a folder.", path=path),
            tr("Name the .hdf5 file; a folder of images is for --mode realtime."),
        )
    if FeatureFile(path).layout.suffix == "pixels":
        raise BadRequest(
            tr("--features-path {path} holds pictures (a pixel cache), not features.", path=path),
            tr("Use --mode realtime --pixels {path}.", path=path),
        )
    _require_rows(path, None, captions)


def _require_rows(path: str, suffix: str | None, captions: Captions) -> None:
    found = set(FeatureFile(path, suffix).ids.tolist())
    missing, why = sorted(captions.image_ids - found), captions.explain(found)
    if not missing:
        return
    text = tr(
        "{path} has no features for {missing:,} of the {all:,} annotated images: {ids}.",
        path=path,
        missing=len(missing),
        all=len(captions.image_ids),
        ids=few(missing),
    )
    advice = (
        tr(
            "Features are kept by image id: extract them from the pictures themselves, or take the captions that "
            "belong to them."
        )
        if why
        else tr("Extract them too: the Karpathy split needs --split karpathy (train2014 and val2014 in one file).")
    )
    raise FoundFaults(f"{text} {why}".rstrip(), advice)


def _realtime_images(request: TrainRequest, captions: Captions) -> tuple[Image, ...]:
    if not request.image_root:
        raise BadRequest(
            tr("--mode realtime needs --image-root."),
            tr("Name the folder that holds train2014 and val2014, or a pixel cache with --pixels."),
        )
    images = select_images(request.image_root, request.splits or coco.KARPATHY_SPLITS)
    found = {image.id for image in images}
    missing = sorted(captions.image_ids - found)
    if missing:
        text = tr(
            "{missing:,} of the {all:,} annotated images are not in {path}: {ids}.",
            missing=len(missing),
            all=len(captions.image_ids),
            path=request.image_root,
            ids=few(missing),
        )
        raise FoundFaults(f"{text} {captions.explain(found)}".rstrip(), tr("Name all splits that the annotations use."))
    return images
