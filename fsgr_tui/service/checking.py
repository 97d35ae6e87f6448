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
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.tower import DTYPES, Tower
from fsgr_tui.features.annotations import captioned_ids
from fsgr_tui.features.check import MINOR, SAMPLE_ROWS, UNTOLD, CheckReport, Expected, Tell, check_file, faults_in_words
from fsgr_tui.features.checkable import manifest_at, open_checkable
from fsgr_tui.features.images import write_image_list
from fsgr_tui.features.manifest import Manifest
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.features.values import CheckRow
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, new_run
from fsgr_tui.probes.models import find_model
from fsgr_tui.service.extraction import default_workers
from fsgr_tui.service.model_choice import for_child, require_packages, require_weights
from fsgr_tui.service.selection import select_images


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for.

    Attributes:
        annotations: captions JSON or M2-style folder; empty for none.
        sample: rows that are read, unless deep.
        recompute: images to extract again; 0 for none.
        weights: for the recomputation, where the manifest's source is not here; empty for the manifest's.
        like: another feature file; this one must hold the same kind of features.
        trained_with: what the training will use: manifest fields, and weights (a file); empty where not said. For a file
            without manifest, --recompute takes the model from it.
        clip_model: gives the input size of a pixel cache, which belongs to no model.
    """

    path: str
    image_root: str = ""
    splits: tuple[str, ...] = ()
    annotations: str = ""
    deep: bool = False
    sample: int = SAMPLE_ROWS
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
    return check_file(Path(request.path), _expected(request), deep=request.deep, sample=request.sample, tell=tell)


def start_recompute(request: CheckRequest) -> RunFolder:
    """Start a job that extracts some of the file's images again and compares.

    Raises:
        BadRequest: the images are missing, or it is not known how the file was made.
        MissingExtra: torch is not installed.
    """
    if not request.image_root:
        raise BadRequest(tr("--recompute needs the images."), tr("Add --image-root and --split."))
    require_packages("check --recompute")
    file = _stored_as_arrays(Path(request.path))
    choice = _told_choice(request, file) if file.manifest is None else _made_choice(request, file.manifest)
    splits = _splits(request, file.manifest)
    images = [
        image
        for image in select_images(request.image_root, splits, request.id_pattern, request.annotations)
        if image.id in file
    ]
    if not images:
        raise BadRequest(
            tr(
                "None of the images in {image_root} has features in {path}.",
                image_root=request.image_root,
                path=request.path,
            ),
            tr("Look at --image-root and --split."),
        )
    # A fixed seed: the same command gives the same answer.
    chosen = random.Random(0).sample(images, min(request.recompute, len(images)))
    run = new_run("check")
    write_image_list(run.folder / "images", chosen)
    spec = RecomputeSpec(
        model=for_child(choice),
        features=str(Path(request.path).absolute()),
        images_file=str(run.folder / "images"),
        workers=default_workers(),
    )
    child_spec = run.folder / "recompute.json"
    child_spec.write_bytes(msgspec.json.encode(spec))
    shown = ("fsgr-tui", "check", request.path, "--recompute", str(request.recompute))
    control.start(run, "check", (sys.executable, "-m", "fsgr_tui.extract", str(child_spec)), shown)
    return run


def _stored_as_arrays(path: Path) -> FeatureFile:
    """The file that a child process will read."""
    kept_as = open_checkable(path)
    if isinstance(kept_as, FeatureFile):
        return kept_as
    kept_as.close()
    raise BadRequest(
        tr("{path} is no HDF5 file with an array per image, which --recompute reads.", path=path),
        tr("Convert it and check that: fsgr-tui convert {path} {name}", path=path, name=path.with_suffix(".hdf5").name),
    )


def _made_choice(request: CheckRequest, manifest: Manifest) -> ModelChoice:
    """The model by which a file was made, as its manifest tells."""
    if manifest.stage == "labels":
        raise BadRequest(
            tr("{path} holds patch labels, which --recompute does not cover.", path=request.path),
            tr("Check it without --recompute."),
        )
    return ModelChoice(
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
    )


def _told_choice(request: CheckRequest, file: FeatureFile) -> ModelChoice:
    """The model by which a file without manifest is said to have been made.

    Raises:
        BadRequest: model or weights were not said, or the model gives other rows.
    """
    told = request.trained_with
    weights = request.weights or told.get("weights", "")
    if not told.get("clip_model") or not weights:
        raise BadRequest(
            tr("{path} has no manifest, so it is not known how to recompute it.", path=request.path),
            tr(
                "Say how it was made: --trained-with clip_model=ViT-B/16 --weights FILE, and grid=..., resize=..., "
                "stage=... where they are not 7x7 (or what the rows show), squash, post-ln_post."
            ),
        )
    tower = find_model(told["clip_model"])
    by_tokens: dict[int, str] = {49: "7x7", 64: "8x8", tower.tokens: "native"}
    values: dict[str, Any] = {name: told[name] for name in ("stage", "resize", "activation") if name in told}
    tokens = file.row_shape[0] if file.row_shape else 0
    made = _choice(
        {
            "clip_model": tower.name,
            "weights": weights,
            "grid": told.get("grid") or by_tokens.get(tokens, "7x7"),
            "dtype": file.dtype.name if file.dtype.name in DTYPES else "float32",
            "backend": told.get("decoder", "pillow"),
            # The most exact arithmetic: what the file was made with is not known.
            "precision": told.get("precision", "fp32"),
            "device": request.device,
            **values,
        }
    )
    wanted = made.shape(tower).row_shape
    if wanted != file.row_shape:
        raise BadRequest(
            tr(
                "{name} with --trained-with grid={grid} stage={stage} gives rows of {wanted}, {path} has {row_shape}.",
                name=tower.name,
                grid=made.grid,
                stage=made.stage,
                wanted=wanted,
                path=request.path,
                row_shape=file.row_shape,
            ),
            tr("The file was made in another way; look at clip_model, grid and stage."),
        )
    return made


def _choice(values: dict[str, Any]) -> ModelChoice:
    """The model that words on the command line stand for."""
    try:
        return msgspec.convert(values, ModelChoice)
    except msgspec.ValidationError as error:
        raise BadRequest(
            tr("--trained-with: {error}.", error=error), tr("Look at `fsgr-tui extract --help` for the words.")
        ) from None


def with_recompute(report: CheckReport, status: JobStatus) -> CheckReport:
    """The report with the row of a finished recomputation."""
    result = status.result
    if not result:
        told = (
            status.cause.text
            if status.cause
            else tr("the job {name} ended as {state}", name=status.name, state=tr(status.state))
        )
        row = CheckRow(mark("recompute"), tr("a comparison"), tr("none"), "bad", tr("Not compared: {told}", told=told))
    else:
        found = tr(
            "relative L2 {relative:.2g}, cosine {cosine:.6f}, largest difference {largest:.2g}",
            relative=result["worst_relative_l2"],
            cosine=result["least_cosine"],
            largest=result["largest_difference"],
        )
        expected = tr(
            "relative L2 below {relative:g}, cosine above {cosine}",
            relative=result["limit_relative_l2"],
            cosine=result["limit_cosine"],
        )
        good = bool(result["good"])
        how = tr("{n} images again in {precision}", n=result["images"], precision=result["precision"])
        detail = (
            tr("{how}.", how=how)
            if good
            else tr(
                "Extracted again they differ ({how}); the worst is image {worst}.", how=how, worst=result["worst_id"]
            )
        )
        row = CheckRow(mark("recompute"), expected, found, "ok" if good else "bad", detail)
    rows = (*(_answered(each) if row.judgement == "ok" else each for each in report.rows), row)
    bad = [each for each in rows if each.judgement == "bad"]
    headline = faults_in_words(bad) if bad else report.headline
    if not bad and not report.good:
        seen = {each.what: each.found for each in rows}
        headline = tr("good: {n:,} images, {shape} {name}", n=report.images, shape=seen["shape"], name=seen["dtype"])
    return msgspec.structs.replace(report, rows=rows, good=not bad, headline=headline, recompute=dict(result) or None)


def _answered(row: CheckRow) -> CheckRow:
    """A row that asked what a recomputation has answered: features that come out again were made in that way."""
    if row.what != UNTOLD:
        return row
    return CheckRow(row.what, row.expected, tr("as the recomputation shows"), "ok")


def _expected(request: CheckRequest) -> Expected:
    if request.splits and not request.image_root:
        raise BadRequest(tr("--split says which images of a root, and there is no root."), tr("Add --image-root."))
    expected = Expected()
    if request.annotations:
        annotated = captioned_ids(Path(request.annotations))
        expected = Expected(annotated.image_ids, annotated.source, annotated.annotation_ids)
    elif request.image_root:
        splits = _splits(request, manifest_at(Path(request.path)))
        images = select_images(request.image_root, splits, request.id_pattern, request.annotations)
        expected = Expected(frozenset(image.id for image in images), request.image_root)
    identity, source = _identity(request)
    # The same features in another type are the same features; who asks for a type means it.
    minor = MINOR | {"dtype"} if request.like else MINOR
    return msgspec.structs.replace(expected, identity=identity, identity_source=source, minor=minor)


def _identity(request: CheckRequest) -> tuple[dict[str, Any], str]:
    """The manifest fields that the features must have, and where they come from."""
    if request.like:
        other = manifest_at(Path(request.like))
        if other is None:
            raise BadRequest(
                tr("{like} has no manifest to compare with.", like=request.like),
                tr("Name a file that this program made."),
            )
        return other.identity(), request.like
    wanted: dict[str, Any] = {name: _as_field(name, value) for name, value in request.trained_with.items() if value}
    if "clip_model" in wanted:
        tower = find_model(wanted["clip_model"])
        shown = _shape_fields(tower, wanted)
        # A manifest tells the model itself; without one, the shape of the rows is all that there is.
        beside = shown if manifest_at(Path(request.path)) is None else {}
        wanted = {**beside, **wanted, "clip_model": tower.name}
    if weights := wanted.pop("weights", ""):
        require_weights(weights)
        if not Path(weights).is_file():
            raise BadRequest(
                tr("--trained-with weights={weights} is no file.", weights=weights),
                tr("A digest can only be taken of a file."),
            )
        wanted["weights_sha256"] = _digest(Path(weights))
    return wanted, tr("what the training uses")


def _as_field(name: str, text: str) -> Any:
    """A text in the form in which the manifest's identity has the field."""
    if name == "weights":
        return text
    field = next(field for field in msgspec.structs.fields(Manifest) if field.name == name)
    value = text.split(",") if field.type not in (str, int, bool) else text
    try:
        converted = msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(
            tr("--trained-with {name}={text}: {error}.", name=name, text=text, error=error),
            tr("Look at what the manifest of a file says."),
        ) from None
    return list(converted) if isinstance(converted, tuple) else converted


def _shape_fields(tower: Tower, wanted: dict[str, Any]) -> dict[str, int]:
    """What the model and the grid say of a row's shape, so that files without manifest can be held against it too.

    Raises:
        BadRequest: there is no such grid or stage, or the model does not give it.
    """
    if wanted.get("stage") in ("pixels", "labels"):
        return {}
    words: dict[str, Any] = {
        name: wanted[name] for name in ("grid", "stage") if name in wanted and wanted[name] != "last stage"
    }
    choice = _choice({"clip_model": tower.name, "weights": "", **words})
    if "grid" not in words:
        return {"width": tower.embed_dim if choice.stage == "projected" else tower.width}
    shape = choice.shape(tower)
    return {"tokens": shape.tokens, "width": shape.width}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _splits(request: CheckRequest, manifest: Manifest | None) -> tuple[str, ...]:
    """The splits that were named, else those of the manifest, else those that the root has."""
    if request.splits:
        return request.splits
    if manifest is not None and manifest.splits:
        return manifest.splits
    return tuple(name for name in coco.SPLITS if (Path(request.image_root) / name).is_dir())
