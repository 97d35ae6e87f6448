"""`fsgr-tui convert`: the same features in another format."""

from __future__ import annotations

import sys
from typing import Any

import click

from fsgr_tui.cli import ended, follow, options, text
from fsgr_tui.core.extraction import FORMATS
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.core.tower import DTYPES
from fsgr_tui.core.units import format_bytes, printable
from fsgr_tui.features.convert import ConvertReport, Side
from fsgr_tui.service import conversion


@click.command(
    "convert",
    help="Keep features in another format. Every row is read back from the target and compared before the target gets its name; "
    "an interrupted conversion leaves nothing under that name.\n\n"
    "\b\n"
    "hdf5    one contiguous dataset per image: what `extract` writes (.hdf5)\n"
    "legacy  one gzip-4 dataset per image: what most scripts write (--to legacy)\n"
    "packed  HDF5 with `features` (N, tokens, width) and `ids` (N,) (.packed.hdf5)\n"
    "lmdb    a folder; key: the id in decimal, value: the row's bytes; shape, dtype\n"
    "        and manifest as JSON under the key __meta__ (.lmdb)\n"
    "npz     a folder of ID.npz with the array `feat`, and manifest.json (.npz)\n"
    "pt      a folder of ID.pt with a tensor each, and manifest.json (.pt)\n\n"
    "Class tokens go along: ID_global in hdf5, legacy, lmdb; `global` in packed and npz; ID_global.pt.",
)
@click.argument("source", type=click.Path())
@click.argument("target", type=click.Path())
@click.option("--to", type=click.Choice(FORMATS), default=None, help="Format; by default the target's name tells.")
@click.option("--dtype", type=click.Choice(DTYPES), default=None, help="Storage type; by default the source's.")
@click.option("--overwrite", is_flag=True, help="Replace the target, once the new one is whole.")
@click.option("--rates/--no-rates", default=True, show_default=True, help="Measure how fast both are read.")
@options.json_flag
def command(as_json: bool, **asked: Any) -> int:
    """Prepare, start and follow a conversion."""
    request = conversion.ConvertRequest(shown=("fsgr-tui", *sys.argv[1:]), **asked)
    prepared = conversion.prepare(request)
    survey = prepared.survey
    text.echo(
        tr(
            "{rows:,} rows from {source} to {target}, {size} at the most",
            rows=survey.rows,
            source=survey.format,
            target=prepared.target_format,
            size=format_bytes(prepared.need.bytes),
        ),
        sys.stderr,
    )
    status = follow.follow(conversion.start(prepared))
    document = conversion.document(status)
    if as_json:
        text.json_out(document)
        return follow.exit_code(status)
    if document.report is not None:
        show(document.report)
        return follow.exit_code(status)
    return _without_report(status)


def show(report: ConvertReport) -> None:
    """Print what was converted, and a line for each side."""
    shape = " x ".join(map(str, report.row_shape))
    rows = tr("{n:,} rows of {shape} {dtype}", n=report.rows, shape=shape, dtype=report.target.dtype)
    if report.global_width:
        rows = tr("{rows} with class tokens of {width}", rows=rows, width=report.global_width)
    path = printable(report.target.path)
    text.echo(tr("{path}: {rows}; every row was read back and compared", path=path, rows=rows))
    text.echo()
    sides = [_row(tr("source"), report.source), _row(tr("target"), report.target)]
    text.table(sides, ("", tr("format"), tr("on disk"), tr("of raw"), tr("random rows/s"), tr("path")))
    if report.target.rows_per_s is not None:
        text.paragraph(tr("random rows/s: single rows, one process, warm page cache"))


def _row(name: str, side: Side) -> tuple[str, ...]:
    rate = "-" if side.rows_per_s is None else f"{side.rows_per_s:,.0f}"
    return (name, side.format, format_bytes(side.disk_bytes), f"{side.ratio:.2f}", rate, printable(side.path))


def _without_report(status: JobStatus) -> int:
    if status.state in ("stopped", "interrupted"):
        text.echo(
            tr("The conversion did not end; nothing has the target's name. The same command starts anew."), sys.stderr
        )
        return follow.exit_code(status)
    return ended.report(status, as_json=False, done=ended.result)
