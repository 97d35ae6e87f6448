"""Preflight of a training with a lab's own checkout: its source, its Python, its files, and the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from fsgr_tui.core import preflight_lab as rules
from fsgr_tui.core import preflight_runtime as runtime
from fsgr_tui.core.errors import Problem
from fsgr_tui.core.lab import Checkout, GivenFlag, Interpreter, SavedFile, TorchBuild
from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import GpuReport
from fsgr_tui.core.memory import largest_batch, precomputed_bytes, realtime_bytes
from fsgr_tui.core.preflight import (
    Finding,
    PreflightReport,
    coverage_finding,
    disk_findings,
    from_problem,
    gpu_findings,
    login_findings,
    memory_finding,
    worker_findings,
)
from fsgr_tui.core.storage import CHECKPOINT_BYTES, NAMED_CHECKPOINTS
from fsgr_tui.core.tower import Tower
from fsgr_tui.core.units import Unknown
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.probes.checkout import probe_checkout
from fsgr_tui.probes.models import find_model
from fsgr_tui.probes.saved import read_saved
from fsgr_tui.service.preflight import LOCAL, Probes, run_folder_findings
from fsgr_tui.service.preflight_data import (
    Annotated,
    annotation_findings,
    feature_findings,
    realtime_findings,
    stored_tokens,
    weights_findings,
)

_SAMPLE_LABELS: Final = 256
_ALWAYS_ASKED: Final = ("torch", "spacy", runtime.SPACY_MODEL, "h5py")
# Where the field's code bases put checkpoints, under the checkout (M2 Transformer and its descendants).
_CHECKPOINTS: Final = ("save_models", "saved_models")


class LabRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A training command for a checkout.

    Attributes:
        repo: the checkout; script: relative to it, empty for the usual names.
        python: the lab's interpreter; empty when there is none to be asked.
        given: flags that are meant for the script.
        clip_model: for the estimate of GPU memory.
        splits: image folders, for a training on images.
        vocabulary, checkpoint: files to hold against each other; empty for those that the source names.
    """

    repo: str
    script: str = ""
    python: str = ""
    given: tuple[GivenFlag, ...] = ()
    clip_model: str = "ViT-B/16"
    splits: tuple[str, ...] = ("train2014", "val2014")
    vocabulary: str = ""
    checkpoint: str = ""

    def value(self, name: str, checkout: Checkout) -> str:
        """The value of a script's flag: the one given, else the script's own default; empty when there is neither."""
        for flag in self.given:
            if flag.plain == name and flag.values:
                return flag.values[0]
        declared = checkout.flag(f"--{name}")
        return declared.default if declared else ""

    def gives(self, name: str) -> bool:
        """Whether a flag is among those that are given; `name` with hyphens."""
        return any(flag.plain == name for flag in self.given)

    def value_used(self, name: str, switch: str, checkout: Checkout) -> str:
        """As `value`; but a script's own default counts only with the switch that makes the script look at it."""
        return self.value(name, checkout) if self.gives(name) or self.gives(switch) else ""


def preflight_lab(request: LabRequest, probes: Probes = LOCAL) -> PreflightReport:
    """All findings about a planned training with a lab's checkout; nothing of it is run, only its Python is asked."""
    root = Path(request.repo)
    with ThreadPoolExecutor(4, "preflight") as pool:
        gpus, java, login = pool.submit(probes.gpus), pool.submit(probes.java), pool.submit(probes.login)
        try:
            checkout = probe_checkout(root, request.script)
        except Problem as problem:
            checkout, rows = Checkout(request.repo, ""), [from_problem(tr("checkout"), problem)]
        else:
            rows = _source_findings(checkout, request)
        python = pool.submit(_interpreter, request.python, checkout, probes) if request.python else None
        rows += _data_findings(request, checkout)
        asked = python.result() if python else None
        if isinstance(asked, Interpreter):
            rows += runtime.interpreter_findings(asked, checkout) + runtime.spacy_findings(asked, checkout)
        elif asked is not None:
            rows.append(from_problem("Python", asked))
        rows += runtime.java_findings(java.result(), checkout, _locale(), (str(root.absolute()),))
        rows += rules.device_findings(checkout, gpus.result(), os.environ.get("CUDA_VISIBLE_DEVICES"))
        rows += _gpu_findings(
            request,
            checkout,
            gpus.result(),
            asked.torch if isinstance(asked, Interpreter) else Unknown(tr("not asked")),
        )
        workers = request.value("workers", checkout)
        host = probes.host()
        rows.append(memory_finding(host.memory))
        if workers.isdigit():
            rows += worker_findings(int(workers), host.cpus)
        folder = next((root / name for name in _CHECKPOINTS if (root / name).is_dir()), root)
        rows += disk_findings(probes.disk(folder), NAMED_CHECKPOINTS * CHECKPOINT_BYTES, 20, tr("checkpoints"))
        rows += run_folder_findings(probes) + login_findings(login.result())
    return PreflightReport.of("train", rows)


def _source_findings(checkout: Checkout, request: LabRequest) -> list[Finding]:
    features = request.value("features-path", checkout)
    return [
        Finding(
            tr("checkout"),
            tr("{root}: {script}, {n} flags", root=checkout.root, script=checkout.script, n=len(checkout.flags)),
        ),
        *rules.flag_findings(checkout, request.given),
        *rules.needed_flag_findings(checkout, request.given),
        *rules.return_index_findings(request.given),
        *rules.reads_hdf5_finding(checkout, features),
        *rules.source_findings(checkout),
    ]


def _interpreter(python: str, checkout: Checkout, probes: Probes) -> Interpreter | Problem:
    try:
        return probes.interpreter(python, (*_ALWAYS_ASKED, *checkout.imports))
    except Problem as problem:
        return problem


def _data_findings(request: LabRequest, checkout: Checkout) -> list[Finding]:
    root = Path(request.repo)
    folder = request.value("annotation-folder", checkout)
    annotated = annotation_findings(_located(folder, root)) if folder else Annotated([], None, frozenset())
    rows = annotated.findings
    features = request.value("features-path", checkout)
    if features:
        path = _located(features, root)
        if path.is_dir():
            rows += realtime_findings(str(path), request.splits, annotated)
        elif not path.exists() and path.suffix not in (".hdf5", ".h5"):
            needed = tr("the image folder, or a feature file that ends in .hdf5")
            rows.append(
                Finding(
                    tr("images {path}", path=features),
                    tr("not there"),
                    needed,
                    "stop",
                    tr("Look at --features_path."),
                    "request",
                    subject=features,
                )
            )
        else:
            rows += feature_findings(path, annotated)
            rows += rules.grid_findings(checkout, stored_tokens(path))
    labels = request.value_used("labels-path", "return-index", checkout)
    label_rows, largest = _label_findings(_located(labels, root), annotated) if labels else ([], None)
    rows += label_rows
    embeddings = request.value_used("text-embed-path", "text", checkout)
    if embeddings:
        saved = _saved(_located(embeddings, root))
        rows.append(
            from_problem(tr("text embeddings {path}", path=embeddings), saved, str(embeddings))
            if isinstance(saved, Problem)
            else rules.embedding_finding(embeddings, saved, largest)
        )
    weights = request.value("pre-vs-path", checkout)
    if weights:
        rows += weights_findings(str(_located(weights, root)))
    return rows + list(_vocabulary_findings(request, checkout))


def _label_findings(path: Path, annotated: Annotated) -> tuple[list[Finding], int | None]:
    """Patch labels: every image has 196 of them; and the largest of a sample."""
    try:
        file = FeatureFile(path, "labels")
        ids = file.ids.tolist()
        sample = file.read(ids[:: max(1, len(ids) // _SAMPLE_LABELS)])
    except Problem as problem:
        return [from_problem(tr("patch labels {path}", path=path), problem, str(path))], None
    good = file.row_shape == (rules.FIELD_TOKENS,) and np.issubdtype(sample.dtype, np.integer)
    rows = [
        Finding(
            tr("patch labels {path}", path=path), tr("{shape} {name} per image", shape=" x ".join(map(str, file.row_shape)), name=file.dtype.name), tr("{n} class indices", n=rules.FIELD_TOKENS),
            "ok" if good else "stop", "" if good else tr("Make them with `fsgr-tui extract --labels --classes FILE`."), subject=str(path),
        )
    ]  # fmt: skip
    if annotated.image_ids is not None:
        missing = sorted(annotated.image_ids - set(ids))
        remedy = tr("Extract labels of the same splits: fsgr-tui extract --labels --resume.")
        rows.append(
            coverage_finding(
                tr("patch labels of all images in {path}", path=path), missing, len(annotated.image_ids), remedy
            )
        )
    return rows, int(sample.max()) if good else None


def _vocabulary_findings(request: LabRequest, checkout: Checkout) -> Iterator[Finding]:
    """Vocabulary and checkpoint, where both are there: the table of words must have a row for each."""
    root = Path(request.repo)
    named = request.vocabulary or next(iter(checkout.vocabularies), "")
    resumed = any(flag.name.replace("_", "-") in ("--resume-last", "--resume-best") for flag in request.given)
    checkpoint = request.checkpoint or (_resumed(root, request, checkout) if resumed else "")
    words, table = None, None
    if named:
        saved = _saved(_located(named, root))
        if isinstance(saved, Problem):
            yield from_problem(tr("vocabulary {path}", path=named), saved, str(named))
        else:
            words = max(
                (size for name, size in saved.lists.items() if name.rpartition(".")[2] in ("itos", "stoi")),
                default=None,
            )
            yield Finding(
                tr("vocabulary {path}", path=named),
                tr("{words:,} words", words=words)
                if words
                else tr("a {kind} without a list of words", kind=saved.kind),
                verdict="ok" if words else "warn",
            )
    if checkpoint:
        table = _saved(_located(checkpoint, root))
        if isinstance(table, Problem):
            yield from_problem(tr("checkpoint {path}", path=checkpoint), table, str(checkpoint))
    if words and isinstance(table, SavedFile):
        yield from rules.vocabulary_finding(named, words, checkpoint, table)


def _resumed(root: Path, request: LabRequest, checkout: Checkout) -> str:
    kind = "best" if any("best" in flag.name for flag in request.given) else "last"
    name = f"{request.value('exp-name', checkout)}_{kind}.pth"
    return next(
        (str(root / folder / name) for folder in _CHECKPOINTS if (root / folder / name).is_file()),
        str(root / _CHECKPOINTS[0] / name),
    )


def _saved(path: Path) -> SavedFile | Problem:
    try:
        return read_saved(path)
    except Problem as problem:
        return problem


def _located(path: str, root: Path) -> Path:
    """A path as typed; one that is not there from here, but from the checkout, is the script's own."""
    return Path(path) if Path(path).exists() or not (root / path).exists() else root / path


def _locale() -> str:
    """The locale that a child takes for numbers, as in `it_IT.UTF-8`."""
    return next((os.environ[name] for name in ("LC_ALL", "LC_NUMERIC", "LANG") if os.environ.get(name)), "C")


def _gpu_findings(
    request: LabRequest, checkout: Checkout, report: GpuReport, torch: TorchBuild | Unknown
) -> list[Finding]:
    """The lab's script has no way without a GPU."""
    try:
        tower: Tower = find_model(request.value("pre-name", checkout) or request.clip_model)
    except Problem as problem:
        return [from_problem(tr("CLIP model"), problem), *gpu_findings(report, torch, device="cuda", needs_gpu=True)]
    size = request.value("batch-size", checkout)
    if not size.isdigit() or not int(size):
        return gpu_findings(report, torch, device="cuda", needs_gpu=True)
    batch = int(size)
    # On images the script keeps CLIP with its adapters in every step.
    realtime = not request.value("features-path", checkout).endswith((".hdf5", ".h5"))
    need = realtime_bytes(tower, batch) if realtime else precomputed_bytes(batch)
    free = report.gpus[0].memory_free_bytes if report.gpus else Unknown(tr("no GPU"))
    fitting = largest_batch(tower, free, realtime=realtime) if isinstance(free, int) else 0
    advice = (
        tr("Use --batch_size {fitting} or less, or a GPU with more memory.", fitting=fitting)
        if fitting
        else tr("Take a GPU with more memory.")
    )
    return gpu_findings(report, torch, device="cuda", needs_gpu=True, need=need, advice=advice)
