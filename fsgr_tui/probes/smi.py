"""The driver through `nvidia-smi`: where the Python package or its library cannot be used, the program often can."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

import msgspec

from fsgr_tui.core.language import tr
from fsgr_tui.core.units import printable
from fsgr_tui.probes.nvml import DriverRefused, GpuProcess, Handle, MemoryReading, NvmlCode, NvmlDriver

PROGRAM: Final = "nvidia-smi"
DEADLINE_S: Final = 2.5

_MIB: Final = 2**20
_FIELDS: Final = (
    "index",
    "uuid",
    "name",
    "memory.total",
    "memory.free",
    "memory.used",
    "utilization.gpu",
    "driver_version",
    "mig.mode.current",
)
_SLICE: Final = re.compile(r"\s+MIG\s+(\S+)\s+Device\s+\d+:\s+\(UUID:\s+(MIG-[^)]+)\)")
_LISTED: Final = re.compile(r"GPU\s+(\d+):.*\(UUID:\s+(GPU-[^)]+)\)")
_LIBRARY: Final = re.compile(r"NVML library version:\s*(\d+(?:\.\d+)+)")


class _Row(msgspec.Struct, frozen=True):
    """One GPU as the program lists it, or one slice, of which it tells name and uuid alone."""

    uuid: str
    name: str
    readings: dict[str, str] = {}


class SmiDriver(NvmlDriver):
    """`nvidia-smi`, asked once for everything when the session is opened.

    Its exit codes are NVML's (nvidia-smi's manual, "Return Value"), so a refusal is told apart as NVML's own is.
    Which processes can be seen from here, and the version of the kernel module, are read from /proc as ever.
    """

    def __init__(self, proc: str = "/proc") -> None:
        super().__init__(proc=proc)
        self._rows: list[_Row] = []
        self._slices: dict[str, list[_Row]] = {}
        self._apps: list[list[str]] = []
        self._refused = ""

    def open(self) -> None:
        """Ask for all GPUs, their slices and their processes."""
        text = self._ask(f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits")
        for values in csv.reader(text.splitlines(), skipinitialspace=True):
            readings = dict(zip(_FIELDS, values, strict=False))
            self._rows.append(_Row(readings.get("uuid", ""), readings.get("name", ""), readings))
        if any(row.readings.get("mig.mode.current") == "Enabled" for row in self._rows):
            self._slices = _slices(self._ask("-L"))
        apps = self._ask("--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader,nounits")
        self._apps = list(csv.reader(apps.splitlines(), skipinitialspace=True))

    def close(self) -> None:
        """Nothing was left open."""

    def driver_version(self) -> str:
        """Version of the driver in use."""
        return self._told("driver_version", self._rows[0]) if self._rows else _refuse()

    def library_version(self) -> str:
        """Version of the user-space library, which a refusal names."""
        match = _LIBRARY.search(self._refused)
        return match[1] if match else _refuse()

    def device_count(self) -> int:
        """GPUs that the program lists."""
        return len(self._rows)

    def device(self, index: int) -> Handle:
        """One of them."""
        return self._rows[index]

    def name(self, handle: Handle) -> str:
        """Product name; of a slice its profile as well."""
        return _row(handle).name

    def uuid(self, handle: Handle) -> str:
        """`GPU-...` or `MIG-...`."""
        return _row(handle).uuid

    def memory(self, handle: Handle) -> MemoryReading:
        """Memory of a GPU; the program tells none of a slice."""
        total, free, used = (self._number(name, handle) for name in ("memory.total", "memory.free", "memory.used"))
        return MemoryReading(total * _MIB, free * _MIB, used * _MIB)

    def utilisation(self, handle: Handle) -> int:
        """Percent busy."""
        return self._number("utilization.gpu", handle)

    def compute_processes(self, handle: Handle) -> Sequence[GpuProcess]:
        """Processes with a compute context."""
        uuid = _row(handle).uuid
        return [
            GpuProcess(int(pid), int(used) * _MIB if used.isdigit() else None)
            for gpu, pid, used in (values for values in self._apps if len(values) == 3)
            if gpu == uuid and pid.isdigit()
        ]

    def graphics_processes(self, handle: Handle) -> Sequence[GpuProcess]:
        """The program tells none in this form."""
        raise DriverRefused(
            NvmlCode.NOT_SUPPORTED,
            tr("{program} tells no graphics processes of {uuid}", program=PROGRAM, uuid=_row(handle).uuid),
        )

    def mig_enabled(self, handle: Handle) -> bool:
        """Whether the GPU is divided into MIG slices now."""
        return _row(handle).readings.get("mig.mode.current") == "Enabled"

    def mig_capacity(self, handle: Handle) -> int:
        """How many slices there are."""
        return len(self._slices.get(_row(handle).uuid, ()))

    def mig_slice(self, handle: Handle, place: int) -> Handle:
        """One of them."""
        return self._slices[_row(handle).uuid][place]

    def mig_path(self, handle: Handle) -> tuple[int, int]:
        """Not told by the program."""
        raise DriverRefused(
            NvmlCode.NOT_SUPPORTED,
            tr("{program} tells no instances of {uuid}", program=PROGRAM, uuid=_row(handle).uuid),
        )

    def _number(self, field: str, handle: Handle) -> int:
        text = self._told(field, _row(handle))
        if not text.isdigit():  # "[N/A]", "[Not Supported]"
            raise DriverRefused(
                NvmlCode.NOT_SUPPORTED, tr("{program} says {text}", program=PROGRAM, text=printable(text))
            )
        return int(text)

    def _told(self, field: str, row: _Row) -> str:
        return row.readings[field].strip() if field in row.readings else _refuse()

    def _ask(self, *arguments: str) -> str:
        program = shutil.which(PROGRAM)
        if program is None:
            raise DriverRefused(NvmlCode.LIBRARY_NOT_FOUND, tr("there is no {program}", program=PROGRAM))
        try:
            done = subprocess.run(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DriverRefused(
                NvmlCode.UNKNOWN,
                tr("{program} gave no answer within {deadline_s:g} s", program=PROGRAM, deadline_s=DEADLINE_S),
            ) from None
        except OSError as error:
            raise DriverRefused(
                NvmlCode.UNKNOWN, tr("{program} cannot be run: {reason}", program=PROGRAM, reason=error.strerror)
            ) from None
        if done.returncode:
            self._refused = f"{done.stdout}\n{done.stderr}"
            words = next((line.strip() for line in self._refused.splitlines() if line.strip()), tr("no words"))
            raise DriverRefused(
                done.returncode,
                tr(
                    "{program} exits {returncode}: {words}",
                    program=PROGRAM,
                    returncode=done.returncode,
                    words=printable(words),
                ),
            )
        return done.stdout


def is_there() -> bool:
    """Whether the program is on PATH."""
    return shutil.which(PROGRAM) is not None


def _row(handle: Handle) -> _Row:
    if not isinstance(handle, _Row):
        raise TypeError(f"{handle!r} is no handle of this driver")
    return handle


def _refuse() -> str:
    raise DriverRefused(NvmlCode.NOT_SUPPORTED, tr("{program} does not tell", program=PROGRAM))


def _slices(listing: str) -> dict[str, list[_Row]]:
    """Slices by their GPU's uuid, from `nvidia-smi -L`."""
    found: dict[str, list[_Row]] = {}
    gpu = ""
    for line in listing.splitlines():
        if match := _LISTED.match(line):
            gpu = match[2]
        elif match := _SLICE.match(line):
            found.setdefault(gpu, []).append(_Row(match[2], f"MIG {match[1]}"))
    return found
