"""The strongest check: extract some images again and compare with what a file holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import EXIT_FOUND_FAULTS, EXIT_OK, FoundFaults
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.extraction import RECOMPUTE_COSINE, RECOMPUTE_LIMIT, RecomputeSpec
from fsgr_tui.core.language import tr
from fsgr_tui.extract.encoder import make_any_encoder, manifest_of
from fsgr_tui.extract.pixels import UnreadableImage, load_picture
from fsgr_tui.features.images import read_image_list
from fsgr_tui.features.manifest import GLOBAL, differences
from fsgr_tui.features.reader import FeatureFile


def recompute(spec: RecomputeSpec, events: EventWriter, stopper: Stopper) -> int:
    """Extract the listed images again, one by one, and compare: same tokens, same pooling, same precision.

    Class tokens that lie beside the rows are held to the same limits.

    Returns:
        0 when every image is within the limits, 1 otherwise.

    Raises:
        FoundFaults: the file's identity is not that of the model, so that a comparison would mean nothing.
    """
    images = read_image_list(Path(spec.images_file))
    stored = FeatureFile(spec.features)
    encoder = make_any_encoder(spec.model)
    if stored.manifest is not None:
        changed = differences(manifest_of(encoder, spec.model).identity(), stored.manifest.identity())
        if changed:
            told = tr("; ").join(
                tr("{name}: {theirs} in the file, {ours} here", name=name, theirs=theirs, ours=ours)
                for name, (ours, theirs) in changed.items()
            )
            raise FoundFaults(
                tr("Not comparable: {told}.", told=told), tr("Give the model and weights that the file was made with.")
            )
    tokens = FeatureFile(spec.features, GLOBAL) if spec.model.global_token else None
    events.phase("recompute", len(images), "images")
    rows = []
    for number, image in enumerate(images, 1):
        if stopper():
            return stopper.exit_code
        try:
            picture = load_picture(image.path, encoder.shape.input_px, spec.model.resize, spec.model.backend)
        except UnreadableImage as refusal:
            events.refused(image.path, image.id, str(refusal))
            continue
        again, token_again = encoder.encode(torch.from_numpy(picture.pixels.copy())[None]).result()
        rows.append({"id": image.id, **_distance(stored[image.id], again[0])})
        if tokens is not None and token_again is not None:
            rows.append({"id": image.id, **_distance(tokens[image.id], token_again[0])})
        events.progress(number, len(images))
    if not rows:
        raise FoundFaults(tr("None of the sampled images could be read."), tr("Look at the image folder."))
    limit = RECOMPUTE_LIMIT[encoder.precision]
    if stored.manifest is None:
        # A file that tells nothing may have been made in half precision.
        limit = max(limit, RECOMPUTE_LIMIT["fp16"])
    worst = max(rows, key=lambda row: row["relative_l2"])
    good = worst["relative_l2"] <= limit and min(row["cosine"] for row in rows) >= RECOMPUTE_COSINE
    events.result(
        "recompute",
        {
            "images": len({row["id"] for row in rows}),
            "precision": encoder.precision,
            "limit_relative_l2": limit,
            "limit_cosine": RECOMPUTE_COSINE,
            "worst_relative_l2": worst["relative_l2"],
            "worst_id": worst["id"],
            "least_cosine": min(row["cosine"] for row in rows),
            "largest_difference": max(row["largest"] for row in rows),
            "good": good,
        },
    )
    return EXIT_OK if good else EXIT_FOUND_FAULTS


def _distance(stored: NDArray[np.generic], again: NDArray[np.generic]) -> dict[str, float]:
    """Relative L2 and cosine of whole rows, and the largest difference of one value."""
    if stored.shape != again.shape:
        raise FoundFaults(
            tr("Not comparable: rows of {shape} in the file, {shape2} here.", shape=stored.shape, shape2=again.shape),
            tr("Give the file's own grid."),
        )
    ours, theirs = again.astype(np.float64).ravel(), stored.astype(np.float64).ravel()
    norm = float(np.linalg.norm(ours))
    both = norm * float(np.linalg.norm(theirs))
    return {
        "relative_l2": float(np.linalg.norm(ours - theirs)) / norm if norm else float("inf"),
        "cosine": float(ours @ theirs) / both if both else 0.0,
        "largest": float(np.abs(ours - theirs).max()),
    }
