"""`fsgr-tui bench`: this machine's own rates, which later plans use instead of published ones."""

from __future__ import annotations

import sys
from typing import Any

import click

from fsgr_tui.cli import ended, follow, options, text
from fsgr_tui.core.bench import rate_words
from fsgr_tui.core.bottleneck import scaling, write_images_per_s
from fsgr_tui.core.calibration import Calibration, MemoryLine
from fsgr_tui.core.extraction import ACTIVATIONS, BACKENDS, PRECISIONS, ModelChoice
from fsgr_tui.core.tower import DTYPES, GRIDS
from fsgr_tui.core.units import Estimate, Unknown, format_bytes, format_estimate, format_gib, printable
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
        f"{len(prepared.images):,} of {prepared.dataset_images:,} images" if prepared.images else "generated pictures"
    )
    text.echo(
        f"{request.model.clip_model} on {pictures} for {request.seconds:g} s, {prepared.workers} workers; a temporary file of "
        f"{format_bytes(prepared.need_bytes)} in {printable(str(prepared.parent))}",
        sys.stderr,
    )
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
        text.echo("The measurement was stopped; nothing was kept.", sys.stderr)
        return follow.exit_code(status)
    return ended.report(status, as_json=False, done=ended.result)


def _request(asked: dict[str, Any]) -> bench.BenchRequest:
    of_model = ("clip_model", "weights", "grid", "dtype", "precision", "activation", "backend", "device")
    model = ModelChoice(**{name: asked.pop(name) for name in of_model})
    return bench.BenchRequest(model=model, shown=("fsgr-tui", *sys.argv[1:]), **asked)


def _show(report: bench.BenchReport, measured: Calibration) -> None:
    text.echo(text.styled(printable(f"{measured.clip_model} on {_device(measured)}, {measured.machine}"), "bold"))
    text.table(_rows(measured), ("", "rate", "span", ""))
    text.heading("Bottleneck")
    text.paragraph(measured.bottleneck)
    text.heading("What follows")
    text.table(_consequences(report))
    if measured.notes:
        text.heading("Mind")
        text.table([("!", note) for note in measured.notes])
    if report.kept:
        text.echo()
        text.paragraph(f"Kept in {printable(report.kept)}; `fsgr-tui plan` uses it from now on.")


def _rows(measured: Calibration) -> list[tuple[str, ...]]:
    """(what, rate, span, remark) of each rate."""
    times, images = scaling(measured), write_images_per_s(measured)
    batch = f"batches of {measured.batch_size}"
    state = "page cache dropped" if measured.images_cold else "warm page cache"
    return [
        _row("decode, 1 worker", measured.decode_one, f"{format_bytes(measured.image_bytes)} a picture, {state}"),
        _row(f"decode, {measured.workers} workers", measured.decode, "" if times is None else f"{times:.1f} times one worker"),
        _row("encode", measured.encode, f"{measured.precision}, {batch}"),
        _row("extraction, overlapped", measured.extract, f"{measured.grid} {measured.dtype}, {batch}"),
        _row(
            "write, synced",
            measured.write_bytes_per_s,
            "" if isinstance(images, Unknown) else f"{images.likely:,.0f} images/s of {format_bytes(measured.row_bytes)} each",
        ),
        _row("random read", measured.read, "page cache dropped" if measured.read_cold else "warm page cache: a cold one is slower"),
        _row("train, realtime", measured.realtime, f"batches of {measured.realtime_batch}, frozen tower"),
        _row("train, precomputed", measured.precomputed, f"batches of {measured.precomputed_batch}"),
    ]  # fmt: skip


def _row(what: str, rate: Estimate | Unknown, remark: str) -> tuple[str, ...]:
    if isinstance(rate, Unknown):
        return (what, "unknown", "", printable(rate.reason))
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
    return words.removesuffix("/s") if unit == "bytes/s" else words.removesuffix(f" {unit}")


def _consequences(report: bench.BenchReport) -> list[tuple[str, str]]:
    gain, extraction = report.speed_up, report.extraction
    faster = (
        f"{gain.likely:.1f}x ({gain.low:.1f} - {gain.high:.1f}) by caption pairs a second; the guide says 3-5x"
        if isinstance(gain, Estimate)
        else str(gain)
    )
    rows = [
        (f"extraction of {report.dataset_images:,} images", format_estimate(extraction or Unknown("not measured"))),
        ("precomputed against realtime", faster),
    ]
    if report.calibration is not None and report.calibration.device != "cpu":
        lines = {"realtime": report.calibration.realtime_memory, "precomputed": report.calibration.precomputed_memory}
        rows += [(f"GPU memory, {mode}", _memory(line)) for mode, line in lines.items()]
    return rows


def _memory(line: MemoryLine | Unknown) -> str:
    if isinstance(line, Unknown):
        return str(line)
    return f"{format_gib(line.fixed_bytes)} and {format_bytes(line.per_image_bytes)} for each image of the batch"


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
        text.table(rows, ("model", "device", "extraction", "realtime", "precomputed", "measured (UTC)", "machine"))
    else:
        text.echo(f"Nothing is kept in {printable(str(calibration.calibrations_dir()))}; `fsgr-tui bench` measures.")
    for remark in kept.remarks:
        text.echo(f"  warning: {printable(remark)}", sys.stderr)
    return 0


def _forget(*, as_json: bool) -> int:
    count = calibration.forget()
    if as_json:
        text.json_out({"schema": FORGET_SCHEMA, "forgotten": count})
    else:
        text.echo(f"{count} calibration{'' if count == 1 else 's'} forgotten; plans use published rates again.")
    return 0


def _device(measured: Calibration) -> str:
    return "the CPU" if measured.device == "cpu" else measured.device


def _short(rate: Estimate | Unknown) -> str:
    return "unknown" if isinstance(rate, Unknown) else rate_words(rate.likely, rate.unit)
