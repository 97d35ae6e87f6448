"""The training child: `python -m fsgr_tui.train SPEC.json`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from fsgr_tui.core.child import Stopper, run_child
from fsgr_tui.core.errors import MissingExtra
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.training import TrainSpec


def main(spec: TrainSpec, events: EventWriter, stopper: Stopper) -> int:
    """Carry out a spec; returns the exit code."""
    events.phase("load")
    try:
        from fsgr_tui.train import loop
    except ModuleNotFoundError as error:
        raise MissingExtra("train", "extract", str(error.name)) from None
    return loop.train(spec, events, stopper)


def _read_spec(path: str) -> TrainSpec:
    return msgspec.json.decode(Path(path).read_bytes(), type=TrainSpec)


if __name__ == "__main__":
    sys.exit(run_child(lambda events, stopper: main(_read_spec(sys.argv[1]), events, stopper)))
