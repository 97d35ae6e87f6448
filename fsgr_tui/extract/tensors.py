"""A folder of `{id}.pt`, each a bare tensor as `torch.save` writes it, and `{id}_global.pt` for class tokens.

They are read with `weights_only=True`, so that nothing runs.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fsgr_tui.core.errors import FoundFaults
from fsgr_tui.core.language import tr
from fsgr_tui.features.formats.files import FileKind, FolderRows, FolderSink, class_token_path
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
        raise FoundFaults(
            tr("{path} cannot be read: {first}", path=path, first=first),
            tr("Make it again with torch.save(tensor, path)."),
        ) from None
    if not isinstance(tensor, torch.Tensor):
        raise FoundFaults(
            tr("{path} holds a {name}, not a bare tensor.", path=path, name=type(tensor).__name__),
            tr("Save the tensor alone."),
        )
    try:
        row: NDArray[np.generic] = tensor.detach().numpy()
    except TypeError:
        raise FoundFaults(
            tr("{path} holds {dtype}, which NumPy lacks.", path=path, dtype=tensor.dtype),
            tr("Save it as float16 or float32."),
        ) from None
    return row


def load_class_token(path: Path) -> NDArray[np.generic] | None:
    """The class token that belongs to the row in a file; None when it has no file.

    Raises:
        FoundFaults: as `load_row`.
    """
    beside = class_token_path(path)
    return load_row(beside) if beside.is_file() else None


def save(path: Path, row: NDArray[np.generic], class_token: NDArray[np.generic] | None) -> None:
    """Write a row, and its class token into a file of its own: loaders of this kind expect a bare tensor."""
    _save(path, row)
    if class_token is not None:
        _save(class_token_path(path), class_token)


def _save(path: Path, row: NDArray[np.generic]) -> None:
    # A full disk shows as an OSError that way; torch's own writer would say something else.
    body = io.BytesIO()
    torch.save(torch.from_numpy(row), body)
    path.write_bytes(body.getvalue())


KIND = FileKind(SUFFIX, load_row, load_class_token, save)


def _open(path: Path) -> FolderRows:
    return FolderRows(path, KIND)


def _create(path: Path, content: Content) -> FolderSink:
    return FolderSink(path, content, KIND)


PT = Format("pt", _open, _create)
