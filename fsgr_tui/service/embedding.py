"""Text embeddings: refuse what can be refused, then start the job."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.extraction import ModelChoice, TextEmbedSpec
from fsgr_tui.core.language import tr
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, new_run
from fsgr_tui.service.model_choice import for_child, require_packages, require_weights


def start(
    model: ModelChoice,
    *,
    classes: str,
    output: str,
    templates: tuple[str, ...] = (),
    overwrite: bool = False,
    shown: tuple[str, ...] = (),
) -> RunFolder:
    """Start a job that embeds the class names of a file.

    Raises:
        BadRequest: a file is missing, the output exists, or a template has no place for the name.
        MissingExtra: torch is not installed.
    """
    require_packages("text-embed", ("torch", "open_clip"))
    child_model = for_child(model)
    require_weights(model.weights)
    if not Path(classes).is_file():
        raise BadRequest(tr("There is no file {classes}.", classes=classes), tr("Look at --classes."))
    if Path(output).exists() and not overwrite:
        raise BadRequest(
            tr("{output} exists already.", output=output), tr("Use --overwrite to replace it, or another --output.")
        )
    for template in templates:
        if "{}" not in template:
            raise BadRequest(
                tr("--template {template!r} has no place for the name.", template=template),
                tr("Write it like 'a photo of a {}.'."),
            )
    run = new_run("text-embed")
    spec = TextEmbedSpec(
        model=child_model,
        classes=str(Path(classes).absolute()),
        output=str(Path(output).absolute()),
        templates=templates,
        overwrite=overwrite,
    )
    child_spec = run.folder / "text-embed.json"
    child_spec.write_bytes(msgspec.json.encode(spec))
    control.start(run, "text-embed", (sys.executable, "-m", "fsgr_tui.extract", str(child_spec)), shown)
    return run
