"""What a job's own process tree takes of the machine: processors, memory, disks, GPUs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from fsgr_tui.core.job import Usage, UsageSeen
from fsgr_tui.core.units import Unknown
from fsgr_tui.jobs.processes import Process, below, table

_TICKS_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_NO_GPU: Final = "no NVIDIA driver here"


class GpuTaken(NamedTuple):
    """What some processes take of the GPUs."""

    percent: float | Unknown
    memory_bytes: int | Unknown


class GpuMeter(Protocol):
    """Asks the driver for what processes take."""

    def read(self, pids: Collection[int]) -> GpuTaken:
        """What these processes take; unknown with a reason where the driver does not tell."""
        ...


class _Counters(NamedTuple):
    """A process's counters since its start; the disk's are None where they are not to be read."""

    processor_s: float
    private_bytes: int
    shared_bytes: int
    read_bytes: int | None
    written_bytes: int | None


class Sampler:
    """Samples a process tree; rates are those since the last sample.

    Args:
        root: everything below this process belongs to the job, but not the process itself.
        gpus: asked at each sample; None looks for NVML at the first one.
    """

    def __init__(self, root: int, gpus: GpuMeter | None = None, proc: Path = Path("/proc")) -> None:
        self._root = root
        self._gpus = gpus
        self._proc = proc
        self._before: dict[int, _Counters] = {}
        self._at: float | None = None
        self.seen: UsageSeen | None = None

    def sample(self, processes: Callable[[], dict[int, Process]] = table) -> UsageSeen | None:
        """Take a sample; None before there are two, since a rate needs them."""
        now, wall = time.monotonic(), time.time()
        members = [process.pid for process in below(self._root, processes())]
        counters = {pid: found for pid in members if (found := _counters(self._proc / str(pid))) is not None}
        before, self._before = self._before, counters
        at, self._at = self._at, now
        if at is None or now <= at:
            return self.seen
        # A process that is new has done all that it did since the last sample.
        nothing = _Counters(0.0, 0, 0, 0, 0)
        pairs = [(found, before.get(pid, nothing)) for pid, found in counters.items()]
        taken = self._meter().read(members)
        usage = Usage(
            at=wall,
            processes=len(counters),
            cpu_percent=max(0.0, 100 * sum(now_.processor_s - then.processor_s for now_, then in pairs) / (now - at)),
            memory_bytes=sum(found.private_bytes for found in counters.values())
            + max((found.shared_bytes for found in counters.values()), default=0),
            read_bytes_s=sum(_added(now_.read_bytes, then.read_bytes) for now_, then in pairs) / (now - at),
            write_bytes_s=sum(_added(now_.written_bytes, then.written_bytes) for now_, then in pairs) / (now - at),
            gpu_percent=taken.percent,
            gpu_memory_bytes=taken.memory_bytes,
        )
        self.seen = UsageSeen(usage, _peak(self.seen.peak, usage) if self.seen else usage)
        return self.seen

    def _meter(self) -> GpuMeter:
        if self._gpus is None:
            self._gpus = nvml_meter()
        return self._gpus


def _counters(folder: Path) -> _Counters | None:
    try:
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        pages = (folder / "statm").read_text().split()
    except OSError:
        return None
    try:
        disk = dict(line.split(": ") for line in (folder / "io").read_text().splitlines())
    except (OSError, ValueError):
        # Another user's process, or a kernel without these counters.
        disk = {}
    resident, shared = int(pages[1]), int(pages[2])
    # utime, stime and those of children that have ended and were waited for would count twice with the children's own.
    return _Counters(
        (int(fields[11]) + int(fields[12])) / _TICKS_S,
        (resident - shared) * _PAGE_BYTES,
        shared * _PAGE_BYTES,
        int(disk["read_bytes"]) if "read_bytes" in disk else None,
        int(disk["write_bytes"]) if "write_bytes" in disk else None,
    )


def _added(now: int | None, before: int | None) -> int:
    return max(0, now - (before or 0)) if now is not None else 0


def _peak(one: Usage, other: Usage) -> Usage:
    return Usage(
        other.at,
        max(one.processes, other.processes),
        max(one.cpu_percent, other.cpu_percent),
        max(one.memory_bytes, other.memory_bytes),
        max(one.read_bytes_s, other.read_bytes_s),
        max(one.write_bytes_s, other.write_bytes_s),
        _larger(one.gpu_percent, other.gpu_percent),
        _larger(one.gpu_memory_bytes, other.gpu_memory_bytes),
    )


def _larger(one: Any, other: Any) -> Any:
    if isinstance(one, Unknown) or isinstance(other, Unknown):
        return other if isinstance(one, Unknown) else one
    return max(one, other)


class NoGpu:
    """There is nothing to ask."""

    def __init__(self, reason: str = _NO_GPU) -> None:
        self._reason = reason

    def read(self, pids: Collection[int]) -> GpuTaken:  # noqa: ARG002 - as the protocol has it
        """Unknown, and why."""
        return GpuTaken(Unknown(self._reason), Unknown(self._reason))


class NvmlMeter:
    """NVML's lists of processes per GPU, and how busy each process keeps it."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]

    def read(self, pids: Collection[int]) -> GpuTaken:
        """What these processes take; a container's pids may be unknown to the driver."""
        memory, percents, strangers = 0, [], 0
        try:
            for handle in self._handles:
                found = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
                ours = [each for each in found if each.pid in pids]
                strangers += len(found) - len(ours)
                if ours:
                    memory += sum(each.usedGpuMemory or 0 for each in ours)
                    percents.append(self._percent(handle, pids, alone=len(ours) == len(found)))
        except self._nvml.NVMLError as error:
            return GpuTaken(Unknown(str(error)), Unknown(str(error)))
        if not percents:
            if strangers:
                unknown = Unknown("the processes that the driver names are not this job's, or it names them otherwise (container)")  # fmt: skip
                return GpuTaken(unknown, unknown)
            return GpuTaken(0.0, 0)
        known = [percent for percent in percents if not isinstance(percent, Unknown)]
        return GpuTaken(max(known) if known else percents[0], memory)

    def _percent(self, handle: Any, pids: Collection[int], *, alone: bool) -> float | Unknown:
        try:
            # A process that has the GPU for itself is as busy as the GPU; the driver's samples per process are sparse.
            if alone:
                return float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            # Microseconds; the driver keeps some seconds of samples.
            since = int((time.time() - 5) * 1e6)
            samples = self._nvml.nvmlDeviceGetProcessUtilization(handle, since)
        except self._nvml.NVMLError as error:
            # A slice of a GPU tells none, and some drivers do not tell processes apart.
            return Unknown(str(error))
        return float(min(100, sum(sample.smUtil for sample in samples if sample.pid in pids)))


def nvml_meter() -> GpuMeter:
    """NVML where it is; importing it costs some 30 ms, so the driver's library is looked for first."""
    import ctypes
    import warnings

    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return NoGpu()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pynvml
        pynvml.nvmlInit()
        return NvmlMeter(pynvml)
    except Exception as error:  # noqa: BLE001 - whatever the driver has against it, the job runs on unmeasured
        return NoGpu(str(error) or type(error).__name__)
