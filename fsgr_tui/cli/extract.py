"""`fsgr-tui extract`: CLIP grid features of image folders into one HDF5 file."""

from __future__ import annotations

import sys
from typing import Any

import click

from fsgr_tui.cli import ended, follow, options, text
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.units import format_bytes, printable
from fsgr_tui.service import extraction


@click.command(
    "extract",
    help="Extract CLIP grid features into a feature file that any h5py reader opens: f['9_grids'] is a (tokens, width) array.\n\n"
    "It can be stopped and killed at any time: --resume goes on where it was.",
)
@click.option("--image-root", type=click.Path(), required=True, help="Folder that holds the split folders.")
@options.split
@click.option("--output-path", type=click.Path(), required=True, help="The feature file, ending in .hdf5.")
@options.model_options
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Images that go through the tower at once.",
)
@click.option(
    "--workers", type=click.IntRange(0), default=None, help="Decoding threads; by default what this process may use."
)
@click.option(
    "--id-pattern", default="", help="Regular expression for the image id in other file names; digits in a group."
)
@click.option("--resume", is_flag=True, help="Go on with an unfinished file, or add what is missing in a finished one.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be done, and stop.")
@click.option("--detach", is_flag=True, help="Return at once with the job's name.")
@options.json_flag
def command(
    image_root: str,
    splits: tuple[str, ...],
    output_path: str,
    batch_size: int,
    workers: int | None,
    id_pattern: str,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
    detach: bool,
    as_json: bool,
    **model: Any,
) -> int:
    """Prepare, start and follow an extraction."""
    request = extraction.ExtractRequest(
        image_root=image_root,
        splits=splits,
        output=output_path,
        model=ModelChoice(**model),
        batch_size=batch_size,
        workers=extraction.default_workers() if workers is None else workers,
        resume=resume,
        overwrite=overwrite,
        id_pattern=id_pattern,
        shown=("fsgr-tui", *sys.argv[1:]),
    )
    prepared = extraction.prepare(request)
    shape = prepared.shape
    text.echo(
        f"{len(prepared.images):,} images, {shape.tokens} x {shape.tower.width} {shape.dtype} each, "
        f"{format_bytes(prepared.need_bytes)} at the most, into {printable(output_path)}",
        sys.stderr,
    )
    if dry_run:
        text.echo("Nothing speaks against it (dry run; nothing was started).", sys.stderr)
        return 0
    run = extraction.start(prepared)
    if detach:
        text.echo(run.name)
        return 0
    status = follow.follow(run)
    return ended.report(status, as_json=as_json, done=_done)


def _done(result: dict[str, Any]) -> None:
    rate = f", {result['images_per_s']:,.0f} images/s" if result.get("images_per_s") else ""
    refused = f", {result['refused']:,} images refused" if result["refused"] else ""
    text.echo(
        f"{printable(result['output'])}: {result['images']:,} images, {format_bytes(result['file_bytes'])}{rate}{refused}"
    )
