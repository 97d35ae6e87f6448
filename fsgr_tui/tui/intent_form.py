"""Between an intent and the texts of its form. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fsgr_tui.core.coco import DATASETS
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import Intent
from fsgr_tui.core.tower import DTYPES, GRIDS
from fsgr_tui.core.whatif import WhatIf
from fsgr_tui.tui.widgets.form import Field

PLANNERS_CHOICE = mark("let it choose")
YES, NO = mark("yes"), mark("no")
AS_IT_IS = mark("as it is")

FIELDS = (
    Field("epochs", mark("epochs"), "--epochs"),
    Field("experiments", mark("experiments"), "--experiments", hint=mark("not said")),
    Field("batch_size", mark("batch size"), "--batch-size", hint=mark("not said")),
    Field("clip_swaps", mark("CLIP changes"), "--clip-swaps"),
    Field("clip_model", mark("CLIP model"), "--clip-model"),
    Field("weights", mark("weights"), "--weights", hint=mark("openai, a file, or random:0")),
    Field("grid", mark("grid"), "--grid", GRIDS),
    Field("dtype", mark("dtype"), "--dtype", (PLANNERS_CHOICE, *DTYPES)),
    Field("image_root", mark("image root"), "--image-root", hint=mark("none: plan with the published counts")),
    Field("splits", mark("splits"), "--split", hint=mark("those that are there; or train2014, val2014, karpathy, ...")),
    Field("features_dir", mark("features folder"), "--features-dir"),
    Field("quick_check", mark("quick check"), "--quick-check", (NO, YES)),
    Field("paper", mark("paper"), "--paper", (NO, YES)),
    Field("adapters", mark("adapters in CLIP"), "--adapters", (NO, YES)),
    Field("labels", mark("patch labels"), "--labels", (NO, YES)),
    Field("staged", mark("realtime first"), "--staged", (NO, YES)),
    Field("models", mark("several models"), "--models", hint=mark("one; or ViT-B/16 ViT-L/14")),
    Field("gpu", mark("what if: GPU"), "--gpu", hint=mark("this machine's; or RTX 3090, 8xA100 40GB, none")),
    Field("vram", mark("what if: memory"), "--vram", hint=mark("as it is; or 24GB")),
    Field("disk_free", mark("what if: disk"), "--disk-free", hint=mark("as it is; or 80GB")),
    Field("dataset", mark("what if: data set"), "--dataset", (AS_IT_IS, *DATASETS)),
)

FLAGS = ("quick_check", "paper", "adapters", "labels", "staged")
WHAT_IF = ("gpu", "vram", "disk_free", "dataset")

_LEAST = {"epochs": 1, "experiments": 1, "batch_size": 1, "clip_swaps": 0}
_MAY_BE_EMPTY = ("experiments", "batch_size")


@dataclass(frozen=True)
class Wanted:
    """All that a plan depends on and that a person decides."""

    intent: Intent
    image_root: str | None
    features_dir: str
    what_if: WhatIf = field(default_factory=WhatIf)


class BadField(BadRequest):
    """A field's text is no value for it."""

    def __init__(self, name: str, what: str, fix: str) -> None:
        super().__init__(what, fix)
        self.name = name


def to_texts(wanted: Wanted) -> dict[str, str]:
    """The form's texts."""
    intent = wanted.intent
    texts = {name: "" if getattr(intent, name) is None else str(getattr(intent, name)) for name in _LEAST}
    flags = {name: YES if getattr(intent, name) else NO for name in FLAGS}
    return {
        **texts,
        **flags,
        "clip_model": intent.clip_model,
        "weights": intent.weights,
        "grid": intent.grid,
        "dtype": intent.dtype or PLANNERS_CHOICE,
        "image_root": wanted.image_root or "",
        "splits": " ".join(intent.splits),
        "features_dir": wanted.features_dir,
        "models": " ".join(intent.models),
        **{name: getattr(wanted.what_if, name) for name in WHAT_IF},
        "dataset": wanted.what_if.dataset or AS_IT_IS,
    }


def from_texts(texts: dict[str, str], before: Intent) -> Wanted:
    """What the form's texts say; what the form does not ask for stays as before.

    Raises:
        BadField: a number is none, or too small.
    """
    said: dict[str, Any] = {
        name: number(name, texts[name], least, may_be_empty=name in _MAY_BE_EMPTY) for name, least in _LEAST.items()
    }
    said |= {name: texts[name] == YES for name in FLAGS}
    said |= {
        "clip_model": texts["clip_model"].strip(),
        "weights": path(texts["weights"]) or "openai",
        "grid": texts["grid"],
        "dtype": None if texts["dtype"] == PLANNERS_CHOICE else texts["dtype"],
        "splits": words(texts["splits"]),
        "models": words(texts["models"]),
    }
    features_dir = path(texts["features_dir"])
    if not features_dir:
        raise BadField("features_dir", tr("Features need a folder."), tr("Write features, or a path on a large disk."))
    given = {name: texts[name].strip() for name in WHAT_IF}
    what_if = WhatIf(**{**given, "dataset": "" if given["dataset"] == AS_IT_IS else given["dataset"]})
    return Wanted(msgspec.structs.replace(before, **said), path(texts["image_root"]) or None, features_dir, what_if)


def number(name: str, text: str, least: int, *, may_be_empty: bool = False) -> int | None:
    """A whole number of a field.

    Raises:
        BadField: it is none, or below `least`.
    """
    if not text.strip() and may_be_empty:
        return None
    try:
        value = int(text)
    except ValueError:
        raise BadField(
            name, tr("{text} is no whole number.", text=repr(text)), tr("Write one, {least} or more.", least=least)
        ) from None
    if value < least:
        raise BadField(name, tr("{value} is too small.", value=value), tr("Write {least} or more.", least=least))
    return value


def words(text: str) -> tuple[str, ...]:
    """Names separated by spaces or commas."""
    return tuple(text.replace(",", " ").split())


def path(text: str) -> str:
    """A path as a shell would hand it over."""
    return os.path.expanduser(text.strip())  # noqa: PTH111 - a Path would drop a leading ./ and show another text than was typed
