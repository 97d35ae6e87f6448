"""`fsgr-tui plan`: what is here, which way, and why."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click
import msgspec

from fsgr_tui.cli import options, plan_view, text
from fsgr_tui.core import coco, jsontext
from fsgr_tui.core.compare import Comparison
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.language import mark, sentences, tr
from fsgr_tui.core.plan import Intent, Plan
from fsgr_tui.core.tower import DTYPES, GRIDS, canonical_name
from fsgr_tui.core.units import printable
from fsgr_tui.core.whatif import WhatIf
from fsgr_tui.service import markdown, planning

if TYPE_CHECKING:
    from fsgr_tui.core.slurm_facts import Cluster

TITLES = plan_view.TITLES
SUFFIXES = (".json", ".md", ".toml")

EXAMPLES = """\b
Examples:
  fsgr-tui plan --image-root datasets/coco/images --experiments 20
  fsgr-tui plan --gpu "RTX 3090" --disk-free 80GB --dataset karpathy
  fsgr-tui plan --models ViT-B/16,ViT-L/14 --compare
  fsgr-tui plan --out plan.toml    then: fsgr-tui run plan.toml
"""


@click.command(
    "plan",
    help="Look at disk, GPUs, host and data set; recommend realtime or precomputed, and show why.",
    epilog=EXAMPLES,
)
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
@click.option(
    "--weights", default="openai", show_default=True, help="For the commands: tag, weights file, random:SEED."
)
@click.option("--models", default="", metavar="A,B", help="Several CLIP models, instead of --clip-model.")
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
@click.option("--labels", is_flag=True, help="The patch-label contrast loss is used; it needs GPU memory of its own.")
@click.option("--workers", type=click.IntRange(0), default=None, help="Decoding workers to plan with.")
@click.option(
    "--gpu", default="", metavar="NAME", help='What if: another GPU, e.g. "RTX 3090", "8xA100 40GB", or none.'
)
@click.option("--vram", default="", metavar="SIZE", help="What if: so much GPU memory, e.g. 24GB.")
@click.option("--disk-free", default="", metavar="SIZE", help="What if: so much free disk, e.g. 80GB.")
@click.option("--dataset", default="", metavar="NAME", help=f"What if: {', '.join(coco.DATASETS)}, without its images.")
@click.option("--compare", is_flag=True, help="Several choices side by side: ways, models, grids, storage types.")
@click.option("--staged", is_flag=True, help="Two epochs in realtime first, then extract (if both ways are possible).")
@click.option("--recount", is_flag=True, help="Count the images again, although their folder did not change.")
@options.backend
@options.json_flag
@click.option("--markdown", "as_markdown", is_flag=True, help="A Markdown report on standard output.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="Write it to a file: .json, .md, or .toml, which `fsgr-tui run` carries out.",
)
def command(
    image_root: str | None,
    features_dir: str,
    models: str,
    gpu: str,
    vram: str,
    disk_free: str,
    dataset: str,
    compare: bool,
    recount: bool,
    runs_on: str | None,
    profile: str,
    as_json: bool,
    as_markdown: bool,
    out: str | None,
    **asked: object,
) -> int:
    """Make a plan and print it."""
    intent = _intent(Intent(**asked), models)  # type: ignore[arg-type]  # click checked the values
    what_if = WhatIf(gpu, vram, disk_free, dataset)
    target = _target(out, compare=compare)
    made: Plan | Comparison = (
        planning.comparison(intent, image_root, features_dir, what_if, recount=recount)
        if compare
        else planning.plan(intent, image_root, features_dir, what_if, recount=recount)
    )
    found = None
    if options.on_slurm(runs_on, profile):
        found = _cluster(profile, image_root, features_dir)
        if isinstance(made, Plan):
            made = _in_slurm(made, profile)
    if target:
        _write(target, made)
        _tell_written(target, made)
    if as_json:
        document = _document(made)
        text.json_out(document if found is None else {**msgspec.to_builtins(document), "cluster": found})
    elif as_markdown:
        text.echo(_page(made) + (_cluster_view().section(found) if found is not None else ""))
    elif not target:
        plan_view.show_comparison(made) if isinstance(made, Comparison) else plan_view.show(made)
        if found is not None:
            _cluster_view().show(found)
    return 0


def _in_slurm(plan: Plan, profile: str) -> Plan:
    from fsgr_tui.cli import placing

    commands, staged = (placing.placed(steps, profile) for steps in (plan.commands, plan.staged))
    return msgspec.structs.replace(plan, commands=commands, staged=staged)


def _cluster_view() -> ModuleType:
    # A plan of this machine should not wait for what knows Slurm.
    from fsgr_tui.cli import cluster_view

    return cluster_view


def _cluster(profile: str, image_root: str | None, features_dir: str) -> Cluster:
    """What Slurm offers; a profile that is named has to fit it."""
    from fsgr_tui.service import cluster

    folders = {mark("the images"): image_root or planning.DEFAULT_IMAGE_ROOT, mark("the features"): features_dir}
    if profile:
        cluster.place(profile, folders)
    return cluster.look({mark("the run folder"): "", **folders})


def _intent(intent: Intent, models: str) -> Intent:
    """The intent with its models; `--models` names the first one too."""
    named = tuple(name for name in (part.strip() for part in models.split(",")) if name)
    if not named:
        return intent
    if len({canonical_name(name) for name in named}) < len(named):
        raise BadRequest(tr("--models {models} names a model twice.", models=models), tr("Name each once."))
    return msgspec.structs.replace(intent, clip_model=named[0], models=named)


def _target(out: str | None, *, compare: bool) -> Path | None:
    """The file of --out, before anything is looked at."""
    if out is None:
        return None
    path = Path(out)
    if path.suffix not in SUFFIXES:
        raise BadRequest(
            tr("--out {path}: {suffix} is no kind of report.", path=out, suffix=path.suffix or tr("no suffix")),
            tr("End it in {suffixes}.", suffixes=", ".join(SUFFIXES)),
        )
    if compare and path.suffix == ".toml":
        raise BadRequest(
            tr("--out {path}: a comparison has no steps to run.", path=out),
            tr("Use .json or .md, or leave --compare out."),
        )
    return path


def _page(made: Plan | Comparison) -> str:
    return markdown.comparison_page(made) if isinstance(made, Comparison) else markdown.plan_page(made)


def _document(made: Plan | Comparison) -> object:
    return made if isinstance(made, Comparison) else planning.document(made)


def _body(path: Path, made: Plan | Comparison) -> bytes:
    if path.suffix == ".json":
        return jsontext.encode(_document(made), indent=2) + b"\n"
    if path.suffix == ".toml" and isinstance(made, Plan):
        from fsgr_tui.core import planfile

        return planfile.write(made).encode()
    return _page(made).encode()


def _tell_written(path: Path, made: Plan | Comparison) -> None:
    told = tr("Written to {path}.", path=path)
    if isinstance(made, Plan):
        verdict = tr("{mode}: {reason}", mode=tr(made.recommendation.mode), reason=made.recommendation.reason)
        told = sentences(verdict, told)
    text.echo(printable(told), sys.stderr)
    if path.suffix == ".toml":
        text.echo(f"  fsgr-tui run {printable(shlex.quote(str(path)))}", sys.stderr)


def _write(path: Path, made: Plan | Comparison) -> None:
    """Write a report whole: a draft beside it, then a rename. A plan file that is there may hold a person's changes."""
    if path.suffix == ".toml" and path.exists() and path.read_bytes() != _body(path, made):
        raise BadRequest(
            tr("{path} is there already, with other content.", path=path), tr("Choose another --out, or delete it.")
        )
    try:
        write_whole(path, _body(path, made))
    except OSError as error:
        raise MachineCannot(
            tr("{path} cannot be written: {reason}.", path=path, reason=error.strerror), tr("Choose another --out.")
        ) from None
