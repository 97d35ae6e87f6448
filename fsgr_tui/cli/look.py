"""`fsgr-tui look`: one image of a feature file, patch by patch."""

from __future__ import annotations

import re

import click

from fsgr_tui.cli import options, text
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.shades import ASCII_SHADES, shaded
from fsgr_tui.core.units import printable
from fsgr_tui.features.sample import Distribution, MapKind, Sample
from fsgr_tui.service import looking

WORDS: dict[MapKind, str] = {
    "norm": mark("norm of each patch's features"),
    "similarity": mark("cosine of each patch to patch {patch}"),
    "difference": mark("relative L2 distance of each patch to {against}"),
    "text": mark("cosine of each patch to the text {text}"),
    "labels": mark("class index of each patch"),
    "brightness": mark("brightness of the cached picture, 14 x 14 blocks"),
}
BAR_CELLS = 40


@click.command(
    "look",
    help="Look at one image of a feature file: its patches as a map, and how its values are distributed.\n\n"
    "Examples:\n\n"
    "  fsgr-tui look coco.hdf5                         the first image\n\n"
    "  fsgr-tui look coco.hdf5 9 --patch 3,4           how alike the others are to one patch\n\n"
    "  fsgr-tui look coco.hdf5 9 --against other.hdf5  how far two files are apart, patch by patch\n\n"
    "  fsgr-tui look coco.hdf5 9 --text 'a red ball'   how alike each patch is to a text",
)
@click.argument("file", type=click.Path())
@click.argument("image_id", required=False, type=click.IntRange(0))
@click.option("--patch", metavar="ROW,COLUMN", help="Show the cosine to this patch; 0,0 is the top left one.")
@click.option("--against", type=click.Path(), default="", help="Show the difference to the same image of another file.")
@click.option(
    "--text",
    "wanted",
    help="Show the cosine to this text in CLIP's shared space. The file's own model reads it (needs the extract extra).",
)
@click.option("--weights", default="", help="That model's weights, where the manifest's source is not here.")
@options.json_flag
def command(
    file: str, image_id: int | None, patch: str | None, against: str, wanted: str | None, weights: str, as_json: bool
) -> int:
    """Print one image's map."""
    if weights and wanted is None:
        raise BadRequest(tr("--weights belongs to --text."), tr("Add --text, or leave it out."))
    sample = looking.look(file, image_id, patch=_patch(patch), against=against, text=wanted, weights=weights)
    if as_json:
        text.json_out(sample)
    else:
        _show(sample)
    return 0


def _patch(given: str | None) -> tuple[int, int] | None:
    if given is None:
        return None
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", given)
    if not match:
        raise click.BadParameter(
            tr("{given!r} is no patch; write it as ROW,COLUMN, e.g. 3,4.", given=given), param_hint="--patch"
        )
    return int(match[1]), int(match[2])


def _show(sample: Sample) -> None:
    shape = " x ".join(map(str, sample.shape))
    text.echo(
        text.styled(tr("image {image_id}", image_id=sample.image_id), "bold")
        + f"   {shape} {sample.dtype}   {printable(sample.path)}"
    )
    low, high = sample.span
    patch = ",".join(map(str, sample.patch or ()))
    text.heading(
        tr(WORDS[sample.kind], patch=patch, against=printable(sample.against), text=printable(f'"{sample.text}"'))
    )
    for line in shaded(sample.patches, low, high):
        text.echo("  " + line)
    text.echo(
        "  "
        + tr(
            "{low:.4g} '{least}' to {high:.4g} '{most}'",
            low=low,
            high=high,
            least=ASCII_SHADES[0],
            most=ASCII_SHADES[-1],
        )
    )
    for remark in (*sample.remarks, sample.remark):
        if remark:
            text.paragraph(remark)
    text.heading(tr("values"))
    text.table(values_rows(sample.values))
    top = max(sample.values.counts)
    width = (sample.values.high - sample.values.low) / len(sample.values.counts)
    for number, count in enumerate(sample.values.counts):
        filled = "#" * round(count / top * BAR_CELLS) if top else ""
        text.echo(f"  {sample.values.low + number * width:>10.3g}  {filled}".rstrip())


def values_rows(values: Distribution) -> list[tuple[str, str]]:
    """What is worth knowing of a row's values, as (what, found)."""
    rows = [
        (tr("range"), tr("{low:.4g} to {high:.4g}", low=values.low, high=values.high)),
        (tr("mean, deviation"), f"{values.mean:.4g}, {values.std:.4g}"),
        (tr("zeros"), f"{values.zeros:.2%}"),
    ]
    return [*rows, (tr("NaN or infinite"), f"{values.not_finite:,}")] if values.not_finite else rows
