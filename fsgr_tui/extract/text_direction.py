"""A text's embedding and the tower's last steps, written down so that others can hold stored tokens against the text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import EXIT_OK, BadRequest, MachineCannot
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.extraction import TextDirectionSpec
from fsgr_tui.core.language import tr
from fsgr_tui.extract.model import load_tower
from fsgr_tui.extract.text import embed
from fsgr_tui.features.joint import JointSpace, save_space, save_vector


def text_direction(spec: TextDirectionSpec, events: EventWriter, _stopper: Stopper) -> int:
    """Embed the text as it is, without a template, and write it and the tower's last steps down.

    Raises:
        BadRequest: the weights are not those that the features were made with.
        MachineCannot: the weights are not here, or the folder cannot be written.
    """
    loaded = load_tower(spec.model, with_text=True)
    if loaded.sha256 != spec.weights_sha256:
        raise BadRequest(
            tr(
                "{weights} are not the weights that the features were made with: sha256 {found}, not {wanted}.",
                weights=spec.model.weights, found=loaded.sha256[:12], wanted=spec.weights_sha256[:12],
            ),
            tr("Name those weights with --weights."),
        )  # fmt: skip
    visual = loaded.visual
    norm = visual.ln_post
    space = JointSpace(_numbers(norm.weight), _numbers(norm.bias), float(norm.eps), _numbers(visual.proj))  # type: ignore[union-attr, arg-type]  # a ViT of open_clip
    vector = _numbers(embed([spec.text], loaded, ("{}",))[0])
    try:
        for path in (spec.space, spec.vector):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_space(Path(spec.space), space)
        save_vector(Path(spec.vector), vector)
    except OSError as error:
        raise MachineCannot(
            tr("{path} cannot be written: {reason}.", path=spec.vector, reason=error.strerror),
            tr("Name another cache folder by XDG_CACHE_HOME."),
        ) from None
    events.result("text-direction", {"vector": spec.vector, "width": len(vector)})
    return EXIT_OK


def _numbers(values: Tensor) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = values.detach().float().cpu().numpy().astype(np.float64)
    return numbers
