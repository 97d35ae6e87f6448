"""A plan and a comparison as plain text for people, in 80 columns and more."""

from __future__ import annotations

import shlex

from fsgr_tui.cli import text
from fsgr_tui.core.compare import Alternative, Comparison
from fsgr_tui.core.language import mark, sentences, tr
from fsgr_tui.core.plan import Criterion, FilesystemNeed, Plan
from fsgr_tui.core.units import Estimate, Unknown, format_bytes, format_duration, printable
from fsgr_tui.service import markdown, plan_rows

TITLES = {
    "realtime": mark("REALTIME (way A)"),
    "precomputed": mark("PRECOMPUTED (way B)"),
    "none": mark("NEITHER WAY WORKS HERE"),
}
_VOTES = {"A": "A", "B": "B", "neutral": "-", "blocks": "!"}


def show(plan: Plan) -> None:
    """Print a plan."""
    verdict = plan.recommendation
    text.echo(text.styled(tr(TITLES[verdict.mode]), "bold") + _stored(plan))
    for line in plan.simulated:
        text.echo(text.styled("  " + _simulated(line), "yellow"))
    text.paragraph(verdict.reason)
    text.paragraph(verdict.certainty)
    text.heading(tr("The machine, partly simulated") if plan.simulated else tr("This machine"))
    text.table(markdown.machine_rows(plan.machine))
    text.heading(tr("Data set"))
    text.table(markdown.dataset_rows(plan.dataset))
    _show_criteria(plan)
    _show_list(tr("What would change it"), "-", verdict.flips)
    _show_list(tr("Mind"), "!", verdict.warnings)
    _show_ways(plan)
    _show_models(plan)
    _show_gpus(plan)
    _show_storage(plan)
    _show_ladder(plan)
    _show_guide(plan)
    _show_steps(plan)


def _simulated(line: str) -> str:
    return tr("SIMULATED, not this machine: {what}", what=printable(line))


def _stored(plan: Plan) -> str:
    choice = plan.recommendation.choice
    if plan.recommendation.mode == "precomputed":
        return f"   {choice.clip_model}, {choice.tokens} x {choice.width} {choice.dtype}, {format_bytes(choice.feature_bytes)}"
    if plan.recommendation.cache:
        pixels = next(way for way in plan.ways if way.name == "pixels")
        return "   " + tr("from cached pixels, {size}", size=format_bytes(pixels.stored_bytes))
    return ""


def _show_criteria(plan: Plan) -> None:
    text.heading(tr("Why"))
    text.paragraph(tr("A votes for realtime, B for precomputed, ! makes a way impossible; with its weight."))
    rows = sorted(plan.recommendation.criteria, key=lambda row: (not row.blocks, -row.weight))
    for row in rows:
        head = printable(
            tr("{name}: {observed} ({threshold})", name=tr(row.name), observed=row.observed, threshold=row.threshold)
        )
        if row.weight:
            text.table([(_vote(row), head), ("     ", row.why)])
        else:
            text.table([(_vote(row), sentences(tr("{criterion}.", criterion=head), row.why))])


def _vote(row: Criterion) -> str:
    weight = f"{row.weight:g}" if row.weight else ""
    mark = "!" if row.vote == "blocks" or (row.blocks and row.vote == "neutral") else _VOTES[row.vote]
    return f"{mark} {weight:<3}"


def _show_list(title: str, mark: str, lines: tuple[str, ...]) -> None:
    if lines:
        text.heading(title)
        text.table([(mark, printable(line)) for line in lines])


def _show_ways(plan: Plan) -> None:
    text.heading(tr("The ways"))
    text.table(plan_rows.way_rows(plan), plan_rows.way_columns())
    names = ("A", "B", tr("pixels"))
    text.table([(name, way.exactness) for name, way in zip(names, plan.ways, strict=True)])
    text.paragraph(plan_rows.time_words(plan))
    if plan.calibrated:
        text.paragraph(tr("Measured on this machine by `fsgr-tui bench`, {when}.", when=plan.calibrated))


def _show_models(plan: Plan) -> None:
    if not plan.models:
        return
    text.heading(tr("CLIP models"))
    text.table(plan_rows.model_rows(plan), tuple(map(tr, plan_rows.MODEL_COLUMNS)))
    text.paragraph(plan_rows.keep_words(plan))


def _show_gpus(plan: Plan) -> None:
    if plan.memory.gpus:
        text.heading(tr("GPU memory"))
        text.table(plan_rows.gpu_rows(plan), plan_rows.gpu_columns(plan))
        text.table(plan_rows.gpu_notes(plan))


def _show_storage(plan: Plan) -> None:
    text.heading(tr("Storage"))
    for need in plan.storage.filesystems:
        text.table(plan_rows.storage_tree(plan, need))
        text.paragraph(fits_words(need))


def fits_words(need: FilesystemNeed) -> str:
    """Whether a file system holds what is planned, with its quota and its files."""
    return printable(plan_rows.need_words(need))


def _show_ladder(plan: Plan) -> None:
    text.heading(tr("Choices, largest first"))
    text.table(plan_rows.ladder_rows(plan), (*plan_rows.ladder_columns(), "", ""))


def _show_guide(plan: Plan) -> None:
    text.heading(tr("The guide's numbers"))
    rows, notes = plan_rows.guide_table(plan)
    text.table(rows, plan_rows.guide_columns())
    text.table(notes)


def _show_steps(plan: Plan) -> None:
    if plan.commands:
        text.heading(tr("Next"))
    for step in plan.commands:
        # Commands are printed unwrapped, so that they can be copied.
        text.echo("  " + printable(shlex.join(step.argv)))
        if step.note:
            text.table([("    #", step.note)])
    if plan.staged and not plan.intent.staged:
        text.heading(tr("Or in two stages"))
        text.paragraph(plan_rows.staged_words(plan))


def show_comparison(comparison: Comparison) -> None:
    """Print choices side by side, model by model."""
    for line in comparison.simulated:
        text.echo(text.styled(_simulated(line), "yellow"))
    notes = list(dict.fromkeys(row.exactness for row in comparison.alternatives))
    for model in dict.fromkeys(row.clip_model for row in comparison.alternatives):
        text.heading(tr("{model}, {epochs} epochs in all", model=model, epochs=comparison.epochs))
        rows = [_alternative(row, notes) for row in comparison.alternatives if row.clip_model == model]
        columns = (
            tr("way"), tr("stored"), tr("size"), tr("fits"), tr("before"), tr("epoch"), tr("in all"), tr("note"),
        )  # fmt: skip
        text.table(rows, columns)
    text.echo()
    if any(row.only_training for row in comparison.alternatives):
        text.table([("*", tr("The training split alone; the other one is extracted in realtime."))])
    text.table([(f"[{number}]", note) for number, note in enumerate(notes, 1)])
    text.paragraph(plan_rows.basis_words([row.epoch for row in comparison.alternatives]))


def _alternative(row: Alternative, notes: list[str]) -> tuple[str, ...]:
    return (
        {"realtime": "A", "precomputed": "B", "pixels": tr("pixels")}[row.way],
        row.row + (" *" if row.only_training else ""),
        format_bytes(row.stored_bytes) if row.stored_bytes else "-",
        {True: tr("yes"), False: tr("no"), None: "?"}[row.fits],
        _time(row.preparation),
        _time(row.epoch),
        _time(row.total),
        f"[{notes.index(row.exactness) + 1}]",
    )


def _time(estimate: Estimate | Unknown) -> str:
    if isinstance(estimate, Unknown):
        return "?"
    return format_duration(estimate.likely) if estimate.likely else "-"
