"""Checking a feature file: against itself, against images or annotations, and against a new extraction."""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path
from typing import Any

import msgspec

from fsgr_tui.core import coco
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.extraction import ModelChoice, RecomputeSpec
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.tower import DTYPES
from fsgr_tui.features.annotations import captioned_ids
from fsgr_tui.features.check import CheckReport, Expected, Tell, check_file
from fsgr_tui.features.images import write_image_list
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.features.values import CheckRow
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, new_run
from fsgr_tui.probes.models import find_model
from fsgr_tui.service.extraction import default_workers
from fsgr_tui.service.model_choice import require_packages, require_weights
from fsgr_tui.service.selection import select_images


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for.

    Attributes:
        annotations: captions JSON or M2-style folder; empty for none.
        recompute: images to extract again; 0 for none.
        weights: for the recomputation, where the manifest's source is not here; empty for the manifest's.
        like: another feature file; this one must hold the same kind of features.
        trained_with: what the training will use: clip_model, weights (a file), grid, resize, dtype; empty where not said.
        clip_model: gives the input size of a pixel cache, which belongs to no model.
    """

    path: str
    image_root: str = ""
    splits: tuple[str, ...] = ()
    annotations: str = ""
    deep: bool = False
    recompute: int = 0
    weights: str = ""
    clip_model: str = "ViT-B-16"
    like: str = ""
    trained_with: dict[str, str] = {}
    device: str = "auto"
    id_pattern: str = ""


def check(request: CheckRequest, tell: Tell | None = None) -> CheckReport:
    """Check a file without the model.

    Raises:
        Problem: the file cannot be read at all, or what it is held against is not there.
    """
    return check_file(Path(request.path), _expected(request), deep=request.deep, tell=tell)


def start_recompute(request: CheckRequest) -> RunFolder:
    """Start a job that extracts some of the file's images again and compares.

    Raises:
        BadRequest: the images or the file's manifest are missing.
        MissingExtra: torch is not installed.
    """
    if not request.image_root:
        raise BadRequest("--recompute needs the images.", "Add --image-root and --split.")
    require_packages("check --recompute")
    file = FeatureFile(request.path)
    manifest = file.manifest
    if manifest is None:
        raise BadRequest(
            f"{request.path} has no manifest, so it is not known how to recompute it.", "Check it without --recompute."
        )
    if manifest.stage == "labels":
        raise BadRequest(
            f"{request.path} holds patch labels, which --recompute does not cover.", "Check it without --recompute."
        )
    images = [
        image
        for image in select_images(request.image_root, _splits(request, file), request.id_pattern, request.annotations)
        if image.id in file
    ]
    if not images:
        raise BadRequest(
            f"None of the images in {request.image_root} has features in {request.path}.",
            "Look at --image-root and --split.",
        )
    # A fixed seed: the same command gives the same answer.
    chosen = random.Random(0).sample(images, min(request.recompute, len(images)))
    run = new_run("check")
    write_image_list(run.folder / "images", chosen)
    spec = RecomputeSpec(
        model=ModelChoice(
            clip_model=manifest.clip_model or request.clip_model,
            weights=request.weights or manifest.weights or "random:0",
            grid=manifest.grid or "7x7",  # type: ignore[arg-type]  # the manifest keeps plain text
            dtype=manifest.dtype if manifest.dtype in DTYPES else "float16",
            stage="post-ln_post" if manifest.stage == "last stage" else manifest.stage,  # type: ignore[arg-type]
            global_token=bool(manifest.global_width),
            backend=manifest.decoder,  # type: ignore[arg-type]
            resize=manifest.resize,  # type: ignore[arg-type]
            precision="auto" if manifest.precision == "none" else manifest.precision,  # type: ignore[arg-type]
            activation=manifest.activation or "auto",  # type: ignore[arg-type]
            device=request.device,
        ),
        features=str(Path(request.path).absolute()),
        images_file=str(run.folder / "images"),
        workers=default_workers(),
    )
    child_spec = run.folder / "recompute.json"
    child_spec.write_bytes(msgspec.json.encode(spec))
    shown = ("fsgr-tui", "check", request.path, "--recompute", str(request.recompute))
    control.start(run, "check", (sys.executable, "-m", "fsgr_tui.extract", str(child_spec)), shown)
    return run


def with_recompute(report: CheckReport, status: JobStatus) -> CheckReport:
    """The report with the row of a finished recomputation."""
    result = status.result
    if not result:
        told = status.cause.text if status.cause else f"the job {status.name} ended as {status.state}"
        row = CheckRow("recompute", "a comparison", "none", "bad", f"Not compared: {told}")
    else:
        found = f"relative L2 {result['worst_relative_l2']:.2g}, cosine {result['least_cosine']:.6f}, largest difference {result['largest_difference']:.2g}"
        expected = f"relative L2 below {result['limit_relative_l2']:g}, cosine above {result['limit_cosine']}"
        good = bool(result["good"])
        detail = f"{result['images']} images again in {result['precision']}" + (
            "" if good else f"; the worst is image {result['worst_id']}."
        )
        row = CheckRow("recompute", expected, found, "ok" if good else "bad", detail)
    rows = (*report.rows, row)
    bad = [each for each in rows if each.judgement == "bad"]
    headline = report.headline if row.judgement == "ok" or not report.good else f"1 fault: {row.detail}"
    return msgspec.structs.replace(report, rows=rows, good=not bad, headline=headline, recompute=dict(result) or None)


def _expected(request: CheckRequest) -> Expected:
    expected = Expected()
    if request.annotations:
        annotated = captioned_ids(Path(request.annotations))
        expected = Expected(annotated.image_ids, annotated.source, annotated.annotation_ids)
    elif request.image_root:
        images = select_images(
            request.image_root, _splits(request, FeatureFile(request.path)), request.id_pattern, request.annotations
        )
        expected = Expected(frozenset(image.id for image in images), request.image_root)
    identity, source = _identity(request)
    return msgspec.structs.replace(expected, identity=identity, identity_source=source)


def _identity(request: CheckRequest) -> tuple[dict[str, Any], str]:
    """The manifest fields that the features must have, and where they come from."""
    if request.like:
        other = FeatureFile(request.like)
        if other.manifest is None:
            raise BadRequest(f"{request.like} has no manifest to compare with.", "Name a file that this program made.")
        return other.manifest.identity(), request.like
    wanted: dict[str, Any] = {name: value for name, value in request.trained_with.items() if value}
    if "clip_model" in wanted:
        wanted["clip_model"] = find_model(wanted["clip_model"]).name
    if weights := wanted.pop("weights", ""):
        require_weights(weights)
        if not Path(weights).is_file():
            raise BadRequest(f"--trained-with weights={weights} is no file.", "A digest can only be taken of a file.")
        wanted["weights_sha256"] = _digest(Path(weights))
    return wanted, "what the training uses"


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _splits(request: CheckRequest, file: FeatureFile) -> tuple[str, ...]:
    """The splits that were named, else those of the manifest, else those that the root has."""
    if request.splits:
        return request.splits
    if file.manifest is not None and file.manifest.splits:
        return file.manifest.splits
    return tuple(name for name in coco.SPLITS if (Path(request.image_root) / name).is_dir())
