"""The file of Slurm profiles: one TOML table for each."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
from platformdirs import user_config_path

from fsgr_tui.core.errors import BadRequest, did_you_mean
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.slurm_profile import Profile
from fsgr_tui.core.units import printable

PROFILES_VARIABLE = "FSGR_TUI_PROFILES"
DEFAULT = "default"
SITE_DEFAULTS = mark("site defaults")

EXAMPLE = """[gpu]
partition = "gpu"
account = "vision"
gpus = 1            # per node, which is per shard
cpus = 8
memory = "32GB"
time = "4h"         # leave it out to have it suggested
modules = ["cuda/12.4"]
conda = "fsgr"
extra = ["--exclude=n3"]
"""


def profiles_path() -> Path:
    """Where profiles are: $FSGR_TUI_PROFILES, else slurm.toml in the user's configuration."""
    named = os.environ.get(PROFILES_VARIABLE)
    return Path(named) if named else user_config_path("fsgr-tui", appauthor=False) / "slurm.toml"


def read_profile(name: str) -> tuple[str, Profile]:
    """A profile by its name; without a name the one called "default", or the site's own defaults.

    Returns:
        Its name and its values.

    Raises:
        BadRequest: there is no such profile, or the file or a value in it cannot be.
    """
    path = profiles_path()
    profiles = _profiles(path)
    if not name and DEFAULT not in profiles:
        return SITE_DEFAULTS, Profile()
    wanted = name or DEFAULT
    if wanted not in profiles:
        known = list(profiles)
        here = (
            tr("It has {profiles}.", profiles=", ".join(known))
            if known
            else tr("Write it there:\n{example}", example=EXAMPLE)
        )
        raise BadRequest(
            tr("There is no profile {name} in {path}.", name=repr(wanted), path=printable(str(path))),
            did_you_mean(wanted, known) or here,
        )
    table = profiles[wanted]
    unknown = [key for key in table if key not in Profile.__struct_fields__] if isinstance(table, dict) else []
    if unknown:
        raise BadRequest(
            tr(
                "{path}, profile {name}: nothing reads the key {key}.",
                path=printable(str(path)),
                name=repr(wanted),
                key=repr(unknown[0]),
            ),
            did_you_mean(unknown[0], list(Profile.__struct_fields__))
            or tr("Known: {keys}.", keys=", ".join(Profile.__struct_fields__)),
        )
    try:
        return wanted, msgspec.convert(table, Profile).checked(wanted)
    except msgspec.ValidationError as error:
        raise BadRequest(
            tr("{path}, profile {name}: {error}.", path=printable(str(path)), name=repr(wanted), error=error),
            tr("Mend that value."),
        ) from None


def name_words(name: str) -> str:
    """A profile's name, for people."""
    return tr(SITE_DEFAULTS) if name == SITE_DEFAULTS else name


def names() -> tuple[str, ...]:
    """The profiles that there are; BadRequest as of `read_profile`."""
    return tuple(_profiles(profiles_path()))


def _profiles(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(
            tr(
                "{path} cannot be read: {error}.",
                path=printable(str(path)),
                error=getattr(error, "strerror", None) or error,
            ),
            tr("Look at the file."),
        ) from None
    # Python 3.10 has no TOML reader of its own; the package tomli is the same one.
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        document: dict[str, Any] = toml.loads(text)
    except ValueError as error:  # both readers' errors are ValueErrors
        raise BadRequest(
            tr("{path} is no valid TOML: {error}.", path=printable(str(path)), error=error), tr("Mend that place.")
        ) from None
    return document
