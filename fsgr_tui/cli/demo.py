"""`fsgr-tui demo`: plan, extract, check and train on a small generated data set, offline."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from fsgr_tui.cli import follow, options, plan_view, text
from fsgr_tui.core.errors import EXIT_FOUND_FAULTS, EXIT_INTERRUPTED, EXIT_OK
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.training import MODES
from fsgr_tui.core.units import format_bytes, format_duration, printable
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.service import checking, extraction, planning, training
from fsgr_tui.service import demo as service


@click.command(
    "demo",
    help="The whole way on a small data set that it makes itself: plan, extract, check, train in both modes, and what was measured.\n\n"
    "Offline, on a CPU with two cores in under two minutes. Without --weights the tower has random weights: it shows the wiring, "
    "not good captions.",
)
@click.option("--dir", "root", type=click.Path(), default="demo", show_default=True, help="Where everything goes.")
@click.option("--clip-model", default=service.DEMO_MODEL, show_default=True, help="CLIP model.")
@click.option("--weights", default=service.DEMO_WEIGHTS, show_default=True, help="open_clip tag, file, or random:SEED.")
@options.json_flag
def command(root: str, clip_model: str, weights: str, as_json: bool) -> int:
    """Walk the whole way."""
    began = time.monotonic()
    demo = service.Demo(root.rstrip("/") or "/", clip_model, weights)
    _step(
        1,
        f"A data set in {printable(demo.root)}: generated scenes, {service.TRAIN_IMAGES} + {service.VAL_IMAGES} JPEG files, five captions each",
    )
    facts = service.make_data(demo)
    images = service.TRAIN_IMAGES + service.VAL_IMAGES
    _say(f"{images} images, {format_bytes(facts['image_bytes'])}, {facts['captions']:,} captions")
    _step(2, "Plan")
    made = planning.plan(demo.intent, demo.image_root, f"{demo.root}/features")
    _say(f"{plan_view.TITLES[made.recommendation.mode]}: {made.recommendation.reason}")
    estimate = service.estimated_bytes(demo, images)
    _say(
        f"estimate: {format_bytes(estimate)} of features, {format_duration(made.time.extraction.likely)} ({made.time.extraction.basis})"
    )
    untrained = " (untrained: random weights, for the wiring)" if weights.startswith("random:") else ""
    _step(3, f"Extract with {clip_model}{untrained}")
    extracted = _job(extraction.start(extraction.prepare(demo.extraction())))
    _say(
        f"{extracted['images']} images, {extracted['images_per_s']:,.0f} images/s, {format_bytes(extracted['file_bytes'])} on disk"
    )
    _step(4, "Check every row, and extract eight images again")
    report = checking.check(demo.check())
    report = checking.with_recompute(report, _followed(checking.start_recompute(demo.check())))
    _say(report.headline)
    trained: dict[str, dict[str, Any]] = {}
    wanted = [(str(mode), str(mode), demo.training(mode)) for mode in MODES]
    wanted.append(
        (service.CONTROL, "control: every image has another one's features", demo.training("precomputed", control=True))
    )
    for number, (name, title, request) in enumerate(wanted, 5):
        _step(number, f"Train a small captioner, {title}")
        done = trained[name] = _job(training.start(training.prepare(request)))
        _say(
            f"{done['steps']} steps, loss {done['first_loss']:.2f} to {done['last_loss']:.2f}, "
            f"CIDEr-D {done['best']['value'] or 0:.2f}"
        )
    result = service.DemoResult(
        demo.root, clip_model, weights, estimate, extracted, report, trained, round(time.monotonic() - began, 1)
    )
    if as_json:
        text.json_out(result)
    else:
        _show(result, images)
    return EXIT_OK if result.good else EXIT_FOUND_FAULTS


def _show(result: service.DemoResult, images: int) -> None:
    text.heading("Measured here, beside the guide's V100")
    rate = result.extract["images_per_s"]
    data_bytes = result.extract["file_bytes"]
    text.paragraph(
        f"extraction: {rate:,.0f} images/s; {images} images take {format_bytes(data_bytes)}, estimated {format_bytes(result.estimated_bytes)} and the keys"
    )
    text.echo()
    text.table(service.summary(result), ("", "realtime", "precomputed", "V100 realtime", "V100 precomputed"))
    text.echo()
    text.paragraph(service.verdict(result))
    for sample in result.train["precomputed"].get("samples", [])[:1]:
        text.echo()
        text.paragraph(
            f'image {sample["image_id"]}: "{sample["caption"]}" (a person would say: "{sample["reference"]}")'
        )
    text.echo()
    text.paragraph(
        f"The whole way took {format_duration(result.seconds)}. Everything is in {printable(result.root)}; `fsgr-tui` opens the screen."
    )


def _job(run: RunFolder) -> dict[str, Any]:
    return service.require(_followed(run))


def _followed(run: RunFolder) -> JobStatus:
    status = follow.follow(run)
    if status.state == "stopped" or not status.ended_for_good:
        raise SystemExit(status.exit_code or EXIT_INTERRUPTED)
    return status


def _step(number: int, title: str) -> None:
    text.echo(text.styled(f"{number}. {title}", "bold", sys.stderr), sys.stderr)


def _say(line: str) -> None:
    text.echo(f"   {printable(line)}", sys.stderr)
