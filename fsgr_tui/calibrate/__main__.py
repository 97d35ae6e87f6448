"""The measuring child: `python -m fsgr_tui.calibrate SPEC.json`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from fsgr_tui.core.bench import BenchSpec
from fsgr_tui.core.child import Stopper, run_child
from fsgr_tui.core.errors import MissingExtra
from fsgr_tui.core.event import EventWriter


def main(spec: BenchSpec, events: EventWriter, stopper: Stopper) -> int:
    """Measure what a spec asks for; returns the exit code."""
    events.phase("load model")
    try:
        from fsgr_tui.calibrate import work
    except ModuleNotFoundError as error:
        raise MissingExtra("bench", "extract", str(error.name)) from None
    return work.bench(spec, events, stopper)


def _read_spec(path: str) -> BenchSpec:
    return msgspec.json.decode(Path(path).read_bytes(), type=BenchSpec)


if __name__ == "__main__":
    sys.exit(run_child(lambda events, stopper: main(_read_spec(sys.argv[1]), events, stopper)))
