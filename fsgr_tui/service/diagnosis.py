"""The doctor: what this machine and installation are, fit to be pasted into a bug report."""

from __future__ import annotations

import getpass
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

from fsgr_tui import __version__
from fsgr_tui.jobs.folder import RUNS_VARIABLE, runs_dir
from fsgr_tui.probes.nvml import installed_bindings
from fsgr_tui.service.markdown import Rows, machine_rows
from fsgr_tui.service.planning import probe_machine

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
    "TERM",
    "LANG",
    "LC_ALL",
    "NO_COLOR",
    RUNS_VARIABLE,
)


def examine() -> Rows:
    """(what, reading) rows; the home folder and the user's name are replaced."""
    machine = probe_machine((str(Path.cwd()), str(runs_dir())))
    rows: Rows = [("fsgr-tui", __version__), ("python", f"{platform.python_version()} ({platform.machine()})")]
    rows += [(row[0], row[1]) for row in machine_rows(machine)]
    rows.append(("driver", str(machine.gpu_report.driver)))
    bindings = installed_bindings()
    if "pynvml" in bindings:
        rows.append(
            (
                "warning",
                f"The deprecated package `pynvml` is installed ({', '.join(bindings)}): pip uninstall pynvml; nvidia-ml-py stays.",
            )
        )
    rows += [(package, _version(package)) for package in PACKAGES]
    rows += [(name, os.environ[name]) for name in _VARIABLES if name in os.environ]
    rows.append(("java", shutil.which("java") or "not found (only METEOR, SPICE and the PTB tokenizer need it)"))
    return [(_private(what), _private(reading)) for what, reading in rows]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _private(text: str) -> str:
    """The text without what names its user."""
    home, user = str(Path.home()), getpass.getuser()
    shown = text.replace(home, "~") if home != "/" else text
    # A short name such as "root" stands in ordinary words too; only whole path parts are replaced.
    return "/".join("USER" if part == user else part for part in shown.split("/"))
