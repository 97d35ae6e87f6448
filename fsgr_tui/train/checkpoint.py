"""Checkpoints: files that are replaced whole, hold tensors and plain values only, and know what they belong to."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot
from fsgr_tui.core.language import tr
from fsgr_tui.core.training import TrainSpec

FORMAT = 2
_CONTENT = {"format", "learner", "state", "random", "words", "identity", "spec"}

# What may change between the parts of a run without making it another run.
_FREE = {
    "annotation_folder", "features", "images_file", "pixels", "model", "output", "exp_name", "logs",
    "epochs", "max_steps", "max_val_batches", "max_eval_images", "beam", "patience", "keep", "save_s", "java", "java_needed",
    "workers", "device", "processes", "nodes", "rehearsal", "resume", "overwrite",
}  # fmt: skip
_NESTED = {"size": "", "critical": "self-critical ", "adapters": "adapters "}


def last_path(spec: TrainSpec) -> Path:
    """Where a run keeps its newest state."""
    return Path(spec.output) / f"{spec.exp_name}_last.pth"


def best_path(spec: TrainSpec) -> Path:
    """Where a run keeps its best state: by CIDEr-D, or by the validation loss."""
    return Path(spec.output) / f"{spec.exp_name}_best.pth"


def epoch_path(spec: TrainSpec, epoch: int) -> Path:
    """Where the state after so many epochs is kept, when it is."""
    return Path(spec.output) / f"{spec.exp_name}_epoch{epoch:03d}.pth"


def _epoch_paths(spec: TrainSpec) -> list[Path]:
    pattern = re.compile(rf"{re.escape(spec.exp_name)}_epoch(\d{{3,}})\.pth")
    found = [(int(match[1]), path) for path in Path(spec.output).iterdir() if (match := pattern.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def drop_old_epochs(spec: TrainSpec) -> None:
    """Remove all but the newest epochs' states that are to be kept."""
    for path in _epoch_paths(spec)[: -spec.keep]:
        path.unlink(missing_ok=True)


def forget(spec: TrainSpec) -> None:
    """Remove what an earlier run of the same name kept beside its newest state, which the first save replaces."""
    for path in (best_path(spec), *_epoch_paths(spec)):
        path.unlink(missing_ok=True)


def sweep(spec: TrainSpec) -> None:
    """Remove drafts that a killed run left behind."""
    for path in Path(spec.output).glob(f".{glob.escape(spec.exp_name)}_*.pth.*.tmp"):
        path.unlink(missing_ok=True)


def bytes_kept(spec: TrainSpec) -> int:
    """What the states of a run take on disk."""
    paths = (last_path(spec), best_path(spec), *_epoch_paths(spec))
    return sum(path.stat().st_size for path in paths if path.exists())


def identity_of(spec: TrainSpec, features: Mapping[str, Any], captions: str, words: int) -> dict[str, Any]:
    """What makes a run this run: settings, features, captions and vocabulary, as flat JSON values.

    Args:
        spec: the run.
        features: identity of the features (`GridSource.identity`).
        captions: digest of the training pairs.
        words: size of the vocabulary.
    """
    built = msgspec.to_builtins(spec)
    settings = {name: value for name, value in built.items() if name not in _FREE | _NESTED.keys() | {"type"}}
    for name, prefix in _NESTED.items():
        settings |= {f"{prefix}{key}": value for key, value in (built[name] or {}).items()}
    # More epochs of either kind make a longer run of the same.
    settings.pop("self-critical epochs")
    of_features = {f"features: {name}": value for name, value in features.items()}
    return {**settings, **of_features, "training captions": captions[:12], "words": words}


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint whole: its name never stands for a part of it, even when the power fails.

    Raises:
        MachineCannot: it cannot be written; an older file of that name is untouched.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            torch.save({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except (OSError, RuntimeError) as error:
        # A full disk comes out of PyTorch's zip writer as a RuntimeError.
        draft.unlink(missing_ok=True)
        raise MachineCannot(
            tr("The checkpoint {path} cannot be written: {error}.", path=path, error=error),
            tr("Make room, then go on with --resume from the last one."),
        ) from None
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it can run code.

    Raises:
        MachineCannot: it may not be read.
        FoundFaults: it is damaged, or a checkpoint of another program.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise MachineCannot(
            tr("{path} cannot be read: {reason}.", path=path, reason=error.strerror), tr("Look at its permissions.")
        ) from None
    except Exception as error:  # noqa: BLE001 - zip, pickle and PyTorch raise a dozen kinds for a damaged file
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FoundFaults(
            tr("The checkpoint {path} is damaged: {error}.", path=path, error=told),
            tr("Put a whole one in its place (a copy, or the best one), or start anew with --overwrite."),
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or not content.keys() >= _CONTENT:
        raise FoundFaults(
            tr("{path} is no checkpoint of this program's captioner.", path=path),
            tr("Choose another --exp-name, or start anew with --overwrite."),
        )
    return content


def refuse_another_run(
    path: Path, content: Mapping[str, Any], identity: Mapping[str, Any], words: tuple[str, ...]
) -> None:
    """Make sure that a checkpoint belongs to this run.

    Raises:
        BadRequest: it does not; every difference is named.
    """
    theirs = content["identity"]
    differing = [
        tr("{name}: {theirs} there, {ours} now", name=name, theirs=theirs.get(name), ours=identity.get(name))
        for name in sorted({*theirs, *identity})
        if theirs.get(name) != identity.get(name)
    ]
    if not differing and list(content["words"]) != list(words):
        differing = [tr("the vocabulary has other words")]
    if differing:
        raise BadRequest(
            tr("{path} is of another run ({differences}).", path=path, differences=tr("; ").join(differing)),
            tr("Give the same settings, choose another --exp-name, or start anew with --overwrite."),
        )
