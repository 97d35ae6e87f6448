"""Training with a lab's own checkout: its command is built, looked at as a whole, and run under the runner."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core import preflight_lab as rules
from fsgr_tui.core.coco import KARPATHY_SPLITS
from fsgr_tui.core.errors import BadRequest, Problem
from fsgr_tui.core.lab import Checkout, GivenFlag
from fsgr_tui.core.pasted import given_flags, is_cut_off
from fsgr_tui.core.preflight import Finding, PreflightReport, few
from fsgr_tui.core.training import Mode
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, new_run
from fsgr_tui.lab.command import HDF5_FLAG, LabCommand, lab_command
from fsgr_tui.lab.model import FEATURE_KEY, ModelFacts, read_model
from fsgr_tui.lab.pythons import FoundPython, find_pythons
from fsgr_tui.probes.interpreter import probe_interpreter
from fsgr_tui.service.integration import read_checkout
from fsgr_tui.service.preflight_lab import LabRequest, preflight_lab

COMMAND_SCHEMA = "fsgr-tui/lab-command/1"


class CheckoutRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks for.

    Attributes:
        words: flags for the script, as typed.
        mode: None to tell from --features-path.
        script: relative to the checkout; empty for the usual names.
        python: empty to look for the lab's.
        device: auto, cpu, or cuda:N with commas.
        preflight: whether all that could stop the run is looked for first.
    """

    repo: str
    words: tuple[str, ...] = ()
    mode: Mode | None = None
    script: str = ""
    python: str = ""
    device: str = "auto"
    splits: tuple[str, ...] = KARPATHY_SPLITS
    preflight: bool = True
    shown: tuple[str, ...] = ()


class PreparedCheckout(msgspec.Struct, frozen=True):
    """A command that could be started.

    Attributes:
        argv: program, script, flags; cwd: where it runs: the script's folder, which its own relative paths start from.
        env: variables set for it.
        python_why: why this Python.
        added: flags that the guide's command has and the user did not give.
        report: all that was found; its stops speak against it.
    """

    mode: Mode
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    python_why: str
    added: tuple[str, ...]
    report: PreflightReport
    shown: tuple[str, ...] = ()
    schema: str = COMMAND_SCHEMA


def prepare(
    request: CheckoutRequest, examine: Callable[[LabRequest], PreflightReport] = preflight_lab
) -> PreparedCheckout:
    """Build the command, and look at everything that could stop or spoil it.

    Args:
        examine: the preflight of a lab's training.

    Raises:
        BadRequest: there is no checkout, no Python for it, or the words are no flags.
    """
    given = _given(request.words)
    root = Path(request.repo).expanduser()
    checkout, trees = read_checkout(root, request.script)
    script = root / checkout.script
    mode = request.mode or _mode_of(given)
    command = lab_command(checkout, mode, given, (Path.cwd(), script.parent))
    python = _python(request.python, root, script.parent)
    env = _env(request.device)
    integrate = (
        f"fsgr-tui integrate {shlex.quote(str(root))} shows the change that it needs, and makes it with --apply."
    )
    rows = [
        *_flag_findings(checkout, command.flags, integrate),
        *rules.return_index_findings(command.flags),
        *_device_findings(checkout, env, request.device),
    ]
    told = rows + _model_findings(checkout, read_model(trees), command, mode, integrate)
    if request.preflight:
        lab = LabRequest(
            repo=str(root), script=checkout.script, python=str(python.path), given=command.flags, splits=request.splits
        )
        # What was said here already is said with the remedy for this command.
        own = {row.what for row in told}
        told += [row for row in examine(lab).findings if row.what not in own]
    else:
        told = rows + [_as_warning(row) for row in told[len(rows) :]] + _python_findings(python)
    return PreparedCheckout(
        mode=mode,
        argv=command.argv(str(python.path), script.name),
        cwd=str(script.parent.absolute()),
        env=env,
        python_why=python.why,
        added=tuple(" ".join((flag.name, *flag.values)) for flag in command.added),
        report=PreflightReport.of("train", told),
        shown=request.shown,
    )


def start(prepared: PreparedCheckout) -> RunFolder:
    """Start a prepared command as a job; its log is all that it tells."""
    run = new_run("train")
    if run.adopted:
        # This very process becomes the script.
        os.chdir(prepared.cwd)
    control.start(run, "train", prepared.argv, prepared.shown, prepared.env, cwd=Path(prepared.cwd))
    return run


def _given(words: Sequence[str]) -> tuple[GivenFlag, ...]:
    if is_cut_off(tuple(words)):
        raise BadRequest(
            "The command was cut off: a blank or a comment follows a backslash at the end of a line.",
            "Put comments on lines of their own; the guide's command for realtime training has one behind a backslash.",
        )
    first = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
    if stray := words[:first]:
        raise BadRequest(f"{' '.join(stray)!r} belongs to no flag.", "Flags for the script begin with --.")
    return given_flags(tuple(words))


def _mode_of(given: Sequence[GivenFlag]) -> Mode:
    features = _value(given, "features-path") or _value(given, "image-root")
    if not features:
        raise BadRequest(
            "Neither --mode nor --features-path was given.",
            "A feature file trains precomputed, an image folder realtime.",
        )
    return "precomputed" if features.endswith((".hdf5", ".h5")) or _has(given, HDF5_FLAG) else "realtime"


def _python(named: str, root: Path, beside: Path) -> FoundPython:
    if named:
        path = Path(named).expanduser()
        return FoundPython(path.absolute() if os.sep in named else path, "--python")
    own = Path(sys.prefix)
    found = [
        each for folder in dict.fromkeys((root, beside)) for each in find_pythons(folder, os.environ, Path.home(), own)
    ]
    if not found:
        raise BadRequest(
            f"No Python of the lab was found for {root}.",
            "Name it with --python, e.g. ~/miniconda3/envs/fsgr/bin/python. Looked for: an environment in the checkout (.venv, venv, "
            "env), a conda environment named as its environment.yml says or as the folder, and the active one.",
        )
    first = found[0]
    return FoundPython(first.path.absolute(), first.why)


def _python_findings(python: FoundPython) -> list[Finding]:
    """Whether the Python is one; all that is looked at without a preflight."""
    try:
        probe_interpreter(str(python.path), ())
    except Problem as problem:
        return [Finding("Python", problem.what, verdict="stop", remedy=problem.fix, blame="request")]
    return []


def _env(device: str) -> dict[str, str]:
    if device == "auto":
        return {}
    numbers = [part.removeprefix("cuda:") for part in device.split(",")]
    if device != "cpu" and not all(number.isdigit() for number in numbers):
        raise BadRequest(
            f"--device {device} is none that a lab's script can be given.",
            "Use auto, cpu, or cuda:N (several with commas).",
        )
    return {"CUDA_VISIBLE_DEVICES": "" if device == "cpu" else ",".join(numbers)}


def _flag_findings(checkout: Checkout, given: Sequence[GivenFlag], integrate: str) -> list[Finding]:
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


def _device_findings(checkout: Checkout, env: Mapping[str, str], device: str) -> list[Finding]:
    """Whether the script lets the GPU be chosen."""
    if not checkout.device_lines:
        return []
    place = checkout.device_lines[0]
    wanted = env.get("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES"))
    if wanted in (None, place.text):
        return [
            Finding(
                "GPU chosen by the script", f"{place} sets CUDA_VISIBLE_DEVICES to {place.text!r}, whatever is set outside", verdict="warn",
                remedy="Every run goes to that GPU. os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0') would leave the choice to you.",
            )
        ]  # fmt: skip
    asked = f"--device {device}" if env else f"CUDA_VISIBLE_DEVICES={wanted}"
    return [
        Finding(
            "GPU chosen by the script", f"{place} sets CUDA_VISIBLE_DEVICES to {place.text!r}; {asked} would be lost", "the GPU that you choose",
            "stop", f"Write os.environ.setdefault('CUDA_VISIBLE_DEVICES', {place.text!r}) there, or ask for no other GPU.", "request",
        )
    ]  # fmt: skip


def _model_findings(
    checkout: Checkout, model: ModelFacts, command: LabCommand, mode: Mode, integrate: str
) -> list[Finding]:
    declared = checkout.flag("--features_path")
    features = _value(command.flags, "features-path") or (declared.default if declared else "")
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
        msgspec.structs.replace(row, blame="request") for row in rules.grid_findings(checkout, _tokens(Path(features)))
    ]
    return rows


def _pair_findings(model: ModelFacts, command: LabCommand) -> list[Finding]:
    """Loops that take a sample for a pair, where the field gives three values: they fail at the first evaluation."""
    if not model.pair_lines or not model.gives_three or _has(command.flags, "--return_index"):
        return []
    return [
        _stop(
            "evaluation", f"{few([f'{place} ({place.text})' for place in model.pair_lines])} takes a sample for a pair, and without labels the "
            f"field gives three values ({few(model.gives_three)})", "the same number",
            "It would end at the first evaluation. Take three there: (image_ids, images, _); or train with --return_index and --labels_path.",
        )
    ]  # fmt: skip


def _tokens(features: Path) -> int | None:
    try:
        shape = FeatureFile(features).row_shape
    except Problem:
        return None
    return int(shape[0]) if len(shape) == 2 else None


def _stop(what: str, found: str, needed: str, remedy: str) -> Finding:
    return Finding(what, found, needed, "stop", remedy, "request")


def _as_warning(row: Finding) -> Finding:
    return msgspec.structs.replace(row, verdict="warn") if row.verdict == "stop" else row


def _value(given: Sequence[GivenFlag], name: str) -> str:
    return next((flag.values[0] for flag in given if _plain(flag.name) == name and flag.values), "")


def _has(given: Sequence[GivenFlag], name: str) -> bool:
    return any(_plain(flag.name) == _plain(name) for flag in given)


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")
