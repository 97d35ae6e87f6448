"""`fsgr-tui extract`: CLIP grid features of image folders into one HDF5 file."""

from __future__ import annotations

import sys
from typing import Any

import click

from fsgr_tui.cli import ended, follow, options, text
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.language import joined, mark, tr
from fsgr_tui.core.tower import STAGES
from fsgr_tui.core.units import format_bytes, printable
from fsgr_tui.service import extraction
from fsgr_tui.service.model_choice import require_device
from fsgr_tui.service.selection import ID_KINDS, IdList


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
    "--stage",
    type=click.Choice(STAGES),
    default="post-ln_post",
    show_default=True,
    help="Where tokens are taken: post-ln_post; pre-ln_post (what FSGR's own encoder takes); projected; labels (a class per "
    "patch); pixels (the resized picture: exact for everything that trains inside CLIP).",
)
@click.option("--labels", is_flag=True, help="Short for --stage labels --grid native.")
@click.option(
    "--classes",
    type=click.Path(),
    default="",
    help="For labels: text embeddings (see text-embed), or class names, one a line.",
)
@click.option("--global-token", is_flag=True, help="Store the class token too, as {id}_global.")
@click.option("--compile", "compiled", is_flag=True, help="torch.compile the tower; pays for large sets on a GPU only.")
@click.option(
    "--ids", "ids_file", type=click.Path(), default="", help="Only these images: .npy, or text with one id a line."
)
@click.option(
    "--annotations",
    type=click.Path(),
    default="",
    help="Captions JSON or folder: resolves annotation ids in --ids, and gives ids to file names that carry none.",
)
@click.option("--ids-are", type=click.Choice(ID_KINDS), default="auto", show_default=True, help="What the ids are.")
@click.option(
    "--shard", default="", metavar="I/N", help="Only part I of N (from 1), into its own file; `merge` joins them."
)
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
@options.backend
@click.option(
    "--shards",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="With Slurm: tasks of a job array, then a merge and a check.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be done, and stop.")
@click.option("--detach", is_flag=True, help="Return at once with the job's name.")
@options.json_flag
def command(
    dry_run: bool, detach: bool, as_json: bool, runs_on: str | None, profile: str, shards: int, **asked: Any
) -> int:
    """Prepare, start and follow an extraction."""
    own_workers = asked["workers"] is not None
    request = request_of(asked)
    if options.on_slurm(runs_on, profile):
        return _on_slurm(
            request, profile, shards, own_workers=own_workers, dry_run=dry_run, detach=detach, as_json=as_json
        )
    if shards > 1:
        raise BadRequest(
            tr("--shards belongs to --backend slurm."), tr("Here say --shard 1/8 and so on, then `fsgr-tui merge`.")
        )
    prepared = extraction.prepare(request)
    for notice in prepared.notices:
        text.echo(f"  {printable(notice)}", sys.stderr)
    text.echo(
        tr(
            "{number:,} images, {shape} each, {size} at the most, into {output}",
            number=len(prepared.images),
            shape=prepared.shape.words,
            size=format_bytes(prepared.need_bytes),
            output=printable(str(prepared.output)),
        ),
        sys.stderr,
    )
    if dry_run:
        require_device(request.model.device)
        text.echo(tr("Nothing speaks against it (dry run; nothing was started)."), sys.stderr)
        return 0
    run = extraction.start(prepared)
    if detach:
        text.echo(run.name)
        return 0
    status = follow.follow(run)
    return ended.report(status, as_json=as_json, done=_done)


def _on_slurm(
    request: extraction.ExtractRequest,
    profile: str,
    shards: int,
    *,
    own_workers: bool,
    dry_run: bool,
    detach: bool,
    as_json: bool,
) -> int:
    from fsgr_tui.service import cluster, cluster_extract

    folders = {mark("the images"): request.image_root, mark("the feature file"): request.output}
    prepared = cluster_extract.prepare_extraction(
        request, cluster.place(profile, folders), shards, own_workers=own_workers
    )
    for notice in prepared.notices:
        text.echo(f"  {printable(notice)}", sys.stderr)
    text.echo(
        tr(
            "{number:,} images: {words}",
            number=len(prepared.whole.images),
            words=printable(cluster_extract.words_of(prepared)),
        ),
        sys.stderr,
    )
    if dry_run:
        text.echo(cluster.scripts_text(cluster_extract.extraction_scripts(prepared)))
        text.echo(tr("Nothing speaks against it (dry run; nothing was submitted)."), sys.stderr)
        return 0
    run = cluster_extract.start_extraction(prepared)
    if detach:
        text.echo(run.name)
        return 0
    text.echo(tr("{name} (watch it from anywhere: fsgr-tui attach {name})", name=run.name), sys.stderr)
    return ended.report(follow.follow(run), as_json=as_json, done=_done)


def request_of(asked: dict[str, Any]) -> extraction.ExtractRequest:
    """What the options of an extraction ask for; those of where it runs and what is shown are taken out before."""
    if asked.pop("labels"):
        asked |= {"stage": "labels", "grid": "native"}
    ids = IdList(asked.pop("ids_file"), asked["annotations"], asked.pop("ids_are"))
    workers = asked.pop("workers")
    return extraction.ExtractRequest(
        model=ModelChoice(**{name: asked.pop(name) for name in ModelChoice.__struct_fields__}),
        output=asked.pop("output_path"),
        workers=extraction.default_workers() if workers is None else workers,
        ids=ids if ids.path else None,
        shown=("fsgr-tui", *sys.argv[1:]),
        **asked,
    )


def _done(result: dict[str, Any]) -> None:
    told = [
        tr("{number:,} images", number=result["images"]),
        format_bytes(result["file_bytes"]),
    ]
    if result.get("images_per_s"):
        told.append(tr("{rate:,.0f} images/s", rate=result["images_per_s"]))
    if result["refused"]:
        told.append(tr("{number:,} refused", number=result["refused"]))
    text.echo(tr("{path}: {told}", path=printable(result["output"]), told=joined(*told)))
