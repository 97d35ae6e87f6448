"""What a benchmark hands out: rows against an alternative that was measured in the same run."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import h5py

from fsgr_tui.core.units import format_bytes

PACKAGES = ("numpy", "h5py", "torch", "open_clip_torch", "pillow", "lmdb")


@dataclass(frozen=True)
class Row:
    """One measurement.

    `ours` and `alternative` are shown as they are; `ratio` says how many times better ours is; `met` is None where no
    target was set; `more` holds a cell for each further column of the table.
    """

    what: str
    ours: str
    alternative: str = "-"
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows with their heading; `alternative` and `further` name columns."""

    name: str
    title: str
    alternative: str
    rows: Sequence[Row]
    further: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def missed(self) -> list[Row]:
        return [row for row in self.rows if row.met is False]

    def lines(self) -> Iterator[str]:
        """The table as Markdown that reads well in a terminal too."""
        heads = ("what", "ours", self.alternative, "ratio", "target", "met", *self.further)
        cells = [heads, *(_cells(row, len(self.further)) for row in self.rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
        yield f"### {self.name}: {self.title}"
        yield ""
        for number, line in enumerate(cells):
            yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            if number == 0:
                yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        yield ""
        yield from (f"- {note}" for note in self.notes)
        targets = [row for row in self.rows if row.met is not None]
        if self.missed:
            yield f"- MISSED {len(self.missed)} of {len(targets)} targets: {'; '.join(row.what for row in self.missed)}"
        elif targets:
            yield f"- all {len(targets)} targets met"


def _cells(row: Row, further: int) -> tuple[str, ...]:
    ratio = "-" if row.ratio is None else f"{row.ratio:.3g}x"
    met = {None: "-", True: "yes", False: "NO"}[row.met]
    return row.what, row.ours, row.alternative, ratio, row.target or "-", met, *(row.more or ("-",) * further)


def counted(what: str, found: int, wanted: int, unit: str = "") -> Row:
    """A count that has to be exactly so."""
    return Row(what, f"{found:,}{unit}", target=f"{wanted:,}{unit}", met=found == wanted)


def skipped(name: str, title: str, why: str) -> Table:
    """A benchmark that this machine does not allow."""
    return Table(name, title, "-", (), notes=(f"SKIPPED: {why}",))


def machine(folder: Path) -> dict[str, str]:
    """The facts that the figures belong to."""
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores usable, flags: {_flags() or 'none of note'}",
        "memory": format_bytes(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        "file system": f"{_file_system(folder)}, {format_bytes(shutil.disk_usage(folder).free)} free at {folder.parent}",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {found}" for name, found in versions.items())
        + f", HDF5 {h5py.version.hdf5_version}",
        "load at the start": " ".join(f"{value:.2f}" for value in os.getloadavg()) + " (1, 5, 15 minutes)",
        "command": " ".join(["python -m tests.bench", *sys.argv[1:]]),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _cpuinfo(field: str) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "unknown")


def _processor() -> str:
    return _cpuinfo("model name")


def _flags() -> str:
    return ", ".join(
        flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in _cpuinfo("flags").split()
    )


def _file_system(folder: Path) -> str:
    """The type of the mount that holds a folder."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    above = {str(place) for place in (folder.resolve(), *folder.resolve().parents)}
    return max((mount for mount in mounts if mount[1] in above), key=lambda mount: len(mount[1]))[2]


def write_json(path: Path, facts: dict[str, str], tables: Sequence[Table]) -> None:
    document = {"machine": facts, "tables": [asdict(table) for table in tables]}
    path.write_text(json.dumps(document, indent=2) + "\n")
