"""The training that the texts of the run form stand for. Pure."""

from __future__ import annotations

import re
from typing import cast

import msgspec

from fsgr_tui.core.extraction import ModelChoice, Precision
from fsgr_tui.core.language import tr
from fsgr_tui.core.tower import Grid
from fsgr_tui.core.training import Adapters, SelfCritical, TrainSpec
from fsgr_tui.service.training_request import TrainRequest, command_line
from fsgr_tui.tui.intent_form import YES, BadField, number, path, words
from fsgr_tui.tui.run_fields import OVERWRITE, PIXELS, REALTIME, RESUME, require_filled

_NEEDED = ("pixels", "image_root", "features", "annotations", "clip_model", "weights", "exp_name", "checkpoints")


def request_for(texts: dict[str, str]) -> TrainRequest:
    """The request, with the command line that does the same.

    Raises:
        BadField: a number is none, or something is left empty.
    """
    realtime = texts["what"] == REALTIME
    cached = realtime and texts["pictures"] == PIXELS
    require_filled(texts, _NEEDED)
    batch = "realtime_batch" if realtime else "precomputed_batch"
    spec = TrainSpec(
        mode="realtime" if realtime else "precomputed",
        annotation_folder=path(texts["annotations"]),
        output=path(texts["checkpoints"]),
        exp_name=texts["exp_name"].strip(),
        features="" if realtime else path(texts["features"]),
        pixels=path(texts["pixels"]) if cached else "",
        model=_model(texts),
        adapters=_adapters(texts["adapters"]) if realtime else None,
        epochs=number("epochs", texts["epochs"], 1) or 1,
        critical=SelfCritical(epochs=number("scst_epochs", texts["scst_epochs"], 0) or 0),
        max_steps=number("max_steps", texts["max_steps"], 1, may_be_empty=True),
        batch_size=number(batch, texts[batch], 1) or 1,
        learning_rate=_rate(texts["learning_rate"]),
        workers=number("train_workers", texts["train_workers"], 0) or 0,
        precision=cast("Precision", texts["precision"]),
        processes=number("processes", texts["processes"], 1) or 1,
        rehearsal=texts["dry_run"] == YES,
        resume=texts["train_existing"] == RESUME,
        overwrite=texts["train_existing"] == OVERWRITE,
    )
    plain = TrainRequest(
        spec=spec,
        image_root=path(texts["image_root"]) if realtime and not cached else "",
        splits=words(texts["splits"]) if realtime and not cached else (),
    )
    return msgspec.structs.replace(plain, shown=command_line(plain))


def _model(texts: dict[str, str]) -> ModelChoice:
    return ModelChoice(
        clip_model=texts["clip_model"].strip(), weights=path(texts["weights"]), grid=cast("Grid", texts["grid"])
    )


def _adapters(text: str) -> Adapters | None:
    if not text.strip():
        return None
    found = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", text)
    if not found or int(found[2]) < int(found[1]):
        raise BadField(
            "adapters",
            tr("{text} is no range of blocks.", text=repr(text)),
            tr("Write the first and the last one: 6-11 are FSGR's of ViT-B/16."),
        )
    return Adapters(first=int(found[1]), last=int(found[2]))


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    # Also not when it is no number (NaN), which is not equal to itself.
    if not 0 < rate < 1:
        raise BadField(
            "learning_rate", tr("{text} is no learning rate.", text=repr(text)), tr("Write one between 0 and 1: 1e-4.")
        )
    return rate
