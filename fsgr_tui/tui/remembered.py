"""What the screen remembers from one start to the next: the theme, and what was planned in which folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.plan import Intent
from fsgr_tui.jobs.state import state_dir
from fsgr_tui.tui.intent_form import Wanted

THEME_VARIABLE = "FSGR_TUI_THEME"
FOLDERS_KEPT = 50

Theme = Literal["dark", "light"]


class Kept(msgspec.Struct, frozen=True):
    """What was planned in one working folder."""

    intent: Intent
    image_root: str | None
    features_dir: str


class Remembered(msgspec.Struct, frozen=True):
    """All that is remembered.

    Attributes:
        greeted: whether the screen was open before.
        plans: by working folder; the one used last stands last.
    """

    theme: Theme = "dark"
    greeted: bool = False
    plans: dict[str, Kept] = {}

    def wanted(self, folder: str) -> Wanted | None:
        """What was planned in a folder; None when nothing was."""
        kept = self.plans.get(folder)
        return Wanted(kept.intent, kept.image_root, kept.features_dir) if kept else None

    def with_wanted(self, folder: str, wanted: Wanted) -> Remembered:
        """The same with another plan for a folder; the folders used longest ago are forgotten."""
        others = {name: kept for name, kept in self.plans.items() if name != folder}
        kept = Kept(wanted.intent, wanted.image_root, wanted.features_dir)
        newest = [*others.items(), (folder, kept)][-FOLDERS_KEPT:]
        return msgspec.structs.replace(self, plans=dict(newest))


def place() -> Path:
    """The file that holds it."""
    return state_dir() / "screen.json"


def load() -> Remembered:
    """What was remembered; nothing where the file is missing, damaged or of another version.

    The theme is $FSGR_TUI_THEME where that is set, else the remembered one.
    """
    try:
        found = jsontext.decode(place().read_bytes(), Remembered)
    except (OSError, msgspec.MsgspecError):
        found = Remembered()
    asked = os.environ.get(THEME_VARIABLE)
    if asked in ("dark", "light"):
        found = msgspec.structs.replace(found, theme=asked)
    return found


def save(remembered: Remembered) -> None:
    """Keep it, whole; a folder that cannot be written costs the memory, nothing else."""
    path = place()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, jsontext.encode(remembered, indent=1))
    except OSError:
        return
