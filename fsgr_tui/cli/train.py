"""`fsgr-tui train`: the built-in captioner, on features or on images."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fsgr_tui.cli import ended, follow, options, text
from fsgr_tui.cli.train_checkout import TrainCommand
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.event_words import phase_words, unit_words
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.language import tr
from fsgr_tui.core.training import (
    BASELINES,
    BEST_BY,
    MODES,
    USE_JAVA,
    Adapters,
    CaptionerSize,
    Mode,
    SelfCritical,
    TrainSpec,
)
from fsgr_tui.core.units import format_bytes, format_duration, printable
from fsgr_tui.service import training
from fsgr_tui.service.training_request import TrainRequest

if TYPE_CHECKING:
    from fsgr_tui.service.cluster import Place

# Flags of the lab's own script that belong to its model; a pasted line works, and what is left out is said.
_LAB_VALUES = ("text-embed-path", "labels-path", "beta", "m", "xe-least", "xe-most", "refine-epoch-rl")
_LAB_FLAGS = ("text", "return-index", "resume-best")

_EXAMPLES = """\b
Examples:
  fsgr-tui train --features-path f.hdf5 --annotation-folder m2_annotations
  fsgr-tui train --features-path f.hdf5 --annotation-folder dataset_coco.json --scst-epochs 5 --patience 5
  fsgr-tui train --mode realtime --pixels pixels.hdf5 --annotation-folder m2_annotations --adapter-b 6 --adapter-e 11
  fsgr-tui train --features-path f.hdf5 --annotation-folder m2_annotations --dry-run
"""


def _lab_options(function: Any) -> Any:
    for name in _LAB_VALUES:
        function = click.option(f"--{name}", f"lab_{name.replace('-', '_')}", hidden=True)(function)
    for name in _LAB_FLAGS:
        function = click.option(f"--{name}", f"lab_{name.replace('-', '_')}", is_flag=True, hidden=True)(function)
    return function


@click.command(
    "train",
    cls=TrainCommand,
    help="Train the built-in captioner: CLIP in every step (realtime), or a feature file (precomputed).\n\n"
    "Captions are scored with CIDEr-D, BLEU and ROUGE-L after every epoch, and the best one by CIDEr-D is kept. "
    "The flags of the lab's train_transformer.py are accepted; those that belong to its model are named and left out.",
    epilog=_EXAMPLES,
)
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default=None,
    help="Without it: precomputed for an .hdf5 file, realtime for a folder.",
)
@click.option(
    "--features-path", type=click.Path(), default="", help="The feature file (or, for realtime, the image root)."
)
@options.image_root
@click.option(
    "--pixels", type=click.Path(), default="", help="Realtime from a pixel cache (extract --stage pixels), undecoded."
)
@options.split
@click.option(
    "--annotation-folder",
    "--annotations",
    type=click.Path(),
    required=True,
    help="M2-style folder; or dataset_coco.json, COCO's captions JSON, Flickr's captions.",
)
@options.model_options
@click.option("--adapter-b", type=click.IntRange(0), default=None, help="Train adapters in CLIP from this block on ...")
@click.option("--adapter-e", type=click.IntRange(0), default=None, help="... to this one (FSGR: 6 and 11); realtime.")
@click.option("--adapter-width", type=click.IntRange(1), default=64, show_default=True, help="Channels of an adapter.")
@click.option(
    "--adapter-lr", type=click.FloatRange(0, min_open=True), default=1e-4, show_default=True, help="Their peak."
)
@click.option("--output", type=click.Path(), default="checkpoints", show_default=True, help="Folder for checkpoints.")
@click.option("--exp-name", default="fsgr", show_default=True, help="Names the checkpoints.")
@click.option("--logs-folder", "logs", type=click.Path(), default="", help="TensorBoard files; by default in --output.")
@click.option(
    "--epochs", type=click.IntRange(1), default=20, show_default=True, help="Passes over the training captions."
)
@click.option("--max-steps", type=click.IntRange(1), default=None, help="End after so many steps.")
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Caption pairs a step, of all processes.",
)
@click.option(
    "--learning-rate",
    "--xe-base-lr",
    type=click.FloatRange(0, min_open=True),
    default=1e-4,
    show_default=True,
    help="Peak of the schedule.",
)
@click.option("--warmup", type=click.IntRange(0), default=1000, show_default=True, help="Steps until the peak.")
@click.option("--patience", type=click.IntRange(1), default=None, help="End after so many epochs without a better one.")
@click.option("--best-by", type=click.Choice(BEST_BY), default="cider", show_default=True, help="What the best one is.")
@click.option(
    "--keep", type=click.IntRange(0), default=0, show_default=True, help="Checkpoints of the newest epochs, too."
)
@click.option(
    "--save-every", "save_s", type=click.FloatRange(0), default=600.0, show_default=True, metavar="SECONDS",
    help="What a power cut may cost at most.",
)  # fmt: skip
@click.option("--beam", type=click.IntRange(1), default=5, show_default=True, help="Beam of the captions; 1: greedy.")
@click.option("--max-eval-images", type=click.IntRange(1), default=None, help="Score the first so many images only.")
@click.option("--no-evaluate", "evaluate", is_flag=True, flag_value=False, default=True, help="Loss only, no captions.")
@click.option(
    "--java", type=click.Choice(USE_JAVA), default="auto", show_default=True,
    help="METEOR, SPICE and the PTB tokenizer at the end: where Java works, always, or never.",
)  # fmt: skip
@click.option(
    "--scst-epochs", type=click.IntRange(0), default=0, show_default=True, help="Self-critical epochs after the others."
)
@click.option(
    "--scst-lr",
    "--rl-base-lr",
    type=click.FloatRange(0, min_open=True),
    default=5e-6,
    show_default=True,
    help="Constant.",
)
@click.option("--scst-samples", type=click.IntRange(1), default=5, show_default=True, help="Captions drawn per image.")
@click.option(
    "--scst-baseline", type=click.Choice(BASELINES), default="mean", show_default=True,
    help="What a reward is held against: the other samples, or the greedy caption.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(0), default=2, show_default=True, help="Loader processes.")
@click.option(
    "--nproc", "processes", type=click.IntRange(1), default=None,
    help="Processes on a node, each on a GPU.  [default: 1; in Slurm the profile's GPUs]",
)  # fmt: skip
@click.option("--nodes", type=click.IntRange(1), default=None, help="With Slurm: nodes, instead of the profile's.")
@click.option("--d-model", type=click.IntRange(8), default=512, show_default=True, help="Width of the captioner.")
@click.option("--layers", type=click.IntRange(1), default=3, show_default=True, help="Layers of encoder and decoder.")
@click.option("--heads", "--head", type=click.IntRange(1), default=8, show_default=True, help="Attention heads.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and order.")
@click.option("--resume", "--resume-last", is_flag=True, help="Go on from the last checkpoint.")
@click.option("--overwrite", is_flag=True, help="Start anew although a checkpoint is there.")
@click.option("--use-hdf5-features", "hdf5_flag", is_flag=True, hidden=True)
@options.backend
@click.option("--dry-run", is_flag=True, help="One step of training, validation and scoring; keeps nothing.")
@click.option("--detach", is_flag=True, help="Return at once with the job's name.")
@_lab_options
@options.json_flag
def command(
    mode: Mode | None,
    features_path: str,
    image_root: str | None,
    runs_on: str | None,
    profile: str,
    dry_run: bool,
    detach: bool,
    as_json: bool,
    **asked: Any,
) -> int:
    """Prepare, start and follow a training."""
    _say_left_out(asked)
    where = _on_slurm(profile, asked) if options.on_slurm(runs_on, profile) else None
    if where is None and (asked["nodes"] or 1) > 1 and "SLURM_JOB_ID" not in os.environ:
        raise BadRequest(tr("--nodes belongs to --backend slurm."), tr("Leave it out, or name a profile."))
    request = _request(mode, features_path, image_root or "", {**asked, "rehearsal": dry_run})
    prepared = training.prepare(request)
    text.echo(
        tr(
            "{mode}: {needed:,} annotated images, all of them there ({captions})",
            mode=tr(request.spec.mode),
            needed=prepared.needed,
            captions=prepared.captions,
        ),
        sys.stderr,
    )
    for notice in prepared.notices:
        text.echo(f"  {printable(notice)}", sys.stderr)
    if where is not None:
        from fsgr_tui.cli import run_cluster

        seconds = run_cluster.training_time(request.spec, prepared.pairs, where)
        return run_cluster.this_command(
            sys.argv[1:], where, dry_run=dry_run, detach=detach, as_json=as_json, seconds=seconds
        )
    run = training.start(prepared)
    if detach:
        text.echo(run.name)
        return 0
    return ended.report(follow.follow(run), as_json=as_json, done=_rehearsed if dry_run else _done)


def _on_slurm(profile: str, asked: dict[str, Any]) -> Place:
    """The cluster; how many nodes and processes a training has there is filled in."""
    from fsgr_tui.cli import run_cluster

    where = run_cluster.place(profile, nodes=asked["nodes"])
    _spread(asked, where)
    return where


def _spread(asked: dict[str, Any], where: Place) -> None:
    from fsgr_tui.service import cluster_run

    asked |= {"nodes": where.profile.nodes, "processes": cluster_run.processes_of(where, asked["processes"])}


def spec_of(asked: dict[str, Any], where: Place) -> TrainSpec:
    """The run that a command line asks for, on a cluster.

    Args:
        asked: the parameters of `command`.

    Raises:
        BadRequest: they do not go together.
    """
    _spread(asked, where)
    for name in ("runs_on", "profile", "detach", "as_json"):
        asked.pop(name)
    asked["rehearsal"] = asked.pop("dry_run")
    mode, features, root = asked.pop("mode"), asked.pop("features_path"), asked.pop("image_root")
    return _request(mode, features, root or "", asked).spec


def _request(mode: Mode | None, features_path: str, image_root: str, asked: dict[str, Any]) -> TrainRequest:
    asked |= {name: asked[name] or 1 for name in ("processes", "nodes")}
    if mode is None:
        if not features_path and not image_root and not asked["pixels"]:
            raise BadRequest(
                tr("Neither --features-path nor --image-root nor --pixels was given."),
                tr("A feature file trains precomputed, images or their pixel cache realtime."),
            )
        mode = "precomputed" if asked["hdf5_flag"] or features_path.endswith((".hdf5", ".h5")) else "realtime"
    # The guide's way A names the image folder in --features-path.
    if mode == "realtime" and not image_root and Path(features_path).is_dir():
        image_root = features_path
    d_model = asked.pop("d_model")
    model = ModelChoice(
        **{
            name: asked.pop(name)
            for name in ("clip_model", "weights", "grid", "dtype", "resize", "activation", "backend")
        },
        precision=asked["precision"],
        device=asked["device"],
    )
    critical = SelfCritical(
        epochs=asked.pop("scst_epochs"),
        learning_rate=asked.pop("scst_lr"),
        samples=asked.pop("scst_samples"),
        baseline=asked.pop("scst_baseline"),
    )
    size = CaptionerSize(
        d_model=d_model, layers=asked.pop("layers"), heads=asked.pop("heads"), feed_forward=4 * d_model
    )
    adapters = _adapters(mode, asked)
    splits, java = asked.pop("splits"), asked.pop("java")
    ours = {name: value for name, value in asked.items() if not name.startswith("lab_") and name != "hdf5_flag"}
    spec = TrainSpec(
        mode=mode, features=features_path, model=model, adapters=adapters, critical=critical, size=size, **ours
    )
    return TrainRequest(spec=spec, image_root=image_root, splits=splits, java=java, shown=("fsgr-tui", *sys.argv[1:]))


def _adapters(mode: Mode, asked: dict[str, Any]) -> Adapters | None:
    first, last = asked.pop("adapter_b"), asked.pop("adapter_e")
    width, rate = asked.pop("adapter_width"), asked.pop("adapter_lr")
    if first is None and last is None:
        return None
    if mode == "precomputed":
        # The guide's own line for stored features has these flags, which belong to its model there.
        text.echo(tr("left out, since stored features are of the frozen CLIP: --adapter-b, --adapter-e"), sys.stderr)
        return None
    if first is None or last is None or last < first:
        raise BadRequest(
            tr("--adapter-b {first} and --adapter-e {last} are no range of blocks.", first=first, last=last),
            tr("FSGR's are 6 and 11 of ViT-B/16."),
        )
    return Adapters(first=first, last=last, bottleneck=width, learning_rate=rate)


def _say_left_out(asked: dict[str, Any]) -> None:
    left_out = [
        name.removeprefix("lab_").replace("_", "-")
        for name, value in asked.items()
        if name.startswith("lab_") and value
    ]
    if left_out:
        text.echo(
            tr(
                "left out, since they belong to the lab's own model: {flags}",
                flags=", ".join(f"--{name}" for name in left_out),
            ),
            sys.stderr,
        )


def _done(result: dict[str, Any]) -> None:
    best = result["best"]
    text.echo(
        tr(
            "{mode}: {steps:,} steps, loss {first} to {last}, validation {validation}",
            mode=tr(result["mode"]),
            steps=result["steps"],
            first=_number(result["first_loss"]),
            last=_number(result["last_loss"]),
            validation=_number(result["val_loss"]),
        )
    )
    for title, scores in (
        ("", result["metrics"]),
        (tr("the best, with the PTB tokenizer:") + " ", result["java_metrics"]),
    ):
        if scores:
            text.echo(f"  {title}" + "  ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    if best["value"] is not None:
        text.echo(
            "  "
            + tr("best by {by}: {value:.3f} after step {step:,}", by=best["by"], value=best["value"], step=best["step"])
        )
    text.echo()
    text.table(training.measured_rows(result), ("", tr("here"), tr("V100 (guide)")))
    text.echo()
    for sample in result.get("samples", []):
        text.echo(
            "  "
            + tr(
                "image {image_id}: {caption}  (reference: {reference})",
                image_id=sample["image_id"],
                caption=printable(sample["caption"]),
                reference=printable(sample["reference"]),
            )
        )
    text.echo(
        "  "
        + tr(
            "checkpoints {size}, the last {checkpoint}",
            size=format_bytes(result["checkpoint_bytes"]),
            checkpoint=printable(result["checkpoint"]),
        )
    )
    text.echo("  " + tr("curves for TensorBoard: {logs}", logs=printable(result["logs"])))


def _rehearsed(result: dict[str, Any]) -> None:
    rows = [
        (
            phase_words(part["part"]),
            format_duration(part["seconds"]),
            tr("{number} {unit}/s", number=f"{part['per_s']:,.0f}", unit=unit_words(part["unit"]))
            if part["per_s"]
            else "-",
            format_bytes(part["peak_memory_bytes"] - result["baseline_memory_bytes"]),
        )
        for part in result["parts"]
    ]
    text.echo(
        tr(
            "Every part of the run works (dry run; nothing was kept). Memory is {memory}, beyond start.",
            memory=training.memory_words(result),
        )
    )
    text.echo()
    text.table(rows, (tr("part"), tr("time"), tr("rate"), tr("memory so far")))
    text.echo()
    text.table(training.measured_rows(result), ("", tr("here"), tr("V100 (guide)")))
    text.echo()
    text.echo(
        "  "
        + tr(
            "{steps:,} steps an epoch; a checkpoint takes {size}",
            steps=result["steps_an_epoch"],
            size=format_bytes(result["checkpoint_bytes"]),
        )
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
