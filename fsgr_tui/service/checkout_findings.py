"""What speaks against a command for a lab's script: its flags, its GPU, and what its field and model can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core import preflight_lab as rules
from fsgr_tui.core.lab import Checkout, GivenFlag, plain_name
from fsgr_tui.core.preflight import Finding
from fsgr_tui.core.training import Mode
from fsgr_tui.core.units import few
from fsgr_tui.lab.command import HDF5_FLAG, LabCommand
from fsgr_tui.lab.model import FEATURE_KEY, ModelFacts
from fsgr_tui.service.preflight_data import stored_tokens

_DEVICE = "GPU chosen by the script"


def flag_findings(checkout: Checkout, given: Sequence[GivenFlag], integrate: str) -> list[Finding]:
    """As the preflight says it, but what the guide's own flag needs."""
    rows = rules.flag_findings(checkout, given)
    return [
        msgspec.structs.replace(
            row,
            needed="a flag that the guide's command has and the published script has not",
            remedy=integrate,
        )
        if row.what.replace("-", "_").endswith(HDF5_FLAG.replace("-", "_")) and row.verdict != "ok"
        else row
        for row in rows
    ]


def lost_device(checkout: Checkout, env: Mapping[str, str], device: str) -> list[Finding]:
    """Whether the script overwrites the GPU that was asked for."""
    wanted = env.get("CUDA_VISIBLE_DEVICES")
    return [
        _stop(
            _DEVICE, f"{place} sets CUDA_VISIBLE_DEVICES to {place.text!r}; --device {device} would be lost", "the GPU that you choose",
            f"Write os.environ.setdefault('CUDA_VISIBLE_DEVICES', {place.text!r}) there, or leave --device out.",
        )
        for place in checkout.device_lines[:1]
        if wanted not in (None, place.text)
    ]  # fmt: skip


def own_device(checkout: Checkout) -> list[Finding]:
    """The script's choice of a GPU, where no preflight looks at the GPUs."""
    return [
        Finding(
            _DEVICE, f"{place} sets CUDA_VISIBLE_DEVICES to {place.text!r}, whatever is set outside", verdict="warn",
            remedy="Every run goes to that GPU. os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0') there would leave the choice to you.",
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
        needed = "the .hdf5 file" if mode == "precomputed" else "the image folder"
        return [_stop("--features_path", "not given", needed, f"Add --features_path with {needed}.")]
    rows = _pair_findings(model, command)
    if mode == "realtime":
        if features.endswith((".hdf5", ".h5")):
            rows.append(
                _stop("--features_path", f"{features} is a feature file", "the image folder", "Use --mode precomputed.")
            )
        return rows
    if Path(features).is_dir() or not features.endswith(".hdf5"):
        rows.append(
            _stop(
                "--features_path",
                features,
                "a feature file that ends in .hdf5",
                "A folder of images is for --mode realtime.",
            )
        )
    if not model.reads_grids:
        rows.append(
            _stop(
                "reading HDF5", f"no module that {checkout.script} imports asks for a key that ends in {FEATURE_KEY}", "a field that does",
                integrate,
            )
        )  # fmt: skip
    if model.clip_lines:
        rows.append(
            _stop(
                "the model", "it runs CLIP itself, on pictures: " + few([f"{place} ({place.text})" for place in model.clip_lines]),
                "a model that takes features (tokens, width)",
                "This checkout cannot train on precomputed features without a change of its model. Use --mode realtime, or let those lines "
                "take what the field gives.",
            )
        )  # fmt: skip
    elif model.clip_choices:
        rows.append(
            Finding(
                "the model", "it runs CLIP under a condition: " + few(model.clip_choices), "features are passed by it", "warn",
                "Look whether that condition leaves features out.",
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
            "evaluation", f"{few([f'{place} ({place.text})' for place in model.pair_lines])} takes a sample for a pair, and without labels the "
            f"field gives three values ({few(model.gives_three)})", "the same number",
            "It would end at the first evaluation. Take three there: (image_ids, images, _); or train with --return_index and --labels_path.",
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
