"""What speaks against a command for a lab's script: its flags, its GPU, and what its field and model can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core import preflight_lab as rules
from fsgr_tui.core.lab import Checkout, GivenFlag, plain_name
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.preflight import Finding
from fsgr_tui.core.training import Mode
from fsgr_tui.core.units import few
from fsgr_tui.lab.command import HDF5_FLAG, LabCommand
from fsgr_tui.lab.model import FEATURE_KEY, ModelFacts
from fsgr_tui.service.preflight_data import stored_tokens

_DEVICE = mark("GPU chosen by the script")


def flag_findings(checkout: Checkout, given: Sequence[GivenFlag], integrate: str) -> list[Finding]:
    """As the preflight says it, but what the guide's own flag needs."""
    rows = rules.flag_findings(checkout, given)
    return [
        msgspec.structs.replace(
            row,
            needed=tr("a flag that the guide's command has and the published script has not"),
            remedy=integrate,
        )
        if row.subject.replace("-", "_") == HDF5_FLAG.replace("-", "_") and row.verdict != "ok"
        else row
        for row in rows
    ]


def lost_device(checkout: Checkout, env: Mapping[str, str], device: str) -> list[Finding]:
    """Whether the script overwrites the GPU that was asked for."""
    wanted = env.get("CUDA_VISIBLE_DEVICES")
    return [
        _stop(
            tr(_DEVICE), tr("{place} sets CUDA_VISIBLE_DEVICES to {text!r}; --device {device} would be lost", place=place, text=place.text, device=device), tr("the GPU that you choose"),
            tr("Write os.environ.setdefault('CUDA_VISIBLE_DEVICES', {text!r}) there, or leave --device out.", text=place.text),
        )
        for place in checkout.device_lines[:1]
        if wanted not in (None, place.text)
    ]  # fmt: skip


def own_device(checkout: Checkout) -> list[Finding]:
    """The script's choice of a GPU, where no preflight looks at the GPUs."""
    return [
        Finding(
            tr(_DEVICE), tr("{place} sets CUDA_VISIBLE_DEVICES to {text!r}, whatever is set outside", place=place, text=place.text), verdict="warn",
            remedy=tr("Every run goes to that GPU. os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0') there would leave the "
"choice to you."),
        )
        for place in checkout.device_lines[:1]
    ]  # fmt: skip


def model_findings(
    checkout: Checkout, model: ModelFacts, command: LabCommand, mode: Mode, integrate: str
) -> list[Finding]:
    """Whether field and model of the checkout can do what the mode asks of them.

    Args:
        integrate: what to do where the field reads no feature files.
    """
    declared = checkout.flag("--features_path")
    features = value_of(command.flags, "features-path") or (declared.default if declared else "")
    if not features:
        needed = tr("the .hdf5 file") if mode == "precomputed" else tr("the image folder")
        return [
            _stop("--features_path", tr("not given"), needed, tr("Add --features_path with {needed}.", needed=needed))
        ]
    rows = _pair_findings(model, command)
    if mode == "realtime":
        if features.endswith((".hdf5", ".h5")):
            rows.append(
                _stop(
                    "--features_path",
                    tr("{features} is a feature file", features=features),
                    tr("the image folder"),
                    tr("Use --mode precomputed."),
                )
            )
        return rows
    if Path(features).is_dir() or not features.endswith(".hdf5"):
        rows.append(
            _stop(
                "--features_path",
                features,
                tr("a feature file that ends in .hdf5"),
                tr("A folder of images is for --mode realtime."),
            )
        )
    if not model.reads_grids:
        rows.append(
            _stop(
                tr("reading HDF5"), tr("no module that {script} imports asks for a key that ends in {feature_key}", script=checkout.script, feature_key=FEATURE_KEY), tr("a field that does"),
                integrate,
            )
        )  # fmt: skip
    if model.clip_lines:
        rows.append(
            _stop(
                tr("the model"), tr("it runs CLIP itself, on pictures: {places}", places=few([f"{place} ({place.text})" for place in model.clip_lines])),
                tr("a model that takes features (tokens, width)"),
                tr("This checkout cannot train on precomputed features without a change of its model. Use --mode realtime, "
"or let those lines take what the field gives."),
            )
        )  # fmt: skip
    elif model.clip_choices:
        rows.append(
            Finding(
                tr("the model"), tr("it runs CLIP under a condition: {places}", places=few(model.clip_choices)), tr("features are passed by it"), "warn",
                tr("Look whether that condition leaves features out."),
            )
        )  # fmt: skip
    rows += [
        msgspec.structs.replace(row, blame="request")
        for row in rules.grid_findings(checkout, stored_tokens(Path(features)))
    ]
    return rows


def _pair_findings(model: ModelFacts, command: LabCommand) -> list[Finding]:
    """Loops that take a sample for a pair, where the field gives three values: they fail at the first evaluation."""
    if not model.pair_lines or not model.gives_three or has_flag(command.flags, "--return_index"):
        return []
    return [
        _stop(
            "evaluation", tr("{places} takes a sample for a pair, and without labels the field gives three values ({gives_three})", places=few([f"{place} ({place.text})" for place in model.pair_lines]), gives_three=few(model.gives_three)), tr("the same number"),
            tr("It would end at the first evaluation. Take three there: (image_ids, images, _); or train with "
"--return_index and --labels_path."),
        )
    ]  # fmt: skip


def _stop(what: str, found: str, needed: str, remedy: str) -> Finding:
    return Finding(what, found, needed, "stop", remedy, "request")


def value_of(given: Sequence[GivenFlag], name: str) -> str:
    """The value of a flag, by its name with hyphens; empty when it was not given."""
    return next((flag.values[0] for flag in given if flag.plain == name and flag.values), "")


def has_flag(given: Sequence[GivenFlag], name: str) -> bool:
    """Whether a flag was given."""
    return any(flag.plain == plain_name(name) for flag in given)
