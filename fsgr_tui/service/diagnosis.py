"""The doctor: what this machine and installation are, fit to be pasted into a bug report."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from fsgr_tui import __version__
from fsgr_tui.core.errors import Problem
from fsgr_tui.core.lab import Checkout, Interpreter, LoginSession
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.machine import Disk, Machine
from fsgr_tui.core.preflight import linger_remedy
from fsgr_tui.core.preflight_runtime import SPACY_MODEL, spacy_findings
from fsgr_tui.core.units import Unknown, format_bytes
from fsgr_tui.jobs.folder import RUNS_VARIABLE, runs_dir
from fsgr_tui.probes.interpreter import probe_interpreter
from fsgr_tui.probes.login import probe_login
from fsgr_tui.probes.nvml import installed_bindings
from fsgr_tui.service.markdown import grid, machine_rows
from fsgr_tui.service.planning import probe_machine
from fsgr_tui.service.privacy import Privacy

PACKAGES = (
    "textual",
    "rich",
    "click",
    "msgspec",
    "numpy",
    "h5py",
    "nvidia-ml-py",
    "torch",
    "torchvision",
    "open_clip_torch",
    "pillow",
)
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "HDF5_USE_FILE_LOCKING",
    "HF_HUB_OFFLINE",
    "SLURM_JOB_ID",
    "SLURM_CPUS_PER_TASK",
    "TERM",
    "LANG",
    "LC_ALL",
    "NO_COLOR",
    RUNS_VARIABLE,
)

Group = Literal["", "packages", "environment"]


class Reading(msgspec.Struct, frozen=True):
    """One row. Rows of a group are short, and are shown in one line."""

    what: str
    reading: str
    group: Group = ""


class Asked(NamedTuple):
    """What the doctor asks of the world; tests hand in others."""

    machine: Callable[[tuple[str, ...]], Machine] = probe_machine
    login: Callable[[], LoginSession] = probe_login
    bindings: Callable[[], tuple[str, ...]] = installed_bindings


HERE: Final = Asked()


def examine(*, python: str = "", hide_host: bool = False, asked: Asked = HERE) -> tuple[Reading, ...]:
    """All readings, without what names the user.

    Args:
        python: a lab's interpreter to be asked as well; empty for none.
        hide_host: take the machine's name out, too.

    Raises:
        BadRequest: `python` is no program.
    """
    with ThreadPoolExecutor(2, "doctor") as pool:
        login = pool.submit(asked.login)
        lab = pool.submit(_lab_rows, python) if python else None
        machine = asked.machine((str(Path.cwd()), str(runs_dir())))
        rows = [
            Reading("fsgr-tui", f"{__version__}, Python {platform.python_version()} ({platform.machine()})"),
            *_machine_rows(machine),
            *_login_rows(login.result()),
            Reading("java", shutil.which("java") or tr("not found (only METEOR, SPICE and the PTB tokenizer need it)")),
            *(lab.result() if lab else ()),
            *_binding_rows(asked.bindings()),
        ]
    rows += [Reading(package, _version(package), "packages") for package in PACKAGES]
    rows += [Reading(name, os.environ[name], "environment") for name in _VARIABLES if name in os.environ]
    privacy = Privacy.here(hide_host=hide_host)
    return tuple(Reading(privacy.cleaned(row.what), privacy.cleaned(row.reading), row.group) for row in rows)


def grouped(rows: tuple[Reading, ...]) -> list[tuple[str, str]]:
    """Rows for people: packages and variables in a line each, so that all of it fits on one screen."""
    lines = [(row.what, row.reading) for row in rows if not row.group]
    here = [f"{row.what} {row.reading}" for row in rows if row.group == "packages" and row.reading != _ABSENT]
    absent = [row.what for row in rows if row.group == "packages" and row.reading == _ABSENT]
    lines.append((tr("packages"), ", ".join(here)))
    if absent:
        lines.append((tr(_ABSENT), ", ".join(absent)))
    variables = [f"{row.what}={row.reading}" for row in rows if row.group == "environment"]
    return [*lines, (tr("environment"), ", ".join(variables) or tr("none of the variables that matter is set"))]


def page(rows: tuple[Reading, ...]) -> str:
    """The rows as a Markdown table."""
    return grid((tr("what"), tr("reading")), grouped(rows))


_ABSENT = mark("not installed")
"""In a row it stays as it is: it is what rows are told apart by."""


def _machine_rows(machine: Machine) -> list[Reading]:
    plain = machine_rows(msgspec.structs.replace(machine, disks=()))
    rows = [Reading(row[0] or "GPU", row[1]) for row in plain]
    if not isinstance(machine.gpu_report.driver, Unknown):
        rows.append(Reading(tr("driver"), machine.gpu_report.driver))
    names = (tr("working folder"), tr("run folders"))
    return rows + [
        Reading(name, f"{disk.path}: {_disk_words(disk)}") for name, disk in zip(names, machine.disks, strict=False)
    ]


def _disk_words(disk: Disk) -> str:
    if isinstance(disk.free_bytes, Unknown):
        free = str(disk.free_bytes)
    elif isinstance(disk.total_bytes, Unknown):
        free = tr("{free} free", free=format_bytes(disk.free_bytes))
    else:
        free = tr("{free} free of {total}", free=format_bytes(disk.free_bytes), total=format_bytes(disk.total_bytes))
    place = tr("{free} on {mount} ({filesystem})", free=free, mount=disk.mount, filesystem=disk.filesystem)
    if not disk.writable and not disk.silence:
        place = tr("{place}, NOT WRITABLE", place=place)
    quota = (
        disk.quota_bytes.why
        if isinstance(disk.quota_bytes, Unknown)
        else tr("quota leaves {free}", free=format_bytes(disk.quota_bytes))
    )
    inodes = (
        tr("inodes {reason}", reason=disk.inodes_free)
        if isinstance(disk.inodes_free, Unknown)
        else tr("{inodes:,} inodes free", inodes=disk.inodes_free)
    )
    return tr("; ").join((place, quota, inodes))


def _login_rows(session: LoginSession) -> list[Reading]:
    if session.kills is False:
        return [Reading(tr("log-out"), tr("jobs go on after it ({source})", source=session.source))]
    found = (
        tr("not known whether jobs go on: {reason}", reason=session.kills.why)
        if isinstance(session.kills, Unknown)
        else tr("ends all processes: KillUserProcesses ({source})", source=session.source)
    )
    if session.lingers is True:
        found = tr("{found}, enable-linger is on", found=found)
    return [Reading(tr("log-out"), tr("{found}. {remedy}", found=found, remedy=linger_remedy(session)))]


def _binding_rows(bindings: tuple[str, ...]) -> list[Reading]:
    """The package `pynvml` carries the same module as nvidia-ml-py, and whichever was installed last is imported."""
    if not any(binding.startswith("pynvml ") for binding in bindings):
        return []
    return [
        Reading(
            tr("warning"),
            tr(
                "The deprecated package pynvml is installed ({bindings}): pip uninstall pynvml; nvidia-ml-py stays.",
                bindings=", ".join(bindings),
            ),
        )
    ]


def _lab_rows(python: str) -> list[Reading]:
    wanted = ("torch", "h5py", "spacy", SPACY_MODEL)
    try:
        lab: Interpreter = probe_interpreter(python, wanted)
    except Problem as problem:
        if problem.exit_code == 2:
            raise
        return [Reading(tr("lab's Python"), f"{problem.what} {problem.fix}")]
    torch = lab.torch
    built = (
        f"torch {torch}"
        if isinstance(torch, Unknown)
        else tr(
            "torch {version}, {cuda}, sees {gpus} GPUs",
            version=torch.version,
            cuda=f"CUDA {torch.cuda}" if torch.cuda else tr("built without CUDA"),
            gpus=torch.gpus,
        )
    )
    others = ", ".join(
        f"{name} {lab.packages[name]}" if name in lab.packages else tr("no {name}", name=name) for name in wanted[1:]
    )
    rows = [Reading(tr("lab's Python"), f"{python} ({lab.version}): {built}; {others}")]
    needs_spacy = Checkout("", "", imports=frozenset({"spacy"}))
    return rows + [
        Reading(tr("warning"), f"{row.what}: {row.remedy}")
        for row in spacy_findings(lab, needs_spacy)
        if row.verdict == "stop"
    ]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return _ABSENT
