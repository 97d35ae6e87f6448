"""`fsgr-tui train`: the built-in captioner, on features or on images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from fsgr_tui.cli import ended, follow, options, text
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.training import MODES, CaptionerSize, Mode
from fsgr_tui.core.units import format_bytes, format_duration, printable
from fsgr_tui.service import training

# Flags of the lab's own script that belong to its model; a pasted line works, and what is left out is said.
_LAB_VALUES = ("text-embed-path", "labels-path", "adapter-b", "adapter-e", "beta", "m", "logs-folder", "xe-least", "xe-most",
               "refine-epoch-rl", "rl-base-lr")  # fmt: skip
_LAB_FLAGS = ("text", "return-index", "resume-best")


def _lab_options(function: Any) -> Any:
    for name in _LAB_VALUES:
        function = click.option(f"--{name}", f"lab_{name.replace('-', '_')}", hidden=True)(function)
    for name in _LAB_FLAGS:
        function = click.option(f"--{name}", f"lab_{name.replace('-', '_')}", is_flag=True, hidden=True)(function)
    return function


@click.command(
    "train",
    help="Train the built-in captioner on M2-style annotations: frozen CLIP in every step (realtime), or a feature file (precomputed).\n\n"
    "The flags of the lab's train_transformer.py are accepted; those that belong to its model are named and left out.",
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
@options.split
@click.option(
    "--annotation-folder",
    type=click.Path(),
    required=True,
    help="Folder with the captions JSONs and the four id files.",
)
@options.model_options
@click.option("--output", type=click.Path(), default="checkpoints", show_default=True, help="Folder for checkpoints.")
@click.option("--exp-name", default="fsgr", show_default=True, help="Names the checkpoints.")
@click.option(
    "--epochs", type=click.IntRange(1), default=20, show_default=True, help="Passes over the training captions."
)
@click.option("--max-steps", type=click.IntRange(1), default=None, help="End after so many steps.")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Caption pairs a step.")
@click.option(
    "--learning-rate",
    "--xe-base-lr",
    type=click.FloatRange(0, min_open=True),
    default=1e-4,
    show_default=True,
    help="Peak of the schedule.",
)
@click.option("--warmup", type=click.IntRange(0), default=1000, show_default=True, help="Steps until the peak.")
@click.option("--workers", type=click.IntRange(0), default=2, show_default=True, help="Loader processes.")
@click.option("--d-model", type=click.IntRange(8), default=512, show_default=True, help="Width of the captioner.")
@click.option("--layers", type=click.IntRange(1), default=3, show_default=True, help="Layers of encoder and decoder.")
@click.option("--heads", "--head", type=click.IntRange(1), default=8, show_default=True, help="Attention heads.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and order.")
@click.option("--resume", "--resume-last", is_flag=True, help="Go on from the last checkpoint.")
@click.option("--overwrite", is_flag=True, help="Start anew although a checkpoint is there.")
@click.option("--use-hdf5-features", "hdf5_flag", is_flag=True, hidden=True)
@click.option("--dry-run", is_flag=True, help="Check everything, and stop.")
@click.option("--detach", is_flag=True, help="Return at once with the job's name.")
@_lab_options
@options.json_flag
def command(
    mode: Mode | None,
    features_path: str,
    image_root: str | None,
    dry_run: bool,
    detach: bool,
    as_json: bool,
    **asked: Any,
) -> int:
    """Prepare, start and follow a training."""
    _say_left_out(asked)
    request = _request(mode, features_path, image_root or "", asked)
    prepared = training.prepare(request)
    text.echo(f"{request.mode}: {prepared.needed:,} annotated images, all of them there", sys.stderr)
    if dry_run:
        text.echo("Nothing speaks against it (dry run; nothing was started).", sys.stderr)
        return 0
    run = training.start(prepared)
    if detach:
        text.echo(run.name)
        return 0
    return ended.report(follow.follow(run), as_json=as_json, done=_done)


def _request(mode: Mode | None, features_path: str, image_root: str, asked: dict[str, Any]) -> training.TrainRequest:
    if mode is None:
        if not features_path and not image_root:
            raise BadRequest(
                "Neither --features-path nor --image-root was given.",
                "A feature file trains precomputed, images realtime.",
            )
        mode = "precomputed" if asked["hdf5_flag"] or features_path.endswith((".hdf5", ".h5")) else "realtime"
    # The guide's way A names the image folder in --features-path.
    if mode == "realtime" and not image_root and Path(features_path).is_dir():
        image_root = features_path
    d_model, heads = asked.pop("d_model"), asked.pop("heads")
    if d_model % heads:
        raise BadRequest(f"--d-model {d_model} is no multiple of --heads {heads}.", "Use 512 and 8, or 128 and 4.")
    model = ModelChoice(
        **{
            name: asked.pop(name)
            for name in (
                "clip_model",
                "weights",
                "grid",
                "dtype",
                "resize",
                "precision",
                "activation",
                "backend",
                "device",
            )
        }
    )
    size = CaptionerSize(d_model=d_model, layers=asked.pop("layers"), heads=heads, feed_forward=4 * d_model)
    ours = {name: value for name, value in asked.items() if not name.startswith("lab_") and name != "hdf5_flag"}
    return training.TrainRequest(
        mode=mode,
        features=features_path,
        image_root=image_root,
        model=model,
        size=size,
        shown=("fsgr-tui", *sys.argv[1:]),
        **ours,
    )


def _say_left_out(asked: dict[str, Any]) -> None:
    left_out = [
        name.removeprefix("lab_").replace("_", "-")
        for name, value in asked.items()
        if name.startswith("lab_") and value
    ]
    if left_out:
        text.echo(
            f"left out, since they belong to the lab's own model: {', '.join(f'--{name}' for name in left_out)}",
            sys.stderr,
        )


def _done(result: dict[str, Any]) -> None:
    text.echo(
        f"{result['mode']}: {result['steps']:,} steps, loss {_number(result['first_loss'])} to {_number(result['last_loss'])}, "
        f"validation {_number(result['val_loss'])}"
    )
    step = "-" if result["step_s"] is None else format_duration(result["step_s"])
    rate = "-" if result["pairs_per_s"] is None else f"{result['pairs_per_s']:,.0f} pairs/s"
    text.echo(f"  {step} a step, {rate}, {format_bytes(result['peak_memory_bytes'])} ({result['memory_kind']})")
    for sample in result.get("samples", []):
        text.echo(
            f"  image {sample['image_id']}: {printable(sample['caption'])}  (reference: {printable(sample['reference'])})"
        )
    text.echo(f"  checkpoint {printable(result['checkpoint'])}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
