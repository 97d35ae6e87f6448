"""`fsgr-tui demo`: plan, extract, check and train on a small generated data set, offline."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from fsgr_tui.cli import follow, options, plan_view, text
from fsgr_tui.core.errors import EXIT_FOUND_FAULTS, EXIT_INTERRUPTED, EXIT_OK
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.language import tr
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
        tr(
            "A data set in {root}: generated scenes, {train} + {val} JPEG files, five captions each",
            root=printable(demo.root),
            train=service.TRAIN_IMAGES,
            val=service.VAL_IMAGES,
        ),
    )
    facts = service.make_data(demo)
    images = service.TRAIN_IMAGES + service.VAL_IMAGES
    _say(
        tr(
            "{images} images, {image_bytes}, {captions:,} captions",
            images=images,
            image_bytes=format_bytes(facts["image_bytes"]),
            captions=facts["captions"],
        )
    )
    _step(2, tr("Plan"))
    made = planning.plan(demo.intent, demo.image_root, f"{demo.root}/features")
    _say(f"{tr(plan_view.TITLES[made.recommendation.mode])}: {made.recommendation.reason}")
    estimate = service.estimated_bytes(demo, images)
    _say(
        tr(
            "estimate: {estimate} of features, {likely} ({basis})",
            estimate=format_bytes(estimate),
            likely=format_duration(made.time.extraction.likely),
            basis=tr(made.time.extraction.basis),
        )
    )
    _step(
        3,
        tr("Extract with {model} (untrained: random weights, for the wiring)", model=clip_model)
        if weights.startswith("random:")
        else tr("Extract with {model}", model=clip_model),
    )
    extracted = _job(extraction.start(extraction.prepare(demo.extraction())))
    _say(
        tr(
            "{images} images, {images_per_s:,.0f} images/s, {file_bytes} on disk",
            images=extracted["images"],
            images_per_s=extracted["images_per_s"],
            file_bytes=format_bytes(extracted["file_bytes"]),
        )
    )
    _step(4, tr("Check every row, and extract eight images again"))
    report = checking.check(demo.check())
    report = checking.with_recompute(report, _followed(checking.start_recompute(demo.check())))
    _say(report.headline)
    trained: dict[str, dict[str, Any]] = {}
    wanted = [(str(mode), tr(mode), demo.training(mode)) for mode in MODES]
    wanted.append(
        (
            service.CONTROL,
            tr("control: every image has another one's features"),
            demo.training("precomputed", control=True),
        )
    )
    for number, (name, title, request) in enumerate(wanted, 5):
        _step(number, tr("Train a small captioner, {way}", way=title))
        done = trained[name] = _job(training.start(training.prepare(request)))
        _say(
            tr(
                "{steps} steps, loss {first:.2f} to {last:.2f}, CIDEr-D {score:.2f}",
                steps=done["steps"],
                first=done["first_loss"],
                last=done["last_loss"],
                score=done["best"]["value"] or 0,
            )
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
    text.heading(tr("Measured here, beside the guide's V100"))
    rate = result.extract["images_per_s"]
    data_bytes = result.extract["file_bytes"]
    text.paragraph(
        tr(
            "extraction: {rate:,.0f} images/s; {images} images take {data_bytes}, estimated {estimated_bytes} and the keys",
            rate=rate,
            images=images,
            data_bytes=format_bytes(data_bytes),
            estimated_bytes=format_bytes(result.estimated_bytes),
        )
    )
    text.echo()
    text.table(
        service.summary(result), ("", tr("realtime"), tr("precomputed"), tr("V100 realtime"), tr("V100 precomputed"))
    )
    text.echo()
    text.paragraph(service.verdict(result))
    for sample in result.train["precomputed"].get("samples", [])[:1]:
        text.echo()
        text.paragraph(
            tr(
                'image {image_id}: "{caption}" (a person would say: "{reference}")',
                image_id=sample["image_id"],
                caption=sample["caption"],
                reference=sample["reference"],
            )
        )
    text.echo()
    text.paragraph(
        tr(
            "The whole way took {seconds}. Everything is in {root}; `fsgr-tui` opens the screen.",
            seconds=format_duration(result.seconds),
            root=printable(result.root),
        )
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
