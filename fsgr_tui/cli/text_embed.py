"""`fsgr-tui text-embed`: class names to the tensor file that the FSGR script loads."""

from __future__ import annotations

import sys
from typing import Any

import click

from fsgr_tui.cli import ended, follow, options, text
from fsgr_tui.core.extraction import ACTIVATIONS, ModelChoice
from fsgr_tui.core.units import printable
from fsgr_tui.service import embedding


@click.command(
    "text-embed",
    help="Write the text embeddings of class names as a bare tensor (classes, width), averaged over prompts.",
)
@click.option("--classes", type=click.Path(), required=True, help="Text file with one class name a line.")
@click.option(
    "--output", "--output-path", "output", type=click.Path(), required=True, help="The tensor file, ending in .pth."
)
@click.option("--clip-model", default="ViT-B/16", show_default=True, help="CLIP model, in either spelling.")
@click.option(
    "--weights", default="openai", show_default=True, help="open_clip tag, weights file, or random:SEED (untrained)."
)
@click.option(
    "--activation",
    type=click.Choice(ACTIVATIONS),
    default="auto",
    show_default=True,
    help="For a file that does not tell.",
)
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="TEXT",
    help="A sentence with {} for the name; several are averaged. Without it: OpenAI's seven.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@options.json_flag
def command(clip_model: str, weights: str, activation: Any, as_json: bool, **asked: Any) -> int:
    """Embed and say what came of it."""
    model = ModelChoice(clip_model=clip_model, weights=weights, activation=activation, grid="native")
    run = embedding.start(model, shown=("fsgr-tui", *sys.argv[1:]), **asked)
    return ended.report(follow.follow(run), as_json=as_json, done=_done)


def _done(result: dict[str, Any]) -> None:
    text.echo(f"{printable(result['output'])}: {result['classes']:,} x {result['width']} float32")
