"""Where this program keeps what it knows about a user's work: run folders, calibrations, checks, what the screen shows."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_state_path

STATE_VARIABLE = "FSGR_TUI_STATE"


def state_dir() -> Path:
    """$FSGR_TUI_STATE, else the user's state folder. Always absolute: a job may work elsewhere."""
    named = os.environ.get(STATE_VARIABLE)
    return Path(named).absolute() if named else user_state_path("fsgr-tui", appauthor=False)
