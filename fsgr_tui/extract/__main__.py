"""The extraction child: `python -m fsgr_tui.extract SPEC.json`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from fsgr_tui.core.child import Stopper, run_child
from fsgr_tui.core.errors import MissingExtra
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.extraction import (
    ChildSpec,
    ConvertSpec,
    ExtractSpec,
    RecomputeSpec,
    TextDirectionSpec,
    TextEmbedSpec,
)


def main(spec: ChildSpec, events: EventWriter, stopper: Stopper) -> int:
    """Carry out a spec; returns the exit code."""
    if isinstance(spec, ConvertSpec):
        # A conversion has no model to wait for; it imports torch for `.pt` only.
        from fsgr_tui.extract import conversion

        return conversion.convert(spec, events, stopper)
    events.phase("load model")
    try:
        from fsgr_tui.extract import recompute, text, text_direction, work
    except ModuleNotFoundError as error:
        raise MissingExtra("extract", "extract", str(error.name)) from None
    match spec:
        case ExtractSpec():
            return work.extract(spec, events, stopper)
        case RecomputeSpec():
            return recompute.recompute(spec, events, stopper)
        case TextEmbedSpec():
            return text.text_embed(spec, events, stopper)
        case TextDirectionSpec():
            return text_direction.text_direction(spec, events, stopper)


def _read_spec(path: str) -> ChildSpec:
    spec: ChildSpec = msgspec.json.decode(Path(path).read_bytes(), type=ChildSpec)
    return spec


if __name__ == "__main__":
    sys.exit(run_child(lambda events, stopper: main(_read_spec(sys.argv[1]), events, stopper)))
