"""`python -m fsgr_tui.demo ROOT`: makes the demo data set; progress on stderr, its facts as one JSON line on stdout."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core.errors import EXIT_INTERRUPTED, EXIT_OK, MissingExtra, Problem
from fsgr_tui.core.language import tr

_SHORTEST_PAUSE_S = 0.5


class _ProgressLines:
    """Prints progress at most twice a second, and always the last step."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def __call__(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_s or done == total:
            self._next_s = now_s + _SHORTEST_PAUSE_S
            print(f"{done} of {total} images", file=sys.stderr, flush=True)  # noqa: T201 - this is the child's output


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code; a wrong command line exits with 2 by itself."""
    args = _parser().parse_args(argv)
    try:
        facts = _write(args.root, args.train, args.val, args.seed)
    except Problem as problem:
        print(problem, file=sys.stderr)  # noqa: T201 - this is the child's output
        return problem.exit_code
    except KeyboardInterrupt:
        print(tr("Interrupted; the same command goes on where it stopped."), file=sys.stderr)  # noqa: T201 - as above
        return EXIT_INTERRUPTED
    print(facts.decode())  # noqa: T201 - this is the child's output
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fsgr_tui.demo", description="Make a small COCO-shaped data set.")
    parser.add_argument("root", type=Path, metavar="ROOT", help="a new or empty folder")
    parser.add_argument("--train", type=int, default=200, metavar="N", help="images in train2014 (default: 200)")
    parser.add_argument("--val", type=int, default=80, metavar="N", help="images in val2014 (default: 80)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="chooses the scenes (default: 0)")
    return parser


def _write(root: Path, train: int, val: int, seed: int) -> bytes:
    """The facts of the written data set as JSON."""
    try:
        from fsgr_tui.demo.dataset import write_dataset
    except ModuleNotFoundError as error:
        raise MissingExtra("demo", "extract", error.name or "pillow") from error
    return msgspec.json.encode(write_dataset(root, train=train, val=val, seed=seed, on_progress=_ProgressLines()))


if __name__ == "__main__":
    sys.exit(main())
