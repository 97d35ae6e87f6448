"""What a training is asked for, as a plan fills it in and as a command line says it. Pure; loads neither torch nor h5py."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final, cast

import msgspec

from fsgr_tui.core import coco
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.steps import ANNOTATION_FOLDER
from fsgr_tui.core.tower import Grid
from fsgr_tui.core.training import Adapters, Mode, TrainSpec, UseJava

OUTPUT, EXP_NAME, CLIP_MODEL = "checkpoints", "fsgr", "ViT-B/16"
"""What the command takes where nothing else is said."""

_FLAGS: Final = {
    "annotation_folder": "--annotation-folder", "output": "--output", "exp_name": "--exp-name", "features": "--features-path",
    "pixels": "--pixels", "epochs": "--epochs", "max_steps": "--max-steps", "batch_size": "--batch-size",
    "learning_rate": "--learning-rate", "warmup": "--warmup", "max_eval_images": "--max-eval-images", "beam": "--beam",
    "best_by": "--best-by", "patience": "--patience", "keep": "--keep", "save_s": "--save-every", "workers": "--workers",
    "seed": "--seed", "precision": "--precision", "device": "--device", "processes": "--nproc", "nodes": "--nodes", "logs": "--logs-folder",
}  # fmt: skip
_MODEL_FLAGS: Final = {
    "clip_model": "--clip-model", "weights": "--weights", "grid": "--grid", "dtype": "--dtype", "resize": "--resize",
    "activation": "--activation", "backend": "--decoder",
}  # fmt: skip
_CRITICAL_FLAGS: Final = {
    "epochs": "--scst-epochs", "learning_rate": "--scst-lr", "samples": "--scst-samples", "baseline": "--scst-baseline",
}  # fmt: skip


class TrainRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for.

    Attributes:
        spec: the run. Its paths are as typed; what starts it makes them absolute and fills in `images_file` and `java`.
        image_root, splits: the pictures, for realtime without a pixel cache; no splits for Karpathy's.
        java: whether METEOR and the original tokenizer are asked for.
        shown: the command line as typed.
    """

    spec: TrainSpec
    image_root: str = ""
    splits: tuple[str, ...] = ()
    java: UseJava = "auto"
    shown: tuple[str, ...] = ()


def request_for_plan(plan: Plan, annotation_folder: str = "") -> TrainRequest:
    """The training that a plan ends with, as its own command says it.

    Args:
        annotation_folder: where the captions are; empty for the plan's folder.

    Returns:
        A plan without a training (neither way is possible) gives the defaults, with its images.
    """
    argv = next((step.argv for step in reversed(plan.commands) if step.argv[:2] == ("fsgr-tui", "train")), ())
    first, last = _value(argv, "--adapter-b"), _value(argv, "--adapter-e")
    steps = _value(argv, "--max-steps")
    spec = TrainSpec(
        mode=cast("Mode", _value(argv, "--mode", "precomputed")),
        annotation_folder=annotation_folder or _value(argv, "--annotation-folder", ANNOTATION_FOLDER),
        output=OUTPUT,
        exp_name=_value(argv, "--exp-name", EXP_NAME),
        features=_value(argv, "--features-path"),
        pixels=_value(argv, "--pixels"),
        model=ModelChoice(
            clip_model=_value(argv, "--clip-model", plan.intent.clip_model),
            weights=_value(argv, "--weights", plan.intent.weights),
            grid=cast("Grid", _value(argv, "--grid", "7x7")),
        ),
        adapters=Adapters(first=int(first), last=int(last)) if first and last else None,
        epochs=int(_value(argv, "--epochs", str(plan.intent.epochs))),
        max_steps=int(steps) if steps else None,
        batch_size=int(_value(argv, "--batch-size", "64")),
    )
    splits = tuple(value for flag, value in pairwise(argv) if flag == "--split")
    chosen = splits or plan.recommendation.choice.splits
    whole = set(coco.split_names(chosen)) == set(coco.KARPATHY_SPLITS)
    request = TrainRequest(spec=spec, image_root=plan.dataset.root, splits=(coco.KARPATHY,) if whole else tuple(chosen))
    return msgspec.structs.replace(request, shown=command_line(request))


def command_line(request: TrainRequest) -> tuple[str, ...]:
    """The command that does the same as a request: what differs from the command's own defaults."""
    spec = request.spec
    realtime = spec.mode == "realtime"
    argv = ["fsgr-tui", "train", "--mode", spec.mode]
    if realtime and not spec.pixels:
        argv += ["--image-root", request.image_root]
        argv += [word for split in request.splits for word in ("--split", split)]
    plain = TrainSpec(mode=spec.mode, annotation_folder="", output=OUTPUT, exp_name=EXP_NAME)
    argv += _differing(spec, plain, _FLAGS, left_out=("features",) if realtime else ("pixels",))
    if realtime and spec.model is not None:
        argv += _differing(spec.model, ModelChoice(clip_model=CLIP_MODEL, weights="openai"), _MODEL_FLAGS)
    if realtime and spec.adapters is not None:
        argv += ["--adapter-b", str(spec.adapters.first), "--adapter-e", str(spec.adapters.last)]
        argv += ["--adapter-width", str(spec.adapters.bottleneck), "--adapter-lr", f"{spec.adapters.learning_rate:g}"]
    argv += _differing(spec.critical, plain.critical, _CRITICAL_FLAGS)
    argv += _differing(spec.size, plain.size, {"d_model": "--d-model", "layers": "--layers", "heads": "--heads"})
    argv += [] if spec.evaluate else ["--no-evaluate"]
    argv += [] if request.java == "auto" else ["--java", request.java]
    argv += [flag for flag, given in (("--resume", spec.resume), ("--overwrite", spec.overwrite)) if given]
    return (*argv, *(("--dry-run",) if spec.rehearsal else ()))


def _differing(given: Any, plain: Any, flags: dict[str, str], left_out: Iterable[str] = ()) -> list[str]:
    words = []
    for name, flag in flags.items():
        value = getattr(given, name)
        if name not in left_out and value is not None and value != getattr(plain, name):
            words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return words


def _value(argv: tuple[str, ...], flag: str, otherwise: str = "") -> str:
    return argv[argv.index(flag) + 1] if flag in argv else otherwise
