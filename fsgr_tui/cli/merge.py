"""`fsgr-tui merge`: shards into one feature file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fsgr_tui.cli import options, text
from fsgr_tui.cli.check import Progress
from fsgr_tui.core.errors import EXIT_FOUND_FAULTS, EXIT_OK
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import format_bytes, printable
from fsgr_tui.features.merge import merge_files, missing_shards


@click.command(
    "merge",
    help="Join shards (see extract --shard) into one feature file. The shards stay; delete them when you have checked it.\n\n"
    "Exit code 1: a shard of theirs is missing.\n\n"
    "Example: fsgr-tui merge coco.hdf5 coco.1-of-2.hdf5 coco.2-of-2.hdf5",
)
@click.argument("target", type=click.Path())
@click.argument("shards", nargs=-1, required=True, type=click.Path())
@click.option("--resume", is_flag=True, help="Go on with a merge that was cut off.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@options.json_flag
def command(target: str, shards: tuple[str, ...], resume: bool, overwrite: bool, as_json: bool) -> int:
    """Merge and say what came of it."""
    progress = Progress(tr("merging rows"))
    manifest = merge_files(
        Path(target), [Path(shard) for shard in shards], overwrite=overwrite, resume=resume, tell=progress
    )
    progress.end()
    missing = missing_shards([Path(shard) for shard in shards])
    if as_json:
        counts = {"images": manifest.images, "refused": manifest.refused, "missing_shards": missing}
        text.json_out({"schema": "fsgr-tui/merge/1", "output": target, **counts})
    else:
        size = format_bytes(Path(target).stat().st_size)
        text.echo(
            tr(
                "{target}: {n:,} images from {files} files, {size}",
                target=printable(target),
                n=manifest.images,
                files=len(shards),
                size=size,
            ),
            sys.stdout,
        )
    if missing:
        text.echo(
            "fsgr-tui: "
            + tr(
                "{target} is not whole: missing shards: {shards}.\n"
                "  Extract them, then merge all of them with --overwrite.",
                target=printable(target),
                shards=", ".join(missing),
            ),
            sys.stderr,
        )
    return EXIT_FOUND_FAULTS if missing else EXIT_OK
