"""A folder of `{id}.pt`, each a bare tensor as `torch.save` writes it; read with `weights_only=True`, so that nothing runs."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.features.formats.files import FolderRows, FolderSink
from fsgr_tui.features.formats.rows import Content, Format

SUFFIX = ".pt"


def load_row(path: Path) -> NDArray[np.generic]:
    """The tensor of a file.

    Raises:
        FoundFaults: the file is damaged, holds no bare tensor, or one of a type that NumPy lacks (bfloat16).
    """
    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    # A truncated or foreign file shows as any of these, depending on its bytes.
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise FoundFaults(f"{path} cannot be read: {first}", "Make it again with torch.save(tensor, path).") from None
    if not isinstance(tensor, torch.Tensor):
        raise FoundFaults(f"{path} holds a {type(tensor).__name__}, not a bare tensor.", "Save the tensor alone.")
    try:
        row: NDArray[np.generic] = tensor.detach().numpy()
    except TypeError:
        raise FoundFaults(
            f"{path} holds {tensor.dtype}, which NumPy lacks.", "Save it as float16 or float32."
        ) from None
    return row


def save_row(path: Path, row: NDArray[np.generic]) -> None:
    """Write a file. A full disk shows as an OSError that way; torch's own writer would say something else."""
    body = io.BytesIO()
    torch.save(torch.from_numpy(row), body)
    path.write_bytes(body.getvalue())


def _open(path: Path) -> FolderRows:
    return FolderRows(path, SUFFIX, load_row)


def _create(path: Path, content: Content) -> FolderSink:
    return FolderSink(path, content, SUFFIX, save_row)


PT = Format("pt", _open, _create)
