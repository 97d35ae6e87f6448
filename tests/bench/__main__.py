"""`python -m tests.bench [NAME ...] [--quick] [--json FILE]`: what the program promises, measured.

Every table compares with an alternative that was measured in the same run. A missed target is told and changes
nothing about the exit code: a busy machine is no fault of the program.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.table import Table, machine, write_json

MODULES = {
    "store": "store",
    "extraction": "extraction",
    "crash": "crash",
    "disk-full": "disk_full",
    "memory": "memory",
    "logs": "logs",
    "jobs": "jobs",
    "screen": "screen",
}


@dataclass(frozen=True)
class Bench:
    """What a benchmark works with: an empty folder of its own, and whether a rough answer is enough."""

    folder: Path
    quick: bool

    def say(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)


def main() -> int:
    asked = _arguments()
    work = Path(tempfile.mkdtemp(prefix="fsgr-bench-"))
    tables: list[Table] = []
    try:
        facts = machine(work)
        print("\n".join(f"- {name}: {value}" for name, value in facts.items()), end="\n\n", flush=True)
        for name in asked.names or MODULES:
            tables += _run(name, Bench(work / name, asked.quick))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _sum_up(tables)
    if asked.json:
        write_json(asked.json, facts, tables)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one or more of: {', '.join(MODULES)}; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds; figures are rough")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tables there as well")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in MODULES]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; known: {', '.join(MODULES)}")
    return asked


def _run(name: str, bench: Bench) -> list[Table]:
    bench.folder.mkdir()
    began = time.monotonic()
    tables: list[Table] = importlib.import_module(f"tests.bench.{MODULES[name]}").run(bench)
    bench.say(f"{name} took {time.monotonic() - began:.0f} s")
    shutil.rmtree(bench.folder, ignore_errors=True)
    for table in tables:
        print("\n".join(table.lines()), end="\n\n", flush=True)
    return tables


def _sum_up(tables: list[Table]) -> None:
    missed = [f"{table.name}: {row.what}" for table in tables for row in table.missed]
    print(
        f"Targets missed: {len(missed)}" + "".join(f"\n  {line}" for line in missed) if missed else "No target missed."
    )


if __name__ == "__main__":
    sys.exit(main())
