"""Weights files: what they are, and their tensors, without executing anything in them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import format_bytes


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint; nothing in it is executed.

    Raises:
        MachineCannot: the file is damaged, or holds objects that only unsafe loading could make.
        BadRequest: it holds no state dict.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(str(path))
        else:
            _require_torch_file(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error).lower() or "unsupported" in str(error).lower():
            raise MachineCannot(
                tr(
                    "{path} holds pickled Python objects besides tensors; loading them could run code, so it was not done.",
                    path=path,
                ),
                tr(
                    "Save its state dict alone, on a machine that trusts the file: torch.save(model.state_dict(), "
                    "'weights.pt')."
                ),
            ) from None
        raise _damaged(path, error) from None
    except Exception as error:  # noqa: BLE001 - torch and safetensors raise a dozen kinds for damaged files
        raise _damaged(path, error) from None
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not any(isinstance(value, torch.Tensor) for value in state.values()):
        raise BadRequest(tr("{path} holds no state dict.", path=path), tr("Give a file of model weights."))
    return {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, torch.Tensor)}


def _require_torch_file(path: Path) -> None:
    """Raise ValueError unless the file begins as torch's zip archives or its older pickles do."""
    with path.open("rb") as file:
        head = file.read(2)
    if head not in (b"PK", b"\x80\x02"):
        raise ValueError("it does not begin as a PyTorch file does")


def _damaged(path: Path, error: BaseException) -> MachineCannot:
    size = format_bytes(path.stat().st_size)
    return MachineCannot(
        tr("{path} ({size}) is not a whole weights file: {error}.", path=path, size=size, error=first_line(error)),
        tr("It may be cut off: compare its size with the source and copy it again."),
    )


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, as OpenAI ships its models."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def first_line(error: BaseException, line: int = 0) -> str:
    """One line of an error's text, the first by default."""
    lines = [text.strip() for text in str(error).splitlines() if text.strip()] or [type(error).__name__]
    return lines[min(line, len(lines) - 1)].rstrip(".")
