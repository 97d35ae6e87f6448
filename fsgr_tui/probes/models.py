"""Which vision towers the installed open_clip knows: read from its config files, without importing it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from fsgr_tui.core.tower import KNOWN, Tower, canonical_name, find_tower, tower_from_config


def find_model(name: str) -> Tower:
    """The tower of a model name; open_clip's files are only read for names outside the built-in table.

    Raises:
        BadRequest: neither knows the name.
    """
    if canonical_name(name) in KNOWN:
        return KNOWN[canonical_name(name)]
    return find_tower(name, installed_towers())


def installed_towers() -> dict[str, Tower]:
    """Towers with a plain patch grid that the installed open_clip has a config of; empty when it is not installed."""
    # find_spec of a top-level package locates it without running it; importing open_clip takes seconds.
    spec = importlib.util.find_spec("open_clip")
    towers = {}
    for place in (spec and spec.submodule_search_locations) or ():
        for file in Path(place, "model_configs").glob("*.json"):
            tower = tower_from_config(file.stem, json.loads(file.read_text()))
            if tower:
                towers[tower.name] = tower
    return towers


def is_installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None
