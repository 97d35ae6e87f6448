"""Tokens in the space that CLIP shares with text: which files' tokens can be brought there, and how alike a text they are."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from fsgr_tui.core.errors import BadRequest, FoundFaults
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.language import tr
from fsgr_tui.features.manifest import Manifest

Floats = NDArray[np.float64]

NORM, PROJECTION = "ln_post", "projection"
"""What the tower does behind a stage, before tokens meet texts: the final LayerNorm, then a matrix."""

_BEHIND: dict[str, tuple[str, ...]] = {
    "pre-ln_post": (NORM, PROJECTION),
    "post-ln_post": (PROJECTION,),
    "projected": (),
}
_PARTS = "ln_weight", "ln_bias", "ln_eps", "projection"


class JointSpace(msgspec.Struct, frozen=True):
    """The last steps of a vision tower, as its child process wrote them down.

    Attributes:
        ln_weight, ln_bias: of the final LayerNorm, (width,); ln_eps: its epsilon.
        projection: (width, embed_dim).
    """

    ln_weight: Floats
    ln_bias: Floats
    ln_eps: float
    projection: Floats

    def brought(self, tokens: Floats, stage: str) -> Floats:
        """Tokens (n, channels) of a stage in the shared space, (n, embed_dim)."""
        steps = _BEHIND[stage]
        if NORM in steps:
            centred = tokens - tokens.mean(-1, keepdims=True)
            scale = np.sqrt(np.square(centred).mean(-1, keepdims=True) + self.ln_eps)
            tokens = centred / scale * self.ln_weight + self.ln_bias
        return tokens @ self.projection if PROJECTION in steps else tokens


class TextDirection(msgspec.Struct, frozen=True):
    """A text in the shared space, and how tokens of one stage get there.

    Attributes:
        vector: the text's embedding, (embed_dim,).
        remarks: what a person should know before believing the map.
    """

    text: str
    vector: Floats
    space: JointSpace
    stage: str
    remarks: tuple[str, ...] = ()

    def similarity(self, tokens: Floats) -> Floats:
        """Cosine of each token (n, channels) to the text, (n,)."""
        # Infinite values are what a map has to show, not a reason for warnings.
        with np.errstate(all="ignore"):
            brought = self.space.brought(tokens, self.stage)
            norms = np.linalg.norm(brought, axis=-1) * np.linalg.norm(self.vector)
            cosines: Floats = brought @ self.vector / np.where(norms > 0, norms, 1)
        return cosines


def require_joint(path: Path, manifest: Manifest | None) -> Manifest:
    """The manifest of a file whose tokens can be held against texts.

    Raises:
        BadRequest: they cannot; the message says why.
    """
    if manifest is None:
        raise BadRequest(
            tr("{path} has no manifest, so nobody knows which CLIP could read a text for it.", path=path),
            tr("Only files that this program extracted can be held against a text."),
        )
    if manifest.stage in _BEHIND:
        return manifest
    why = {
        "labels": tr("It holds class indices, not tokens; the labels themselves tell what each patch resembles most."),
        "pixels": tr("It holds pictures, not tokens."),
        "last stage": tr(
            "A ResNet pools all places by attention before it projects, so no single place is comparable to text."
        ),
    }.get(manifest.stage, tr("It is not known how tokens of stage {stage} get there.", stage=manifest.stage))
    raise BadRequest(
        tr("The tokens of {path} cannot be brought into the space that CLIP shares with text.", path=path),
        tr("{why} Extract with a ViT at --stage projected, post-ln_post or pre-ln_post.", why=why),
    )


def remarks_on(manifest: Manifest, text: str) -> tuple[str, ...]:
    """What limits a map of such tokens towards a text, as sentences."""
    if manifest.weights.startswith("random:"):
        return (tr("The weights are untrained (random), so this map means nothing."),)
    told = [tr("CLIP was trained to match whole pictures: places of such a map are rough, and sometimes reversed.")]
    if manifest.stage == "pre-ln_post" and manifest.pooling != "none":
        told.append(tr("The tokens were averaged before the final LayerNorm, so the cosines are approximate."))
    if not text.isascii() and manifest.activation == "quick-gelu":
        # The activation that OpenAI's towers alone have, whatever file they came in.
        told.append(tr("OpenAI's text encoder learned from English; a text in English says more to it."))
    return tuple(told)


def save_space(path: Path, space: JointSpace) -> None:
    """Write a space whole.

    Raises:
        OSError: the file cannot be written.
    """
    body = io.BytesIO()
    np.savez(body, ln_weight=space.ln_weight, ln_bias=space.ln_bias, ln_eps=space.ln_eps, projection=space.projection)
    write_whole(path, body.getvalue())


def save_vector(path: Path, vector: Floats) -> None:
    """Write a text's embedding whole; OSError as `save_space`."""
    body = io.BytesIO()
    np.save(body, vector)
    write_whole(path, body.getvalue())


def read_direction(space: Path, vector: Path, text: str, manifest: Manifest) -> TextDirection:
    """What was saved.

    Raises:
        FoundFaults: a file is not there, damaged, or of another model than the manifest's.
    """
    try:
        with np.load(space, allow_pickle=False) as arrays:
            weight, bias, eps, projection = (arrays[name].astype(np.float64) for name in _PARTS)
        embedding = np.load(vector, allow_pickle=False).astype(np.float64)
        whole = (*projection.shape, manifest.width) == (*weight.shape, *embedding.shape, manifest.width)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise FoundFaults(
            tr("{path} cannot be used: {error}.", path=vector.parent, error=error), tr("Delete that folder.")
        ) from None
    if not whole:
        raise FoundFaults(tr("{path} holds another model's numbers.", path=vector.parent), tr("Delete that folder."))
    return TextDirection(
        text, embedding, JointSpace(weight, bias, float(eps), projection), manifest.stage, remarks_on(manifest, text)
    )
