"""Training with a lab's own checkout: its command is built, looked at as a whole, and run under the runner."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from fsgr_tui.core import preflight_lab as rules
from fsgr_tui.core.coco import KARPATHY_SPLITS
from fsgr_tui.core.errors import BadRequest, Problem
from fsgr_tui.core.lab import GivenFlag
from fsgr_tui.core.language import tr
from fsgr_tui.core.pasted import given_flags, is_cut_off
from fsgr_tui.core.preflight import Finding, PreflightReport
from fsgr_tui.core.training import Mode
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, new_run
from fsgr_tui.lab.command import HDF5_FLAG, lab_command
from fsgr_tui.lab.model import read_model
from fsgr_tui.lab.pythons import FoundPython, environment_programs, find_pythons
from fsgr_tui.probes.interpreter import probe_interpreter
from fsgr_tui.probes.java import probe_java
from fsgr_tui.service import checkout_findings as findings
from fsgr_tui.service.integration import read_checkout
from fsgr_tui.service.preflight import LOCAL, Probes
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
        env: variables set for it; programs: a folder that is put before PATH: that of the lab's environment, where one
            exists, as its activation would do it.
        python_why: why this Python.
        added: flags that the guide's command has and the user did not give.
        report: all that was found; its stops speak against it.
    """

    mode: Mode
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    programs: str
    python_why: str
    added: tuple[str, ...]
    report: PreflightReport
    shown: tuple[str, ...] = ()
    schema: str = COMMAND_SCHEMA


def probes_of(python: str) -> Probes:
    """The machine as a script of that Python sees it: a Java of its environment comes before that of the system."""
    programs = environment_programs(Path(python))
    java = Path(programs, "java")
    return LOCAL._replace(java=partial(probe_java, str(java))) if programs and java.exists() else LOCAL


def examine_lab(lab: LabRequest) -> PreflightReport:
    """The preflight of a lab's training, on the machine as its script sees it."""
    return preflight_lab(lab, probes_of(lab.python) if lab.python else LOCAL)


def prepare(
    request: CheckoutRequest, examine: Callable[[LabRequest], PreflightReport] = examine_lab
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
    programs = environment_programs(python.path)
    env = _env(request.device)
    integrate = rules.integrate_remedy(str(root))
    rows = [
        *findings.flag_findings(checkout, command.flags, integrate),
        *rules.return_index_findings(command.flags),
        *findings.lost_device(checkout, env, request.device),
    ]
    told = rows + findings.model_findings(checkout, read_model(trees), command, mode, integrate)
    if request.preflight:
        lab = LabRequest(
            repo=str(root), script=checkout.script, python=str(python.path), given=command.flags, splits=request.splits
        )
        # What was said here already is said with the remedy for this command.
        own = {row.what for row in told}
        told += [row for row in examine(lab).findings if row.what not in own]
    else:
        told = rows + [_as_warning(row) for row in told[len(rows) :]] + _python_findings(python)
        told += findings.own_device(checkout) if not findings.lost_device(checkout, env, request.device) else []
    return PreparedCheckout(
        mode=mode,
        argv=command.argv(str(python.path), script.name),
        cwd=str(script.parent.absolute()),
        env=env,
        programs=programs,
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
    path = {"PATH": f"{prepared.programs}{os.pathsep}{os.environ.get('PATH', '')}"} if prepared.programs else {}
    control.start(run, "train", prepared.argv, prepared.shown, {**prepared.env, **path}, cwd=Path(prepared.cwd))
    return run


def _given(words: Sequence[str]) -> tuple[GivenFlag, ...]:
    if is_cut_off(tuple(words)):
        raise BadRequest(
            tr("The command was cut off: a blank or a comment follows a backslash at the end of a line."),
            tr(
                "Put comments on lines of their own; the guide's command for realtime training has one behind a "
                "backslash."
            ),
        )
    first = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
    if stray := words[:first]:
        raise BadRequest(
            tr("{stray!r} belongs to no flag.", stray=" ".join(stray)), tr("Flags for the script begin with --.")
        )
    return given_flags(tuple(words))


def _mode_of(given: Sequence[GivenFlag]) -> Mode:
    features = findings.value_of(given, "features-path") or findings.value_of(given, "image-root")
    if not features:
        raise BadRequest(
            tr("Neither --mode nor --features-path was given."),
            tr("A feature file trains precomputed, an image folder realtime."),
        )
    return "precomputed" if features.endswith((".hdf5", ".h5")) or findings.has_flag(given, HDF5_FLAG) else "realtime"


def _python(named: str, root: Path, beside: Path) -> FoundPython:
    if named:
        path = Path(named).expanduser()
        # Through PATH where it is a name alone; not through links, which lead out of an environment.
        return FoundPython(Path(shutil.which(path) or path).absolute(), "--python")
    own = Path(sys.prefix)
    found = [
        each for folder in dict.fromkeys((root, beside)) for each in find_pythons(folder, os.environ, Path.home(), own)
    ]
    if not found:
        raise BadRequest(
            tr("No Python of the lab was found for {root}.", root=root),
            tr(
                "Name it with --python, e.g. ~/miniconda3/envs/fsgr/bin/python. Looked for: an environment in the "
                "checkout (.venv, venv, env), a conda environment named as its environment.yml says or as the folder, "
                "and the active one."
            ),
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
            tr("--device {device} is none that a lab's script can be given.", device=device),
            tr("Use auto, cpu, or cuda:N (several with commas)."),
        )
    return {"CUDA_VISIBLE_DEVICES": "" if device == "cpu" else ",".join(numbers)}


def _as_warning(row: Finding) -> Finding:
    return msgspec.structs.replace(row, verdict="warn") if row.verdict == "stop" else row
