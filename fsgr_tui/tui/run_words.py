"""What the Run place says of what the form asks for: that it may start, or what speaks against it, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rich.text import Text

from fsgr_tui.core.errors import Problem
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import format_bytes, printable
from fsgr_tui.service.training_request import TrainRequest
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, GOOD, WARN
from fsgr_tui.tui.intent_form import YES, BadField, path
from fsgr_tui.tui.order import Ready
from fsgr_tui.tui.run_fields import EXTRACT, OVERWRITE, shown_fields
from fsgr_tui.tui.widgets.form import Field, field_of

if TYPE_CHECKING:
    from fsgr_tui.service.extraction import Prepared
    from fsgr_tui.service.training import PreparedTraining


def faulty_field(texts: dict[str, str], fault: Problem | None) -> Field | None:
    """The field that a fault belongs to; None without one."""
    if fault is None:
        return None
    fields = shown_fields(texts)
    name = fault.name if isinstance(fault, BadField) else field_of(fields, texts, fault.what, fault.fix)
    return next((field for field in fields if field.name == name), None)


def refused_words(problem: Problem, field: Field | None) -> Text:
    """Where to look; the fault itself where it belongs to no field."""
    if field is None:
        return layout.lines(Text(printable(problem.what), BAD), printable(problem.fix))
    return Text(tr('Cannot start yet: look at the field "{label}".', label=tr(field.label)), WARN)


def ready_words(ready: Ready) -> Text:
    """What would be done, and what it would wait for."""
    order = ready.order
    parts = [Text(tr("Ready to start; ^t looks for all that would spoil it."), GOOD)]
    if ready.missing is not None:
        parts = [Text(tr("Something is missing now; what it waits for may make it."), WARN)]
    elif ready.prepared is not None:
        training = isinstance(order.request, TrainRequest)
        parts += (
            _training(cast("PreparedTraining", ready.prepared))
            if training
            else _extraction(cast("Prepared", ready.prepared))
        )
    if ready.run.needs:
        parts.append(Text(tr("It begins when {jobs} has ended well.", jobs=printable(", ".join(ready.run.needs)))))
    if order.in_turn:
        parts.append(Text(tr("It runs in turn with the other jobs of the queue.")))
    parts += [Text(printable(notice), WARN) for notice in ready.run.notices]
    return layout.lines(*parts)


def _extraction(prepared: Prepared) -> list[Text]:
    images, shape = len(prepared.images), prepared.shape.words
    most, folder = format_bytes(prepared.need_bytes), printable(str(prepared.output.parent))
    if prepared.free_bytes is None:
        size = tr("{images:,} images, {shape} each, {most} at the most", images=images, shape=shape, most=most)
    else:
        size = tr(
            "{images:,} images, {shape} each, {most} at the most; {free} free in {folder}",
            images=images, shape=shape, most=most, free=format_bytes(prepared.free_bytes), folder=folder,
        )  # fmt: skip
    return [Text(size), *_notices(prepared.notices, prepared.request.model.weights)]


def _training(prepared: PreparedTraining) -> list[Text]:
    spec = prepared.request.spec
    said = tr(
        "{images:,} annotated images, all of them there ({captions})",
        images=prepared.needed, captions=printable(prepared.captions),
    )  # fmt: skip
    weights = spec.model.weights if spec.model is not None and spec.mode == "realtime" else ""
    return [Text(said), *_notices(prepared.notices, weights)]


def _notices(notices: tuple[str, ...], weights: str) -> list[Text]:
    told = [Text(printable(notice), WARN) for notice in notices]
    if weights.startswith("random:"):
        told.append(Text(tr("Random weights: an untrained model, for trying things out only."), WARN))
    return told


def question_for(texts: dict[str, str]) -> tuple[str, str] | None:
    """What to ask before something is lost, and what would be; None where nothing is."""
    if texts["what"] == EXTRACT:
        if texts["extract_existing"] != OVERWRITE:
            return None
        file = path(texts["output"])
        return tr("Replace {file}?", file=file), tr("What is there, finished or not, will be lost.")
    if texts["train_existing"] != OVERWRITE or texts["dry_run"] == YES:
        return None
    name, folder = texts["exp_name"].strip(), path(texts["checkpoints"])
    return (
        tr("Train {name} anew?", name=name),
        tr("Its checkpoints in {folder}, the best one too, will be replaced.", folder=folder),
    )
