"""Flags that several commands share, with one meaning everywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from fsgr_tui.core import language as languages
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.extraction import ACTIVATIONS, BACKENDS, PRECISIONS, RESIZES
from fsgr_tui.core.tower import DTYPES, GRIDS

F = TypeVar("F", bound=Callable[..., Any])


def _speak(_ctx: click.Context, _param: click.Parameter, name: str | None) -> None:
    """Take the language over, for the children of this process too."""
    if name is None:
        return
    language = languages.known(name)
    if language is None:
        raise BadRequest(f"--lang {name}: this program does not speak it.", f"Choose {', '.join(languages.LANGUAGES)}.")
    os.environ[languages.VARIABLE] = language
    languages.use(language)


def _speak_to_programs(_ctx: click.Context, _param: click.Parameter, as_json: bool) -> bool:
    """Programs read English, whatever the locale; unless a language was named."""
    if as_json and not os.environ.get(languages.VARIABLE):
        languages.use(languages.ENGLISH)
    return as_json


def lang() -> click.Option:
    """`--lang`, which every command has."""
    return click.Option(
        ["--lang"], metavar="en|zh_CN", is_eager=True, expose_value=False, callback=_speak,
        help="Language of the screen, the plan and the messages.  [default: as LANG says]",
        shell_complete=lambda _ctx, _param, begun: [name for name in languages.LANGUAGES if name.startswith(begun)],
    )  # fmt: skip


def speak_as_the_terminal() -> None:
    """Speak as the environment says, where standard output can hold it.

    A terminal that cannot (LANG=C, an old code page) gets English instead of escapes.
    """
    language = languages.of_environment(os.environ)
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    if language == languages.CHINESE:
        try:
            "\u4e2d\u6587".encode(encoding)
        except (UnicodeEncodeError, LookupError):
            language = languages.ENGLISH
    languages.use(language)


json_flag = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    callback=_speak_to_programs,
    help="One JSON document on standard output.",
)
split = click.option(
    "--split", "splits", multiple=True, metavar="NAME",
    help="Split folder, e.g. train2014; several times for several; `karpathy` is train2014 and val2014.",
)  # fmt: skip
image_root = click.option("--image-root", type=click.Path(), help="Folder that holds the split folders.")


def backend(function: F) -> F:
    """Where a job runs: here, or in Slurm."""
    for option in reversed((
        click.option("--backend", "runs_on", type=click.Choice(("local", "slurm")), default=None,
                     help="Run here, or submit to Slurm; local unless --profile is given."),
        click.option("--profile", default="", metavar="NAME",
                     help="What to ask of Slurm: a table of slurm.toml (see `fsgr-tui cluster`)."),
    )):  # fmt: skip
        function = option(function)
    return function


def on_slurm(runs_on: str | None, profile: str) -> bool:
    """Whether a job goes to Slurm.

    Raises:
        BadRequest: a profile was given for a job that runs here.
    """
    if runs_on == "local" and profile:
        raise BadRequest(f"--profile {profile} belongs to --backend slurm.", "Leave one of them out.")
    return runs_on == "slurm" or bool(profile)


def model_options(function: F) -> F:
    """The flags that decide what features an image gets."""
    for option in reversed((
        click.option("--clip-model", "--pre-name", default="ViT-B/16", show_default=True, help="CLIP model, in either spelling."),
        click.option("--weights", "--pre-vs-path", default="openai", show_default=True,
                     help="open_clip tag, weights file (OpenAI's .pt, .pth, .safetensors), or random:SEED (untrained)."),
        click.option("--grid", type=click.Choice(GRIDS), default="7x7", show_default=True,
                     help="7x7: average pooling of the native grid; native; 7x7-112px: a smaller input; 8x8."),
        click.option("--dtype", type=click.Choice(DTYPES), default="float16", show_default=True, help="Storage type."),
        click.option("--resize", type=click.Choice(RESIZES), default="squash", show_default=True,
                     help="squash: both edges (as FSGR trains); crop: short edge and centre crop (open_clip's default)."),
        click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True,
                     help="Arithmetic of the tower; auto: fp16 on a GPU, bf16 on a CPU that has it, else fp32."),
        click.option("--activation", type=click.Choice(ACTIVATIONS), default="auto", show_default=True,
                     help="For a weights file that does not tell: quick-gelu (OpenAI) or gelu."),
        click.option("--decoder", "backend", type=click.Choice(BACKENDS), default="pillow", show_default=True,
                     help="pillow: the reference; torchvision: faster, and a few values one level different."),
        click.option("--device", default="auto", show_default=True,
                     help="auto, cpu, cuda, cuda:N; to extract also all, or several with commas."),
    )):  # fmt: skip
        function = option(function)
    return function
