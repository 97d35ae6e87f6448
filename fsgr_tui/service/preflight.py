"""Preflight: everything that would stop or spoil a planned extraction or training is looked for, and told together."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from fsgr_tui.core import coco
from fsgr_tui.core.errors import Problem
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.lab import CachedWeights, Interpreter, Java, LoginSession, TorchBuild
from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import Disk, GpuReport, Host
from fsgr_tui.core.preflight import (
    Finding,
    PreflightReport,
    cached_weights_finding,
    disk_findings,
    from_problem,
    gpu_findings,
    image_findings,
    login_findings,
    memory_finding,
    worker_findings,
)
from fsgr_tui.core.storage import temporary_bytes
from fsgr_tui.core.units import Unknown
from fsgr_tui.features.images import Image
from fsgr_tui.jobs.folder import runs_dir
from fsgr_tui.probes.dataset import probe_split
from fsgr_tui.probes.disk import probe_disk
from fsgr_tui.probes.gpu import probe_gpus
from fsgr_tui.probes.host import probe_host
from fsgr_tui.probes.interpreter import probe_interpreter
from fsgr_tui.probes.java import probe_java
from fsgr_tui.probes.login import probe_login
from fsgr_tui.probes.models import find_model, is_installed
from fsgr_tui.probes.weights import probe_cached_weights
from fsgr_tui.service import extraction, training
from fsgr_tui.service.model_choice import TOWER_PACKAGES, require_packages
from fsgr_tui.service.preflight_data import (
    caption_findings,
    empty_images,
    feature_findings,
    is_tag,
    realtime_findings,
    weights_findings,
)
from fsgr_tui.service.selection import select_images
from fsgr_tui.service.training_request import TrainRequest

_RUN_FOLDER_BYTES = 10_000_000
"""What a run folder takes at the most beside its log: the list of 123,287 images is 9 MB."""


class Probes(NamedTuple):
    """What the preflight asks of the machine; tests hand in others."""

    gpus: Callable[[], GpuReport] = probe_gpus
    disk: Callable[[Path], Disk] = probe_disk
    host: Callable[[], Host] = probe_host
    java: Callable[[], Java] = probe_java
    login: Callable[[], LoginSession] = probe_login
    interpreter: Callable[[str, Iterable[str]], Interpreter] = probe_interpreter
    weights: Callable[[str, str], CachedWeights | Unknown] = probe_cached_weights


LOCAL: Final = Probes()


def preflight_extract(request: extraction.ExtractRequest, probes: Probes = LOCAL) -> PreflightReport:
    """All findings about a planned extraction."""
    with ThreadPoolExecutor(3, "preflight") as pool:
        computing = pool.submit(_gpus_and_torch, probes)
        login = pool.submit(probes.login)
        weights = pool.submit(_tower_findings, request.model, probes)
        rows = _request_findings(request, probes)
        rows += weights.result()
        rows += gpu_findings(*computing.result(), device=request.model.device, needs_gpu=False)
        rows += _host_findings(request.workers, probes)
        rows += run_folder_findings(probes) + login_findings(login.result())
    return PreflightReport.of("extract", rows)


def preflight_train(request: TrainRequest, probes: Probes = LOCAL) -> PreflightReport:
    """All findings about a planned training with the built-in captioner."""
    spec = request.spec
    realtime = spec.mode == "realtime"
    with ThreadPoolExecutor(3, "preflight") as pool:
        computing = pool.submit(_gpus_and_torch, probes)
        login = pool.submit(probes.login)
        weights = pool.submit(_tower_findings, spec.model, probes) if realtime and spec.model else None
        annotated = caption_findings(Path(spec.annotation_folder))
        rows = annotated.findings
        if weights:
            rows += weights.result()
        if spec.pixels:
            rows += feature_findings(Path(spec.pixels), annotated)
        elif realtime and request.image_root:
            rows += realtime_findings(request.image_root, request.splits or coco.KARPATHY_SPLITS, annotated)
        elif spec.features:
            rows += feature_findings(Path(spec.features), annotated)
        packages = TOWER_PACKAGES if realtime else ("torch",)
        rows += _refusals(
            rows,
            (
                (tr("packages"), lambda: require_packages("train", packages)),
                (tr("request"), lambda: training.prepare(request)),
            ),
        )
        rows += gpu_findings(*computing.result(), device=spec.device, needs_gpu=False)
        rows += _host_findings(spec.workers, probes)
        rows += run_folder_findings(probes) + login_findings(login.result())
    return PreflightReport.of("train", rows)


def _tower_findings(model: ModelChoice, probes: Probes) -> list[Finding]:
    """The weights: a file is looked into; a tag is looked for in open_clip's cache."""
    if not is_tag(model.weights) or not is_installed("open_clip"):
        return weights_findings(model.weights)
    try:
        name = find_model(model.clip_model).name
    except Problem:
        return []
    return [cached_weights_finding(probes.weights(name, model.weights), offline=bool(os.environ.get("HF_HUB_OFFLINE")))]


def _host_findings(workers: int, probes: Probes) -> list[Finding]:
    host = probes.host()
    return [memory_finding(host.memory), *worker_findings(workers, host.cpus)]


def run_folder_findings(probes: Probes) -> list[Finding]:
    """Whether the job can keep its log; silent when it can."""
    return [
        row
        for row in disk_findings(probes.disk(runs_dir()), _RUN_FOLDER_BYTES, 10, tr("run folders"))
        if row.verdict == "stop"
    ]


def _request_findings(request: extraction.ExtractRequest, probes: Probes) -> list[Finding]:
    """The request as the extraction itself would judge it; after a refusal, what else would be refused."""
    try:
        prepared = extraction.prepare(request)
    except Problem as problem:
        questions = (
            (tr("model"), lambda: request.model.shape(find_model(request.model.clip_model))),
            (tr("images"), lambda: _select(request)),
            (tr("packages"), lambda: require_packages("extract")),
            (tr("output"), lambda: _judge_output(request)),
        )
        rows = _refusals((), questions)
        rows += _refusals(rows, [(tr("request"), lambda: extraction.prepare(request))])
        return rows + _disk_after_refusal(request, problem, probes)
    rows = [
        Finding(
            tr("request"),
            tr(
                "{n:,} images, {words} each, into {output}",
                n=len(prepared.images),
                words=prepared.shape.words,
                output=prepared.output,
            ),
        ),
        *(Finding(tr("note"), notice) for notice in prepared.notices),
    ]
    root = Path(request.image_root)
    facts = [probe_split(root, name) for name in coco.split_names(request.splits)]
    rows += image_findings(facts, empty_images(root, request.splits))
    return rows + disk_findings(probes.disk(prepared.output.parent), prepared.need_bytes, 2, tr("the features"))


def _select(request: extraction.ExtractRequest) -> tuple[Image, ...]:
    return select_images(request.image_root, request.splits, request.id_pattern, request.annotations)


def _judge_output(request: extraction.ExtractRequest) -> None:
    """What the extraction says of the output alone: the same request with one image and a model that are fine."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "val2014"
        folder.mkdir()
        (folder / "1.jpg").touch()
        model = ModelChoice(clip_model="ViT-B/16", weights="random:0")
        extraction.prepare(
            msgspec.structs.replace(
                request,
                image_root=root,
                splits=(folder.name,),
                model=model,
                id_pattern="",
                annotations="",
                ids=None,
                shard="",
            )
        )


def _disk_after_refusal(request: extraction.ExtractRequest, refusal: Problem, probes: Probes) -> list[Finding]:
    try:
        shape = request.model.shape(find_model(request.model.clip_model))
        count = len(_select(request))
    except Problem:
        return []
    disk = probes.disk(Path(request.output).parent)
    rows = disk_findings(disk, shape.file_bytes(count) + temporary_bytes(count), 2, tr("the features"))
    # The refusal itself may be about this disk, and would be told twice.
    return [row for row in rows if row.verdict != "stop" or str(disk.mount) not in refusal.what]


def _refusals(known: Sequence[Finding], questions: Iterable[tuple[str, Callable[[], object]]]) -> list[Finding]:
    """What else is refused: each question for itself, as a refusal hides those behind it."""
    rows: list[Finding] = []
    for what, ask in questions:
        try:
            ask()
        except Problem as problem:
            stops = [row for row in (*known, *rows) if row.verdict == "stop"]
            if not any(row.found == problem.what or _same_thing(row, problem) for row in stops):
                rows.append(from_problem(what, problem))
    return rows


def _same_thing(row: Finding, problem: Problem) -> bool:
    """Whether a stop is about the file or folder that a refusal names, in one piece or as folder and name."""
    subject = Path(row.subject)
    return len(subject.parts) > 1 and str(subject.parent) in problem.what and subject.name in problem.what


def _gpus_and_torch(probes: Probes) -> tuple[GpuReport, TorchBuild | Unknown]:
    """The GPUs, and what this Python's torch makes of them; it is not imported where there is nothing to see."""
    report = probes.gpus()
    if report.status != "ok":
        return report, Unknown(tr("no GPU to be seen"))
    try:
        return report, probes.interpreter(sys.executable, ("torch",)).torch
    except Problem as problem:
        return report, Unknown(problem.what)
