"""The Python that a checkout is meant for: an environment in it, one that is named for it, or the one that is active."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

_INSIDE: Final = (".venv", "venv", "env", ".env")
_CONDA_FILES: Final = ("environment.yml", "environment.yaml")
_CONDA_HOMES: Final = (
    "miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", ".conda", ".local/share/mamba",
)  # fmt: skip
_NAME: Final = re.compile(r"^name:\s*['\"]?([\w.-]+)", re.MULTILINE)


class FoundPython(NamedTuple):
    """A Python program, and why it is taken for the lab's."""

    path: Path
    why: str


def find_pythons(checkout: Path, environ: Mapping[str, str], home: Path, own_prefix: Path) -> list[FoundPython]:
    """The Pythons that may be meant, the likeliest first. Nothing is run.

    Args:
        environ: of this process: CONDA_PREFIX, CONDA_EXE and VIRTUAL_ENV are looked at.
        home: the user's home folder.
        own_prefix: where this program is installed, which is not the lab's.
    """
    found: dict[Path, str] = {}
    for python, why in _candidates(checkout, environ, home):
        if python.is_file() and python.parents[1].resolve() != own_prefix.resolve():
            found.setdefault(python, why)
    return [FoundPython(path, why) for path, why in found.items()]


def environment_programs(python: Path) -> str:
    """The folder of an environment's programs (its Java, its compilers); empty for a Python that is in none."""
    prefix = python.parent.parent
    return str(python.parent) if (prefix / "pyvenv.cfg").exists() or (prefix / "conda-meta").is_dir() else ""


def _candidates(checkout: Path, environ: Mapping[str, str], home: Path) -> Iterator[tuple[Path, str]]:
    for name in _INSIDE:
        yield checkout / name / "bin" / "python", f"the environment {name} in the checkout"
    names = _environment_names(checkout)
    for folder in _environment_folders(environ, home):
        for name, why in names.items():
            yield folder / name / "bin" / "python", f"the environment {name}, {why}"
    for variable in ("CONDA_PREFIX", "VIRTUAL_ENV"):
        if environ.get(variable):
            yield Path(environ[variable]) / "bin" / "python", f"the active environment ({variable})"


def _environment_names(checkout: Path) -> dict[str, str]:
    """Names that the lab's environment may have, with the reason."""
    names: dict[str, str] = {}
    for file in _CONDA_FILES:
        try:
            text = (checkout / file).read_text("utf-8", "replace")
        except OSError:
            continue
        if match := _NAME.search(text):
            names.setdefault(match.group(1), f"as {file} names it")
    own = checkout.absolute().name
    for name in (own, own.lower()):
        names.setdefault(name, "named as the checkout")
    return names


def _environment_folders(environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Where environments with names are kept: those of conda and of virtualenvwrapper."""
    if environ.get("CONDA_EXE"):
        yield Path(environ["CONDA_EXE"]).parents[1] / "envs"
    if environ.get("CONDA_PREFIX"):
        prefix = Path(environ["CONDA_PREFIX"])
        yield prefix.parent if prefix.parent.name == "envs" else prefix / "envs"
    yield from (home / name / "envs" for name in _CONDA_HOMES)
    yield Path("/opt/conda/envs")
    yield Path(environ.get("WORKON_HOME") or home / ".virtualenvs")
