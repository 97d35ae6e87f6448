"""Between an extraction and the texts of its form, and the command line that the form stands for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fsgr_tui.core import coco
from fsgr_tui.core.extraction import PRECISIONS, ModelChoice, Precision
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.planner import feature_path
from fsgr_tui.core.tower import DTYPES, GRIDS, Dtype, Grid, canonical_name
from fsgr_tui.tui.intent_form import number, path, words
from fsgr_tui.tui.widgets.form import Field

if TYPE_CHECKING:
    from fsgr_tui.service.extraction import ExtractRequest

REFUSE, RESUME, OVERWRITE = "refuse", "resume", "overwrite"

FIELDS = (
    Field("image_root", "image root", "--image-root", hint="the folder that holds train2014, val2014, ..."),
    Field("splits", "splits", "--split", hint="train2014, val2014, karpathy, ..."),
    Field("output", "output", "--output-path", hint="a file name that ends in .hdf5"),
    Field("clip_model", "CLIP model", "--clip-model"),
    Field("weights", "weights", "--weights", hint="openai, a file, or random:0"),
    Field("grid", "grid", "--grid", GRIDS),
    Field("dtype", "dtype", "--dtype", DTYPES),
    Field("batch_size", "batch size", "--batch-size"),
    Field("workers", "workers", "--workers"),
    Field("precision", "precision", "--precision", PRECISIONS),
    Field("existing", "if it exists", "--resume", (REFUSE, RESUME, OVERWRITE)),
)


def texts_for(plan: Plan, features_dir: str, workers: int) -> dict[str, str]:
    """What the form holds for a plan: the plan's own choice."""
    choice = plan.recommendation.choice
    splits = (coco.KARPATHY,) if set(choice.splits) == set(coco.KARPATHY_SPLITS) else choice.splits
    return {
        "image_root": plan.dataset.root,
        "splits": " ".join(splits),
        "output": output_for(features_dir, choice.clip_model, choice.grid, splits),
        "clip_model": choice.clip_model,
        "weights": plan.intent.weights,
        "grid": choice.grid,
        "dtype": choice.dtype,
        "batch_size": "64",
        "workers": str(workers),
        "precision": "auto",
        "existing": REFUSE,
    }


def output_for(features_dir: str, clip_model: str, grid: str, splits: tuple[str, ...]) -> str:
    """The planner's file name for a choice."""
    return feature_path(features_dir, canonical_name(clip_model), grid, splits)


def output_follows(before: dict[str, str], now: dict[str, str], features_dir: str) -> str:
    """The output for a form that was edited: a name that tells what is in the file follows it, any other one stays."""

    def named(texts: dict[str, str]) -> str:
        return output_for(features_dir, texts["clip_model"], texts["grid"], words(texts["splits"]))

    return named(now) if now["output"] == before["output"] == named(before) else now["output"]


def request_for(texts: dict[str, str]) -> ExtractRequest:
    """The request that the form's texts stand for.

    Raises:
        BadField: a number is none.
    """
    from fsgr_tui.service.extraction import ExtractRequest

    return ExtractRequest(
        image_root=path(texts["image_root"]),
        splits=words(texts["splits"]),
        output=path(texts["output"]),
        model=ModelChoice(
            clip_model=texts["clip_model"].strip(),
            weights=path(texts["weights"]),
            grid=cast("Grid", texts["grid"]),
            dtype=cast("Dtype", texts["dtype"]),
            precision=cast("Precision", texts["precision"]),
        ),
        batch_size=number("batch_size", texts["batch_size"], 1) or 1,
        workers=number("workers", texts["workers"], 0) or 0,
        resume=texts["existing"] == RESUME,
        overwrite=texts["existing"] == OVERWRITE,
        shown=command_line(texts),
    )


def command_line(texts: dict[str, str]) -> tuple[str, ...]:
    """The command that does the same as the form."""
    argv = ["fsgr-tui", "extract", "--image-root", path(texts["image_root"])]
    for split in words(texts["splits"]):
        argv += ["--split", split]
    argv += ["--output-path", path(texts["output"])]
    for name, flag in (
        ("clip_model", "--clip-model"), ("weights", "--weights"), ("grid", "--grid"), ("dtype", "--dtype"),
        ("batch_size", "--batch-size"), ("workers", "--workers"), ("precision", "--precision"),
    ):  # fmt: skip
        argv += [flag, path(texts[name]) if name == "weights" else texts[name].strip()]
    if texts["existing"] != REFUSE:
        argv.append(f"--{texts['existing']}")
    return tuple(argv)
