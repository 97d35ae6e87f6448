"""The extraction that the texts of the run form stand for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fsgr_tui.core.extraction import ModelChoice, Precision
from fsgr_tui.core.tower import Dtype, Grid, Stage
from fsgr_tui.tui.intent_form import number, path, words
from fsgr_tui.tui.run_fields import OVERWRITE, RESUME, require_filled

if TYPE_CHECKING:
    from fsgr_tui.service.extraction import ExtractRequest

_FLAGS = (
    ("ids", "--ids"), ("ids_annotations", "--annotations"), ("output", "--output-path"), ("clip_model", "--clip-model"),
    ("weights", "--weights"), ("stage", "--stage"), ("grid", "--grid"), ("dtype", "--dtype"),
    ("extract_batch", "--batch-size"), ("extract_workers", "--workers"), ("precision", "--precision"),
)  # fmt: skip
_PATHS = ("ids", "ids_annotations", "output", "weights")
_MAY_BE_LEFT_OUT = {"ids": "", "ids_annotations": "", "stage": "post-ln_post", "precision": "auto"}


def request_for(texts: dict[str, str]) -> ExtractRequest:
    """The request.

    Raises:
        BadField: a number is none, or something is left empty.
    """
    # They load h5py; the command line does without.
    from fsgr_tui.service.extraction import ExtractRequest
    from fsgr_tui.service.selection import IdList

    ids, annotations = path(texts["ids"]), path(texts["ids_annotations"])
    return ExtractRequest(
        image_root=path(texts["image_root"]),
        splits=words(texts["splits"]),
        output=path(texts["output"]),
        model=ModelChoice(
            clip_model=texts["clip_model"].strip(),
            weights=path(texts["weights"]),
            stage=cast("Stage", texts["stage"]),
            grid=cast("Grid", texts["grid"]),
            dtype=cast("Dtype", texts["dtype"]),
            precision=cast("Precision", texts["precision"]),
        ),
        batch_size=number("extract_batch", texts["extract_batch"], 1) or 1,
        workers=number("extract_workers", texts["extract_workers"], 0) or 0,
        annotations=annotations,
        ids=IdList(ids, annotations) if ids else None,
        resume=texts["extract_existing"] == RESUME,
        overwrite=texts["extract_existing"] == OVERWRITE,
        shown=command_line(texts),
    )


def command_line(texts: dict[str, str]) -> tuple[str, ...]:
    """The command that does the same; it may be refused later.

    Raises:
        BadField: something is left empty.
    """
    require_filled(texts, ("image_root", "splits", "output", "clip_model", "weights"))
    argv = ["fsgr-tui", "extract", "--image-root", path(texts["image_root"])]
    for split in words(texts["splits"]):
        argv += ["--split", split]
    for name, flag in _FLAGS:
        value = path(texts[name]) if name in _PATHS else texts[name].strip()
        if value != _MAY_BE_LEFT_OUT.get(name):
            argv += [flag, value]
    if texts["extract_existing"] in (RESUME, OVERWRITE):
        argv.append(f"--{texts['extract_existing']}")
    return tuple(argv)
