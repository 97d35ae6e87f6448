"""Class names to text embeddings: the tensor that the FSGR script loads, and what patch labels are told apart by."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import EXIT_OK, BadRequest, MachineCannot
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.extraction import ModelChoice, TextEmbedSpec
from fsgr_tui.core.language import tr
from fsgr_tui.extract.model import LoadedTower, load_tower

LEAST_CLASSES = 20
"""The FSGR script takes the twenty nearest classes of an image, so fewer rows break it."""

FIELD_WIDTH = 512
"""What the FSGR script expects of a class: the shared space of ViT-B/16 and ViT-B/32."""

_BATCH = 64
_TENSOR_SUFFIXES = (".pt", ".pth", ".npy")


def text_embed(spec: TextEmbedSpec, events: EventWriter, stopper: Stopper) -> int:
    """Write the embeddings of class names as a bare float32 tensor (classes, embed_dim).

    Raises:
        BadRequest: the file of names is missing or empty, or the output exists.
        MachineCannot: the output cannot be written.
    """
    output = Path(spec.output)
    if output.exists() and not spec.overwrite:
        raise BadRequest(tr("{output} exists already.", output=output), tr("Use --overwrite to replace it."))
    names = read_names(Path(spec.classes))
    loaded = load_tower(spec.model, with_text=True)
    for notice in loaded.notices:
        events.notice(notice)
    events.phase("text-embed", len(names), "classes")
    rows = []
    for start in range(0, len(names), _BATCH):
        if stopper():
            return stopper.exit_code
        rows.append(embed(names[start : start + _BATCH], loaded, spec.templates))
        events.progress(min(start + _BATCH, len(names)), len(names))
    embeddings = torch.cat(rows)
    if len(names) < LEAST_CLASSES:
        events.warning(tr("{n} classes: the FSGR script needs at least {least}.", n=len(names), least=LEAST_CLASSES))
    if embeddings.shape[1] != FIELD_WIDTH:
        events.warning(
            tr(
                "{width} channels: the FSGR script expects {expected} (ViT-B/16 or ViT-B/32).",
                width=embeddings.shape[1],
                expected=FIELD_WIDTH,
            )
        )
    _save_whole(embeddings, output)
    events.result("text-embed", {"output": str(output), "classes": len(names), "width": embeddings.shape[1]})
    return EXIT_OK


@torch.inference_mode()
def embed(names: Sequence[str], loaded: LoadedTower, templates: Sequence[str] = ()) -> Tensor:
    """Unit text embeddings of names, averaged over templates.

    Args:
        templates: sentences with {}; empty for OpenAI's seven best.

    Returns:
        float32 (names, embed_dim), each of length one.
    """
    sentences = [template.replace("{}", "%s") for template in templates] or _SENTENCES
    tokenizer = open_clip.get_tokenizer(loaded.tower.name)
    rows = []
    for name in names:
        # A name may hold percent signs or braces; it is put in as it is.
        tokens = tokenizer([sentence.replace("%s", name) for sentence in sentences])
        embedded = functional.normalize(loaded.model.encode_text(tokens).float(), dim=-1)
        rows.append(functional.normalize(embedded.mean(0), dim=-1))
    return torch.stack(rows)


_SENTENCES = [template("%s") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES]


def class_embeddings(choice: ModelChoice, loaded: LoadedTower) -> Tensor:
    """The embeddings that patch labels index: a tensor file as it is, or a file of names through the text tower.

    Returns:
        float32 (classes, embed_dim).

    Raises:
        BadRequest: no file was named, or it does not fit the tower.
    """
    if not choice.classes:
        raise BadRequest(
            tr("--stage labels needs --classes."), tr("Name a file of text embeddings, or of class names, one a line.")
        )
    path = Path(choice.classes)
    if path.suffix not in _TENSOR_SUFFIXES:
        return embed(read_names(path), loaded)
    embeddings = read_embeddings(path)
    if embeddings.shape[1] != loaded.tower.embed_dim:
        raise BadRequest(
            tr(
                "{path} holds embeddings of width {shape}; {name} has {embed_dim}.",
                path=path,
                shape=embeddings.shape[1],
                name=loaded.tower.name,
                embed_dim=loaded.tower.embed_dim,
            ),
            tr("Make them with the same model: fsgr-tui text-embed."),
        )
    return embeddings


def read_names(path: Path) -> list[str]:
    """Class names, one a line, empty lines left out.

    Raises:
        BadRequest: there is no such file, it is no UTF-8 text, or it is empty.
    """
    try:
        names = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise BadRequest(
            tr("{path} cannot be read: {reason}.", path=path, reason=error.strerror),
            tr("Name a text file with one class a line."),
        ) from None
    except UnicodeDecodeError:
        raise BadRequest(
            tr("{path} is no UTF-8 text.", path=path), tr("Name a text file with one class a line.")
        ) from None
    if not names:
        raise BadRequest(tr("{path} names no class.", path=path), tr("Write one class a line."))
    return names


def read_embeddings(path: Path) -> Tensor:
    """A bare tensor (classes, width).

    Raises:
        BadRequest: the file is missing, damaged, or holds something else; a dictionary is named as such.
    """
    try:
        found: Any = (
            torch.from_numpy(np.load(path, allow_pickle=False))
            if path.suffix == ".npy"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # noqa: BLE001 - torch and numpy raise a dozen kinds for damaged files
        raise BadRequest(
            tr("{path} cannot be read as a tensor: {told}.", path=path, told=str(error).splitlines()[0]),
            tr("Make it with fsgr-tui text-embed."),
        ) from None
    if isinstance(found, dict):
        raise BadRequest(
            tr(
                "{path} holds a dictionary ({found}), not a tensor.",
                path=path,
                found=", ".join(map(str, list(found)[:4])),
            ),
            tr("The FSGR script takes a bare tensor (classes, width): save that alone."),
        )
    if not isinstance(found, Tensor) or found.ndim != 2:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise BadRequest(
            tr("{path} holds {shape}, not a tensor (classes, width).", path=path, shape=shape),
            tr("Make it with fsgr-tui text-embed."),
        )
    return found.float()


def _save_whole(embeddings: Tensor, output: Path) -> None:
    draft = output.with_name(f".{output.name}.tmp")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            torch.save(embeddings, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(output)
    except OSError as error:
        raise MachineCannot(
            tr("{output} cannot be written: {reason}.", output=output, reason=error.strerror),
            tr("Choose another --output."),
        ) from None
