"""Texts that features are held against: embedded once by a child process with torch, then read from a cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from platformdirs import user_cache_path

from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot, Problem
from fsgr_tui.core.event import EVENTS_VARIABLE, EventReader, Fault
from fsgr_tui.core.extraction import ModelChoice, TextDirectionSpec
from fsgr_tui.core.language import tr
from fsgr_tui.features.joint import TextDirection, read_direction, require_joint
from fsgr_tui.features.manifest import Manifest
from fsgr_tui.probes.models import find_model
from fsgr_tui.service.model_choice import for_child, require_packages, require_weights

EMBED_S = 600.0
"""Loading a large model from a busy network file system takes minutes."""


def direction(path: Path, manifest: Manifest | None, text: str, weights: str = "") -> TextDirection:
    """A text as a direction for the tokens of a file.

    The first time a text is asked for, a child process loads the model for it; this takes seconds to minutes.

    Args:
        path: the file; manifest: its own.
        weights: where the model is, if the manifest's source is not here; empty for the manifest's.

    Raises:
        BadRequest: the text is empty, the file's tokens cannot be compared with text, or the weights are others than the
            file's.
        MachineCannot: the weights or torch are not here, or the child failed.
    """
    told = require_joint(path, manifest)
    if not text.strip():
        raise BadRequest(tr("The text is empty."), tr("Name a thing or a scene, e.g. 'a red ball'."))
    space, vector = _cached(told, text)
    try:
        return read_direction(space, vector, text, told)
    except FoundFaults:
        # Not there yet, or damaged: either way it is made anew.
        _embed(told, text, weights, space, vector)
    return read_direction(space, vector, text, told)


def _cached(manifest: Manifest, text: str) -> tuple[Path, Path]:
    """Where the tower's last steps and the text's embedding are kept."""
    folder = user_cache_path("fsgr-tui", appauthor=False) / "texts"
    folder /= f"{manifest.clip_model}-{manifest.activation}-{manifest.weights_sha256[:32]}"
    return (
        folder / "space.npz",
        folder / f"{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.npy",
    )


def _embed(manifest: Manifest, text: str, weights: str, space: Path, vector: Path) -> None:
    require_packages("look --text", ("torch", "open_clip"))
    source = weights or manifest.weights
    require_weights(source)
    of_file: dict[str, Any] = {
        "clip_model": find_model(manifest.clip_model).name,
        "weights": source,
        # The grid decides the input size, by which random weights and position tables differ.
        "grid": manifest.grid,
        "stage": manifest.stage,
        "activation": manifest.activation,
    }
    spec = TextDirectionSpec(
        model=for_child(msgspec.convert(of_file, ModelChoice)),
        weights_sha256=manifest.weights_sha256,
        text=text,
        space=str(space.absolute()),
        vector=str(vector.absolute()),
    )
    with tempfile.TemporaryDirectory(prefix="fsgr-tui-") as folder:
        document, events = Path(folder, "spec.json"), Path(folder, "events.jsonl")
        document.write_bytes(msgspec.json.encode(spec))
        _run((sys.executable, "-m", "fsgr_tui.extract", str(document)), events)


def _run(command: Sequence[str], events: Path) -> None:
    """Run a child to its end.

    Raises:
        Problem: what it told as its fault.
        MachineCannot: it took too long, or ended without a word.
    """
    try:
        done = subprocess.run(
            command,
            env={**os.environ, EVENTS_VARIABLE: str(events)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=EMBED_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MachineCannot(
            tr("The model was not loaded within {minutes:.0f} min.", minutes=EMBED_S / 60),
            tr("Copy its weights to a local disk and name them with --weights."),
        ) from None
    if done.returncode == 0:
        return
    for event in EventReader(events).new():
        if isinstance(event, Fault):
            kinds: tuple[type[Problem], ...] = (BadRequest, FoundFaults, MachineCannot)
            kind = next((each for each in kinds if each.exit_code == event.exit_code), MachineCannot)
            raise kind(event.what, event.fix)
    last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    raise MachineCannot(
        tr("The process that reads the text ended without a word: {last}.", last=last),
        tr("Look whether the memory suffices for the model."),
    )
