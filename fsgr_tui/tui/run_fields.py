"""The fields of the run form: which of them belong to what is run, and what they hold for a plan. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fsgr_tui.core import coco
from fsgr_tui.core.extraction import PRECISIONS
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.planner import feature_path
from fsgr_tui.core.tower import DTYPES, GRIDS, canonical_name
from fsgr_tui.service.training_request import request_for_plan
from fsgr_tui.tui.intent_form import NO, YES, BadField, words
from fsgr_tui.tui.widgets.form import Field

EXTRACT, PRECOMPUTED, REALTIME = mark("extract"), mark("train precomputed"), mark("train realtime")
KINDS: Final = (EXTRACT, PRECOMPUTED, REALTIME)
NOW, IN_TURN, AFTER = mark("now"), mark("in turn"), mark("after a job")
REFUSE, RESUME, OVERWRITE = mark("refuse"), mark("resume"), mark("overwrite")
IMAGES, PIXELS = mark("images"), mark("pixel cache")
EXTRACTED_STAGES: Final = ("post-ln_post", "pre-ln_post", "projected", "pixels")
"""Those that need nothing else: labels would also ask for the texts of their classes."""

ONE_BATCH = "64"


@dataclass(frozen=True)
class _Line:
    """A field, what it belongs to, and the value of another field that it depends on, where that one is asked."""

    field: Field
    kinds: tuple[str, ...] = KINDS
    only: tuple[str, str] = ("", "")


_TRAIN: Final = (PRECOMPUTED, REALTIME)
_TOWER: Final = (EXTRACT, REALTIME)
_IF_THERE: Final = (REFUSE, RESUME, OVERWRITE)

_LINES: Final = (
    _Line(Field("what", mark("what to run"), values=KINDS)),
    _Line(Field("pictures", mark("pictures from"), "--pixels", (IMAGES, PIXELS)), (REALTIME,)),
    _Line(Field("pixels", mark("pixel cache"), "--pixels", hint=mark("made with extract, stage pixels")), (REALTIME,), ("pictures", PIXELS)),
    _Line(Field("image_root", mark("image root"), "--image-root", hint=mark("the folder that holds train2014, val2014, ...")), _TOWER, ("pictures", IMAGES)),
    _Line(Field("splits", mark("splits"), "--split", hint=mark("train2014, val2014, karpathy, ...")), _TOWER, ("pictures", IMAGES)),
    _Line(Field("features", mark("feature file"), "--features-path", hint=mark("a file that ends in .hdf5")), (PRECOMPUTED,)),
    _Line(Field("annotations", mark("annotations"), "--annotation", hint=mark("folder with captions_train2014.json, or dataset_coco.json")), _TRAIN),
    _Line(Field("ids", mark("only the ids of"), "--ids", hint=mark("all images; or coco_train_ids.npy, a list of ids")), (EXTRACT,)),
    _Line(Field("ids_annotations", mark("annotations"), "--annotations", hint=mark("for ids of captions, or names without an id")), (EXTRACT,)),
    _Line(Field("output", mark("output"), "--output-path", hint=mark("a file name that ends in .hdf5")), (EXTRACT,)),
    _Line(Field("clip_model", mark("CLIP model"), "--clip-model"), _TOWER),
    _Line(Field("weights", mark("weights"), "--weights", hint=mark("openai, a file, or random:0")), _TOWER),
    _Line(Field("stage", mark("stage"), "--stage", EXTRACTED_STAGES), (EXTRACT,)),
    _Line(Field("grid", mark("grid"), "--grid", GRIDS), _TOWER),
    _Line(Field("adapters", mark("adapters in CLIP"), "--adapter", hint=mark("none; or blocks, such as 6-11")), (REALTIME,)),
    _Line(Field("dtype", mark("dtype"), "--dtype", DTYPES), (EXTRACT,)),
    _Line(Field("extract_batch", mark("batch size"), "--batch-size"), (EXTRACT,)),
    _Line(Field("extract_workers", mark("workers"), "--workers"), (EXTRACT,)),
    _Line(Field("epochs", mark("epochs"), "--epochs"), _TRAIN),
    _Line(Field("scst_epochs", mark("SCST epochs"), "--scst-epochs"), _TRAIN),
    _Line(Field("max_steps", mark("most steps"), "--max-steps", hint=mark("no limit")), _TRAIN),
    _Line(Field("precomputed_batch", mark("batch size"), "--batch-size"), (PRECOMPUTED,)),
    _Line(Field("realtime_batch", mark("batch size"), "--batch-size"), (REALTIME,)),
    _Line(Field("learning_rate", mark("learning rate"), "--learning-rate"), _TRAIN),
    _Line(Field("train_workers", mark("workers"), "--workers"), _TRAIN),
    _Line(Field("processes", mark("processes"), "--nproc", hint=mark("one a GPU")), _TRAIN),
    _Line(Field("precision", mark("precision"), "--precision", PRECISIONS)),
    _Line(Field("exp_name", mark("experiment"), "--exp-name", hint=mark("names the checkpoints")), _TRAIN),
    _Line(Field("checkpoints", mark("checkpoints"), "--output", hint=mark("their folder")), _TRAIN),
    _Line(Field("extract_existing", mark("if it exists"), "--resume", _IF_THERE), (EXTRACT,)),
    _Line(Field("train_existing", mark("if it exists"), "--resume", _IF_THERE), _TRAIN),
    _Line(Field("dry_run", mark("dry run"), "--dry-run", (NO, YES)), _TRAIN),
    _Line(Field("start", mark("start"), "--queue", (NOW, IN_TURN, AFTER))),
    _Line(Field("after", mark("after"), "--after", hint=mark("jobs that have to end well first")), KINDS, ("start", AFTER)),
)  # fmt: skip

FIELDS: Final = tuple(line.field for line in _LINES)


def shown_fields(texts: dict[str, str]) -> tuple[Field, ...]:
    """The fields that matter for what the form holds."""
    of_kind = [line for line in _LINES if texts["what"] in line.kinds]
    asked = {line.field.name for line in of_kind}

    def holds(name: str, value: str) -> bool:
        return name not in asked or texts[name] == value

    return tuple(line.field for line in of_kind if holds(*line.only))


def require_filled(texts: dict[str, str], names: Iterable[str]) -> None:
    """Refuse fields without which there is no command.

    Raises:
        BadField: one is empty.
    """
    shown = {field.name for field in shown_fields(texts)}
    for name in names:
        if name in shown and not texts[name].strip():
            raise BadField(name, tr("This field is empty."), tr("Fill it in; ^r takes all of them from the plan."))


def texts_for(plan: Plan, features_dir: str, workers: int) -> dict[str, str]:
    """What the form holds for a plan: the plan's own choice, for the extraction and for both trainings."""
    choice, training = plan.recommendation.choice, request_for_plan(plan)
    spec, adapters = training.spec, training.spec.adapters
    splits = (coco.KARPATHY,) if set(choice.splits) == set(coco.KARPATHY_SPLITS) else choice.splits
    cached = plan.recommendation.cache == "pixels"
    texts = {
        "what": REALTIME if plan.recommendation.mode == "realtime" and not cached else EXTRACT,
        "pictures": PIXELS if cached else IMAGES,
        "pixels": spec.pixels,
        "image_root": plan.dataset.root,
        "splits": " ".join(splits),
        "annotations": spec.annotation_folder,
        "ids": "",
        "ids_annotations": "",
        "clip_model": choice.clip_model,
        "weights": plan.intent.weights,
        "stage": "pixels" if cached else "post-ln_post",
        "grid": choice.grid,
        "adapters": f"{adapters.first}-{adapters.last}" if adapters else "",
        "dtype": choice.dtype,
        "extract_batch": ONE_BATCH,
        "extract_workers": str(workers),
        "epochs": str(spec.epochs),
        "scst_epochs": "0",
        "max_steps": "" if spec.max_steps is None else str(spec.max_steps),
        "precomputed_batch": _batch(plan.memory.precomputed_batch, plan.memory.largest_precomputed_batch),
        "realtime_batch": _batch(plan.memory.realtime_batch, plan.memory.largest_realtime_batch),
        "learning_rate": f"{spec.learning_rate:g}",
        "train_workers": str(spec.workers),
        "processes": "1",
        "precision": "auto",
        "exp_name": spec.exp_name,
        "checkpoints": spec.output,
        "extract_existing": REFUSE,
        "train_existing": REFUSE,
        "dry_run": NO,
        "start": NOW,
        "after": "",
    }
    output = spec.pixels or output_for(texts, features_dir)
    return {**texts, "output": output, "features": output}


def output_for(texts: dict[str, str], features_dir: str) -> str:
    """The planner's file name for what the form holds."""
    content = "pixels" if texts["stage"] == "pixels" else texts["grid"]
    return feature_path(features_dir, canonical_name(texts["clip_model"]), content, words(texts["splits"]))


def following(before: dict[str, str], now: dict[str, str], features_dir: str) -> dict[str, str]:
    """The paths of a form that was edited: a name that tells what is in the file follows it, any other one stays.

    The training reads what the extraction writes, until another file is named.
    """
    named = now["output"] == before["output"] == output_for(before, features_dir)
    output = output_for(now, features_dir) if named else now["output"]
    fed = "pixels" if now["stage"] == "pixels" else "features"
    return {"output": output, **({fed: output} if now[fed] == before["output"] else {})}


def _batch(planned: int, largest: object) -> str:
    """The planned batch, or the largest one that fits where that is smaller."""
    return str(min(planned, largest) if isinstance(largest, int) and largest > 0 else planned)
