"""`fsgr-tui plan`: what is here, which way, and why."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from fsgr_tui.cli import options, text
from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.plan import Intent, Plan
from fsgr_tui.core.tower import DTYPES, GRIDS
from fsgr_tui.core.units import Unknown, format_bytes, format_estimate, printable
from fsgr_tui.service import markdown, planning

TITLES = {"realtime": "REALTIME (way A)", "precomputed": "PRECOMPUTED (way B)", "none": "NEITHER WAY WORKS HERE"}
_VOTES = {"A": "A", "B": "B", "neutral": "-", "blocks": "blocks B"}


@click.command("plan", help="Look at disk, GPUs, host and data set; recommend realtime or precomputed, and show why.")
@options.image_root
@options.split
@click.option(
    "--features-dir",
    type=click.Path(),
    default=planning.DEFAULT_FEATURES_DIR,
    show_default=True,
    help="Where features would go.",
)
@click.option("--clip-model", default="ViT-B/16", show_default=True, help="CLIP model, in either spelling.")
@click.option("--grid", type=click.Choice(GRIDS), default="7x7", show_default=True, help="Grid of the stored features.")
@click.option("--dtype", type=click.Choice(DTYPES), default=None, help="Storage type; without it the planner chooses.")
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Epochs of one experiment.")
@click.option("--experiments", type=click.IntRange(1), default=None, help="How many experiments you will run.")
@click.option("--batch-size", type=click.IntRange(1), default=None, help="Batch size you want to train with.")
@click.option(
    "--clip-swaps",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="How often you will change the CLIP model.",
)
@click.option("--quick-check", is_flag=True, help="You only want to see that the code runs.")
@click.option("--paper", is_flag=True, help="You reproduce a paper's numbers.")
@click.option("--adapters", is_flag=True, help="Adapters or prompts inside CLIP are trained (as FSGR does).")
@click.option("--workers", type=click.IntRange(0), default=None, help="Decoding workers to plan with.")
@options.json_flag
@click.option("--markdown", "as_markdown", is_flag=True, help="A Markdown report on standard output.")
@click.option("--out", type=click.Path(dir_okay=False), help="Write the report to a file (.json or .md).")
def command(
    image_root: str | None, features_dir: str, as_json: bool, as_markdown: bool, out: str | None, **intent: object
) -> int:
    """Make a plan and print it."""
    plan = planning.plan(Intent(**intent), image_root, features_dir)  # type: ignore[arg-type]  # click checked the values
    if out:
        _write(Path(out), plan)
    if as_json:
        text.json_out(plan)
    elif as_markdown:
        text.echo(markdown.plan_page(plan))
    elif not out:
        show(plan)
    return 0


def show(plan: Plan) -> None:
    """Print a plan for a person."""
    verdict = plan.recommendation
    stored = f"   {verdict.choice.tokens} x {verdict.choice.width} {verdict.choice.dtype}, {format_bytes(verdict.choice.feature_bytes)}"
    text.echo(text.styled(TITLES[verdict.mode], "bold") + (stored if verdict.mode == "precomputed" else ""))
    text.paragraph(f"{verdict.reason} Confidence {verdict.confidence:.0%}.")
    text.heading("This machine")
    text.table(markdown.machine_rows(plan.machine))
    text.heading("Data set")
    text.table(markdown.dataset_rows(plan.dataset))
    text.heading("Why")
    rows = [(row.name, printable(row.observed), row.threshold, _VOTES[row.vote], row.why) for row in verdict.criteria]
    text.table(rows, ("criterion", "observed", "held against", "vote", "because"))
    _show_storage(plan)
    text.heading("Time and GPU memory")
    text.table(markdown.time_rows(plan), ("", "realtime", "precomputed", "basis"))
    if verdict.flips:
        text.heading("What would change it")
        text.table([("-", flip) for flip in verdict.flips])
    if verdict.warnings:
        text.heading("Mind")
        text.table([("!", warning) for warning in verdict.warnings])
    text.heading("The guide's numbers")
    text.table([(row.what, row.guide, row.computed, row.note) for row in plan.guide], ("", "guide", "computed", "note"))
    if plan.commands:
        text.heading("Next")
        for step in plan.commands:
            # Commands are printed unwrapped, so that they can be copied.
            text.echo("  " + printable(shlex.join(step.argv)))


def _show_storage(plan: Plan) -> None:
    text.heading("Storage")
    rows = [
        (
            item.name,
            format_estimate(item.bytes),
            printable(item.filesystem),
            item.note + (" (here)" if item.present_bytes else ""),
        )
        for item in plan.storage.items
    ]
    text.table(rows, ("what", "size", "on", "note"))
    for need in plan.storage.filesystems:
        after = need.free_after_bytes
        left = str(after) if isinstance(after, Unknown) else format_bytes(after)
        free = str(need.free_bytes) if isinstance(need.free_bytes, Unknown) else format_bytes(need.free_bytes)
        judged = {True: "fits", False: "DOES NOT FIT with a reserve of 2 % and 5 GB", None: "free space unknown"}[
            need.fits
        ]
        text.paragraph(
            f"{need.mount}: {format_bytes(need.need_bytes)} more needed, {free} free, {left} after it: {judged}."
        )


def _write(path: Path, plan: Plan) -> None:
    """Write a report whole: a draft beside it, then a rename."""
    body = jsontext.encode(plan, indent=2) + b"\n" if path.suffix == ".json" else markdown.plan_page(plan).encode()
    draft = path.with_name(f".{path.name}.tmp")
    try:
        draft.write_bytes(body)
        draft.replace(path)
    except OSError as error:
        raise MachineCannot(f"{path} cannot be written: {error.strerror}.", "Choose another --out.") from None
