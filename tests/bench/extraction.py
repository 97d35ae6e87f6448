"""Extraction with the real ViT-B/16 (random weights): what the pipeline costs, and what the usual script takes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import msgspec
import numpy as np
import torch

from fsgr_tui.core.event import EVENTS_VARIABLE, EventReader, Phase, Result, Silent
from fsgr_tui.core.extraction import ExtractSpec, ModelChoice
from fsgr_tui.demo.dataset import write_dataset
from fsgr_tui.extract.encoder import Encoder, make_encoder, manifest_of
from fsgr_tui.extract.pipeline import Extraction
from fsgr_tui.extract.pixels import load_picture
from fsgr_tui.features.build import FeatureBuild
from fsgr_tui.features.images import Image, write_image_list
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.service.extraction import default_workers
from tests.bench.table import Row, Table

if TYPE_CHECKING:
    from tests.bench.__main__ import Bench

CHOICE = ModelChoice(clip_model="ViT-B-16", weights="random:0", device="cpu")
BATCH = 64
KEPT = 0.95
FASTER = 3


@dataclass(frozen=True)
class Scale:
    """How many images, and how often each side runs."""

    pipeline_images: int
    pipeline_rounds: int
    script_images: int
    script_rounds: int


FULL = Scale(pipeline_images=128, pipeline_rounds=3, script_images=128, script_rounds=2)
QUICK = Scale(pipeline_images=128, pipeline_rounds=1, script_images=64, script_rounds=1)


def run(bench: Bench) -> list[Table]:
    scale = QUICK if bench.quick else FULL
    images = _pictures(bench.folder / "data", max(scale.pipeline_images, scale.script_images))
    return [_kept(bench, images[: scale.pipeline_images], scale), _against_script(bench, images, scale)]


def _pictures(root: Path, count: int) -> list[Image]:
    write_dataset(root, train=count, val=4, seed=0)
    paths = sorted((root / "images/train2014").iterdir())
    return [Image(int(path.stem.rpartition("_")[2]), str(path)) for path in paths]


def _kept(bench: Bench, images: Sequence[Image], scale: Scale) -> Table:
    encoder = make_encoder(CHOICE)
    began = time.process_time()
    pixels = [load_picture(image.path, 224, "squash").pixels for image in images]
    decode_s = (time.process_time() - began) / len(images)
    batches = torch.from_numpy(np.stack(pixels)).split(BATCH)
    _bare(encoder, batches[:1])
    bare, pipeline, published, work = [], [], [], {"bare": [], "pipeline": []}
    for number in range(scale.pipeline_rounds):
        bench.say(f"extraction: bare tower and pipeline, round {number + 1} of {scale.pipeline_rounds}")
        began = time.process_time()
        bare.append(len(images) / _bare(encoder, batches))
        between = time.process_time()
        seconds, publish_s = _pipeline(encoder, images, bench.folder / f"{number}.hdf5")
        pipeline.append(len(images) / seconds)
        published.append(publish_s)
        work["bare"].append((between - began) / len(images) * 1e3)
        work["pipeline"].append((time.process_time() - between) / len(images) * 1e3)
    rate, limit = statistics.median(pipeline), statistics.median(bare)
    ours_ms, bare_ms = statistics.median(work["pipeline"]), statistics.median(work["bare"])
    # On a CPU decoding takes its time from the tower; this is what would be left if nothing else cost anything.
    cores = len(os.sched_getaffinity(0))
    possible = 1 / (1 + limit * decode_s / cores)
    rows = [
        Row(
            "whole pipeline (decode, encode, write, confirm)",
            f"{rate:.2f} images/s",
            f"{limit:.2f} images/s",
            rate / limit,
            f">= {KEPT}x",
            rate / limit >= KEPT,
        ),
        Row(
            "processor time per image, publishing included",
            f"{ours_ms:.0f} ms",
            f"{bare_ms:.0f} ms",
            bare_ms / ours_ms,
        ),
    ]
    notes = (
        f"{len(images)} generated JPEG files, batch {BATCH}, {encoder.precision}, {torch.get_num_threads()} torch threads, "
        f"{default_workers()} decoding threads; median of {scale.pipeline_rounds} rounds that take turns; the model is loaded before",
        f"bare: {_spread(bare)}; pipeline: {_spread(pipeline)} images/s",
        f"decode and resize take {decode_s * 1e3:.1f} ms of one core per image, which a CPU takes from the tower: "
        f"with {cores} cores that alone leaves {possible:.1%} (a GPU loses nothing to it)",
        "processor time is what other programs on the machine disturb least; it counts all threads",
        f"verifying and publishing took another {statistics.median(published):.2f} s, once per file",
    )
    return Table("extraction", "ViT-B/16, what the pipeline keeps of the bare tower", "bare tower", rows, (), notes)


@torch.inference_mode()
def _bare(encoder: Encoder, batches: Sequence[torch.Tensor]) -> float:
    """Seconds for open_clip's own forward pass on pictures that lie in memory."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (encoder.loaded.mean, encoder.loaded.std))
    kind = next(encoder.visual.parameters()).dtype
    began = time.perf_counter()
    for batch in batches:
        encoder.visual(((batch.permute(0, 3, 1, 2).float() - mean) / std).to(kind))
    return time.perf_counter() - began


def _pipeline(encoder: Encoder, images: Sequence[Image], output: Path) -> tuple[float, float]:
    """Seconds of the run, and of publishing behind it."""
    build = FeatureBuild.start(output, manifest_of(encoder, CHOICE), [image.id for image in images])
    extraction = Extraction(
        build,
        images,
        encoder,
        resize="squash",
        batch_size=BATCH,
        workers=default_workers(),
        events=Silent(),
        stopping=lambda: False,
    )
    began = time.perf_counter()
    extraction.run()
    ended = time.perf_counter()
    build.publish()
    published = time.perf_counter()
    build.close()
    return ended - began, published - ended


def _against_script(bench: Bench, images: Sequence[Image], scale: Scale) -> Table:
    images = images[: scale.script_images]
    listed = bench.folder / "images.list"
    write_image_list(listed, images)
    ours, script, work = [], [], []
    for number in range(scale.script_rounds):
        bench.say(f"extraction: default settings and the script, round {number + 1} of {scale.script_rounds}")
        ours.append(len(images) / _ours(bench.folder, listed, f"ours-{number}"))
        seconds, work_s = _script(bench.folder, listed, f"script-{number}")
        script.append(len(images) / seconds)
        work.append(work_s / len(images) * 1e3)
    same = len(images) / _ours(bench.folder, listed, "fp32", precision="fp32")
    difference = _difference(bench.folder / "ours-0.hdf5", bench.folder / "script-0.hdf5")
    of_same = _difference(bench.folder / "fp32.hdf5", bench.folder / "script-0.hdf5")
    rate, theirs = statistics.median(ours), statistics.median(script)
    shown = f"{theirs:.2f} images/s"
    fp32, bf16 = (_matrix_flops(kind) for kind in (torch.float32, torch.bfloat16))
    rows = [
        Row(
            "`python -m fsgr_tui.extract`, default settings",
            f"{rate:.2f} images/s",
            shown,
            rate / theirs,
            f">= {FASTER}x",
            rate / theirs >= FASTER,
        ),
        Row("the same with --precision fp32", f"{same:.2f} images/s", shown, same / theirs),
        Row(
            "the CPU itself: the tower's matrix products in bf16, against fp32",
            f"{bf16 / 1e9:,.0f} GFLOPS",
            f"{fp32 / 1e9:,.0f} GFLOPS",
            bf16 / fp32,
        ),
    ]
    notes = (
        f"{len(images)} generated JPEG files, from the first image to the published (or closed) file, verification included; "
        f"loading the model is left out on both sides; median of {scale.script_rounds} rounds that take turns",
        "the last row is the most that bf16 can bring here: 4x where a CPU has AMX tiles, about 2x with AVX-512 alone",
        f"ours: {_spread(ours)}; script: {_spread(script)} images/s; the script takes {statistics.median(work):.0f} ms of processor time per image",
        f"relative L2 of our features to the script's: {difference:.1e} by default ({FeatureFile(bench.folder / 'ours-0.hdf5').manifest.precision} "
        f"arithmetic, float16 storage), {of_same:.1e} with fp32 arithmetic",
    )
    return Table("extraction", "ViT-B/16 against the usual script", "script", rows, (), notes)


@torch.inference_mode()
def _matrix_flops(kind: torch.dtype) -> float:
    """Floating-point operations per second of the tower's commonest product: tokens of 16 images, 768 to 3072."""
    tokens, width, hidden, repeats = 16 * 197, 768, 3072, 8
    layer = torch.nn.Linear(width, hidden).to(kind)
    entering = torch.randn(tokens, width).to(kind)
    layer(entering)
    began = time.perf_counter()
    for _ in range(repeats):
        layer(entering)
    return 2 * tokens * width * hidden * repeats / (time.perf_counter() - began)


def _spread(rates: list[float]) -> str:
    return f"{min(rates):.2f} to {max(rates):.2f}"


def _ours(folder: Path, listed: Path, name: str, precision: str = "auto") -> float:
    """Seconds from the first image to the published file, of the real child process."""
    model = msgspec.structs.replace(CHOICE, precision=precision)
    spec = ExtractSpec(
        model=model, images_file=str(listed), output=str(folder / f"{name}.hdf5"), workers=default_workers()
    )
    written, events = folder / f"{name}.json", folder / f"{name}.events"
    written.write_bytes(msgspec.json.encode(spec))
    subprocess.run(
        [sys.executable, "-m", "fsgr_tui.extract", str(written)],
        env={**os.environ, EVENTS_VARIABLE: str(events)},
        check=True,
    )
    told = list(EventReader(events).new())
    began = next(event.at for event in told if isinstance(event, Phase) and event.name == "extract")
    return next(event.at for event in told if isinstance(event, Result)) - began


def _script(folder: Path, listed: Path, name: str) -> tuple[float, float]:
    """Seconds and processor seconds of the usual script, model loading excluded."""
    output = folder / f"{name}.hdf5"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.script", str(listed), str(output)], stdout=subprocess.PIPE, check=True
    )
    told = json.loads(done.stdout)
    return told["seconds"], told["processor_seconds"]


def _difference(ours: Path, theirs: Path) -> float:
    file = FeatureFile(ours)
    with h5py.File(theirs) as other:
        expected = np.stack([other[f"{image_id}_grids"][()] for image_id in file.ids.tolist()])
    found = file.read(file.ids.tolist()).astype(np.float32)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
