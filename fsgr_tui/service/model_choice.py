"""The model of a job: its packages, its weights, and how it is told to a child process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from fsgr_tui.core.device import ALL, device_names, gpu_number, refuse_absent_gpus
from fsgr_tui.core.errors import BadRequest, MachineCannot, MissingExtra
from fsgr_tui.core.extraction import WEIGHTS_SUFFIXES, ModelChoice
from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import GpuReport
from fsgr_tui.probes.gpu import probe_gpus
from fsgr_tui.probes.models import find_model, is_installed

_AMD = Path("/dev/kfd")
TOWER_PACKAGES = ("torch", "torchvision", "open_clip", "PIL")
"""What a child process needs that loads a vision tower and decodes pictures."""


def require_packages(command: str, packages: tuple[str, ...] = TOWER_PACKAGES, extra: str = "extract") -> None:
    """Raise MissingExtra unless all packages of a command are installed; nothing is imported."""
    for package in packages:
        if not is_installed(package):
            raise MissingExtra(command, extra, package)


def require_weights(weights: str) -> None:
    """Refuse what can be refused without torch: a path that is not there, or a folder."""
    looks_like_path = os.sep in weights or weights.endswith(WEIGHTS_SUFFIXES)
    path = Path(weights)
    if path.is_dir():
        found = sorted(file.name for file in path.iterdir() if file.suffix in WEIGHTS_SUFFIXES)
        raise BadRequest(
            tr("--weights {path} is a folder.", path=path),
            tr("Name one of its files: {names}.", names=", ".join(found[:8]))
            if found
            else tr("It holds no .pt, .pth or .safetensors file."),
        )
    if looks_like_path and not path.is_file():
        raise MachineCannot(
            tr("There is no weights file {path}.", path=path),
            tr("Look at --weights, or give an open_clip tag such as openai."),
        )
    if weights.startswith("random:") and not weights.removeprefix("random:").isdigit():
        raise BadRequest(
            tr("--weights {weights}: the seed is no number.", weights=weights), tr("Write it like random:0.")
        )


def require_device(asked: str, ask: Callable[[], GpuReport] = probe_gpus) -> None:
    """Refuse a `--device` that is not here, as far as the driver tells it; PyTorch is not asked.

    Args:
        ask: gives the GPUs; it is called only when one was asked for by name.

    Raises:
        BadRequest: the name is no device.
        MachineCannot: there is no such GPU.
    """
    if asked != ALL and all(gpu_number(name) is None for name in device_names(asked)):
        return
    report = ask()
    # AMD's GPUs are `cuda` to PyTorch too, and need no driver of NVIDIA.
    if report.status != "no_driver" or not _AMD.exists():
        refuse_absent_gpus(asked, report)


def for_child(model: ModelChoice) -> ModelChoice:
    """The choice with open_clip's spelling and with paths that hold in any working folder.

    Raises:
        BadRequest: unknown model.
    """
    return msgspec.structs.replace(
        model,
        clip_model=find_model(model.clip_model).name,
        weights=_absolute(model.weights),
        classes=_absolute(model.classes),
    )


def _absolute(source: str) -> str:
    """A file's absolute path; tags and random seeds stay as they are."""
    return str(Path(source).absolute()) if source and Path(source).is_file() else source
