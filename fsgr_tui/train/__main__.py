"""The training child: `python -m fsgr_tui.train SPEC.json`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from fsgr_tui.core.child import Stopper, run_child
from fsgr_tui.core.errors import MissingExtra
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.training import TrainSpec


def main(asked: argparse.Namespace, events: EventWriter, stopper: Stopper) -> int:
    """Carry out a spec; returns the exit code."""
    spec = msgspec.json.decode(asked.spec.read_bytes(), type=TrainSpec)
    if asked.room is not None:
        from fsgr_tui.train.launch import launch_on_node

        return launch_on_node(asked.spec, spec, asked.room, events, stopper)
    if spec.world > 1 and asked.store is None:
        from fsgr_tui.train.launch import launch

        return launch(asked.spec, spec, events, stopper)
    events.phase("load")
    try:
        from fsgr_tui.train.run import train
    except ModuleNotFoundError as error:
        raise MissingExtra("train", "train", str(error.name)) from None
    return train(spec, events, stopper, rank=asked.rank, store=asked.store)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fsgr_tui.train")
    parser.add_argument("spec", type=Path)
    parser.add_argument("--rank", type=int, default=0, help="of this process, when several train together")
    parser.add_argument("--store", type=Path, default=None, help="the file that they meet through")
    parser.add_argument(
        "--room", type=Path, default=None, help="on another node: start its processes, which meet there"
    )
    return parser


if __name__ == "__main__":
    arguments = _parser().parse_args()
    code = run_child(lambda events, stopper: main(arguments, events, stopper))
    if arguments.store is not None:
        # Everything is written by now. Tearing the interpreter down, PyTorch's threads for talking to the other
        # processes abort it once in some dozen runs (seen with gloo of PyTorch 2.14).
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
