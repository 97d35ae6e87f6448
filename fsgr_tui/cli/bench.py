"""`fsgr-tui bench`: this machine's own rates, which later plans use instead of published ones."""

from __future__ import annotations

import sys
from typing import Any

import click

from fsgr_tui.cli import ended, follow, options, text
from fsgr_tui.core.bench import rate_words
from fsgr_tui.core.bottleneck import scaling, write_images_per_s
from fsgr_tui.core.calibration import NOT_MEASURED, Calibration, MemoryLine
from fsgr_tui.core.extraction import ACTIVATIONS, BACKENDS, PRECISIONS, ModelChoice
from fsgr_tui.core.language import joined, tr, trn
from fsgr_tui.core.tower import DTYPES, GRIDS
from fsgr_tui.core.units import Estimate, Unknown, format_bytes, format_estimate, format_gib, printable, unit_words
from fsgr_tui.service import bench, calibration

LIST_SCHEMA = "fsgr-tui/bench-list/1"
FORGET_SCHEMA = "fsgr-tui/bench-forget/1"


@click.command(
    "bench",
    help="Measure this machine: decoding, the tower, the whole extraction, writing and reading features, training steps of both "
    "ways. The rates are kept, and every later plan for the same machine and model uses them.\n\n"
    "\b\n"
    "fsgr-tui bench --image-root datasets/coco/images --features-dir features\n"
    "fsgr-tui bench --clip-model ViT-L/14 --seconds 60   without images too\n"
    "fsgr-tui bench --list",
)
@options.image_root
@options.split
@click.option(
    "--features-dir",
    type=click.Path(),
    default="features",
    show_default=True,
    help="Where features would go; a temporary file of at most 260 MB is written there.",
)
@click.option(
    "--clip-model", "--pre-name", default="ViT-B/16", show_default=True, help="CLIP model, in either spelling."
)
@click.option(
    "--weights",
    "--pre-vs-path",
    default="random:0",
    show_default=True,
    help="open_clip tag, weights file, or random:SEED; rates do not depend on them.",
)
@click.option("--grid", type=click.Choice(GRIDS), default="7x7", show_default=True, help="Grid of the stored features.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float16", show_default=True, help="Storage type.")
@click.option(
    "--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True, help="Arithmetic of the tower."
)
@click.option(
    "--activation",
    type=click.Choice(ACTIVATIONS),
    default="auto",
    show_default=True,
    help="For a weights file that does not tell.",
)
@click.option(
    "--decoder",
    "backend",
    type=click.Choice(BACKENDS),
    default="pillow",
    show_default=True,
    help="What decodes the pictures.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--annotation-folder", type=click.Path(), default="", help="M2-style annotations; without, captions are synthetic."
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Images or caption pairs at once; smaller ones are taken where these do not fit into the time.",
)
@click.option(
    "--workers", type=click.IntRange(0), default=None, help="Decoding workers; by default what this process may use."
)
@click.option(
    "--seconds", type=float, default=30.0, show_default=True, help="Time to measure in; loading the model comes on top."
)
@click.option("--list", "show_list", is_flag=True, help="Show what is kept, and stop.")
@click.option("--forget", is_flag=True, help="Delete what is kept, of all machines and models, and stop.")
@options.json_flag
def command(show_list: bool, forget: bool, as_json: bool, **asked: Any) -> int:
    """Measure, or show or forget what was measured."""
    if forget:
        return _forget(as_json=as_json)
    if show_list:
        return _list(as_json=as_json)
    prepared = bench.prepare(_request(asked))
    request = prepared.request
    pictures = (
        tr("{sample:,} of {all:,} images", sample=len(prepared.images), all=prepared.dataset_images)
        if prepared.images
        else tr("generated pictures")
    )
    about = tr(
        "{model} on {pictures} for {seconds:g} s, {workers} workers; a temporary file of {size} in {folder}",
        model=request.model.clip_model,
        pictures=pictures,
        seconds=request.seconds,
        workers=prepared.workers,
        size=format_bytes(prepared.need_bytes),
        folder=printable(str(prepared.parent)),
    )
    text.echo(about, sys.stderr)
    try:
        status = follow.follow(bench.start(prepared))
    finally:
        bench.sweep(prepared)
    report = bench.report(status, prepared)
    if as_json:
        text.json_out(report)
        return follow.exit_code(status)
    if report.calibration is not None:
        _show(report, report.calibration)
        return follow.exit_code(status)
    if status.state == "stopped":
        text.echo(tr("The measurement was stopped; nothing was kept."), sys.stderr)
        return follow.exit_code(status)
    return ended.report(status, as_json=False, done=ended.result)


def _request(asked: dict[str, Any]) -> bench.BenchRequest:
    of_model = ("clip_model", "weights", "grid", "dtype", "precision", "activation", "backend", "device")
    model = ModelChoice(**{name: asked.pop(name) for name in of_model})
    return bench.BenchRequest(model=model, shown=("fsgr-tui", *sys.argv[1:]), **asked)


def _show(report: bench.BenchReport, measured: Calibration) -> None:
    text.echo(text.styled(printable(_measured_on(measured)), "bold"))
    text.table(_rows(measured), ("", tr("rate"), tr("span"), ""))
    text.heading(tr("Bottleneck"))
    text.paragraph(measured.bottleneck)
    text.heading(tr("What follows"))
    text.table(_consequences(report))
    if measured.notes:
        text.heading(tr("Mind"))
        text.table([("!", note) for note in measured.notes])
    if report.kept:
        text.echo()
        text.paragraph(tr("Kept in {path}; `fsgr-tui plan` uses it from now on.", path=printable(report.kept)))


def _measured_on(measured: Calibration) -> str:
    values = {"model": measured.clip_model, "device": _device(measured), "machine": measured.machine}
    return tr("{model} on {device}, {machine}", **values)


def _rows(measured: Calibration) -> list[tuple[str, ...]]:
    """(what, rate, span, remark) of each rate."""
    times, images = scaling(measured), write_images_per_s(measured)
    batch = tr("batches of {size}", size=measured.batch_size)
    state = tr("page cache dropped") if measured.images_cold else tr("warm page cache")
    return [
        _row(tr("decode, 1 worker"), measured.decode_one, tr("{size} a picture, {cache}", size=format_bytes(measured.image_bytes), cache=state)),
        _row(tr("decode, {workers} workers", workers=measured.workers), measured.decode, "" if times is None else tr("{times:.1f} times one worker", times=times)),
        _row(tr("encode"), measured.encode, joined(measured.precision, batch)),
        _row(tr("extraction, overlapped"), measured.extract, joined(f"{measured.grid} {measured.dtype}", batch)),
        _row(
            tr("write, synced"),
            measured.write_bytes_per_s,
            "" if isinstance(images, Unknown) else tr("{rate:,.0f} images/s of {size} each", rate=images.likely, size=format_bytes(measured.row_bytes)),
        ),
        _row(tr("random read"), measured.read, tr("page cache dropped") if measured.read_cold else tr("warm page cache: a cold one is slower")),
        _row(tr("train, realtime"), measured.realtime, tr("batches of {size}, frozen tower", size=measured.realtime_batch)),
        _row(tr("train, precomputed"), measured.precomputed, tr("batches of {size}", size=measured.precomputed_batch)),
    ]  # fmt: skip


def _row(what: str, rate: Estimate | Unknown, remark: str) -> tuple[str, ...]:
    if isinstance(rate, Unknown):
        return (what, tr("unknown"), "", printable(rate.why))
    unit = rate.unit
    return (
        what,
        rate_words(rate.likely, unit),
        f"{_number(rate.low, unit)} - {_number(rate.high, unit)}",
        remark,
    )


def _number(value: float, unit: str) -> str:
    """A rate without its unit, which stands beside it; bytes keep theirs, as their size decides it."""
    words = rate_words(value, unit)
    return words.removesuffix("/s") if unit == "bytes/s" else words.removesuffix(f" {unit_words(unit)}")


def _consequences(report: bench.BenchReport) -> list[tuple[str, str]]:
    gain, extraction = report.speed_up, report.extraction
    faster = (
        tr(
            "{likely:.1f}x ({low:.1f} - {high:.1f}) by caption pairs a second; the guide says 3-5x",
            likely=gain.likely,
            low=gain.low,
            high=gain.high,
        )
        if isinstance(gain, Estimate)
        else str(gain)
    )
    rows = [
        (
            tr("extraction of {images:,} images", images=report.dataset_images),
            format_estimate(extraction or Unknown(NOT_MEASURED)),
        ),
        (tr("precomputed against realtime"), faster),
    ]
    if report.calibration is not None and report.calibration.device != "cpu":
        lines = {"realtime": report.calibration.realtime_memory, "precomputed": report.calibration.precomputed_memory}
        rows += [(tr("GPU memory, {mode}", mode=tr(mode)), _memory(line)) for mode, line in lines.items()]
    return rows


def _memory(line: MemoryLine | Unknown) -> str:
    if isinstance(line, Unknown):
        return str(line)
    return tr(
        "{fixed} and {each} for each image of the batch",
        fixed=format_gib(line.fixed_bytes),
        each=format_bytes(line.per_image_bytes),
    )


def _list(*, as_json: bool) -> int:
    kept = calibration.kept()
    if as_json:
        text.json_out({"schema": LIST_SCHEMA, "calibrations": kept.calibrations, "remarks": kept.remarks})
        return 0
    if kept.calibrations:
        rows = [
            (each.clip_model, printable(_device(each)), _short(each.extract), _short(each.realtime), _short(each.precomputed),
             each.measured_at[:16].replace("T", " "), printable(each.machine))
            for each in kept.calibrations
        ]  # fmt: skip
        text.table(
            rows,
            (
                tr("model"),
                tr("device"),
                tr("extraction"),
                tr("realtime"),
                tr("precomputed"),
                tr("measured (UTC)"),
                tr("machine"),
            ),
        )
    else:
        text.echo(
            tr(
                "Nothing is kept in {folder}; `fsgr-tui bench` measures.",
                folder=printable(str(calibration.calibrations_dir())),
            )
        )
    for remark in kept.remarks:
        text.echo("  " + tr("warning: {what}", what=printable(remark)), sys.stderr)
    return 0


def _forget(*, as_json: bool) -> int:
    count = calibration.forget()
    if as_json:
        text.json_out({"schema": FORGET_SCHEMA, "forgotten": count})
    else:
        text.echo(
            trn(
                "{count} calibration forgotten; plans use published rates again.",
                "{count} calibrations forgotten; plans use published rates again.",
                count,
            )
        )
    return 0


def _device(measured: Calibration) -> str:
    return tr("the CPU") if measured.device == "cpu" else measured.device


def _short(rate: Estimate | Unknown) -> str:
    return tr("unknown") if isinstance(rate, Unknown) else rate_words(rate.likely, rate.unit)
