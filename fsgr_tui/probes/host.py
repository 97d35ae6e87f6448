"""The host: its name, and the CPUs and the memory that this process may use of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.machine import CpuBudget, Host, MemoryBudget
from fsgr_tui.core.units import Unknown
from fsgr_tui.probes.disk import Mount, parse_mountinfo

MOST_WORKERS: Final = 16


class HostSystem(Protocol):
    """What the host probe asks of the world."""

    def read(self, path: str, limit: int = -1) -> str:
        """Text of the file at an absolute path, at most `limit` characters of it when that is not negative.

        Raises:
            OSError: the file is absent or not readable.
        """
        ...

    def environ(self) -> Mapping[str, str]:
        """The environment variables of this process."""
        ...

    def cpu_count(self) -> int:
        """CPUs of the host."""
        ...

    def affinity_count(self) -> int:
        """CPUs that this process may run on (taskset, cpusets)."""
        ...

    def node(self) -> str:
        """The host's name."""
        ...


class LocalHost:
    """This machine. Its files are read under `root`, so that a test can build a /proc of its own."""

    def __init__(self, root: str | os.PathLike[str] = "/") -> None:
        self._root = Path(root)

    def read(self, path: str, limit: int = -1) -> str:
        """Text of the file at an absolute path, at most `limit` characters of it when that is not negative."""
        with (self._root / path.lstrip("/")).open(encoding="utf-8", errors="surrogateescape") as file:
            return file.read(limit)

    def environ(self) -> Mapping[str, str]:
        """The environment variables of this process."""
        return os.environ

    def cpu_count(self) -> int:
        """CPUs of the host."""
        return os.cpu_count() or 1

    def affinity_count(self) -> int:
        """CPUs that this process may run on (taskset, cpusets)."""
        return len(os.sched_getaffinity(0))

    def node(self) -> str:
        """The host's name, from the kernel; no name server is asked."""
        return platform.node()


LOCAL_HOST: Final = LocalHost()


def probe_host(system: HostSystem = LOCAL_HOST) -> Host:
    """The host, with the CPUs and the memory that this process may use.

    Reads /proc and the cgroup files and nothing else, in a few milliseconds. A file that is absent sets no limit;
    without a readable /proc/meminfo the memory is Unknown.
    """
    return Host(
        name=system.node(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        cpu=_cpu_model(system),
        cpus=_cpu_budget(system),
        memory=_memory_budget(system),
    )


def suggested_workers(cpus: CpuBudget) -> int:
    """How many data-loading processes suit a CPU budget: 0 to 16, never more than the budget.

    From 3 CPUs on, one is left to the main process, which feeds the GPU. Two CPUs get two workers: the main process
    sleeps while the GPU computes, and one worker alone would halve the rate of decoding. A single CPU gets 0, which
    PyTorch takes as "load in the main process": a worker would take turns with it on the same core, and every image
    would be copied between the two on top.
    """
    if cpus.count <= 1:
        return 0
    return min(cpus.count - 1 if cpus.count >= 3 else cpus.count, MOST_WORKERS)


class _Limit(NamedTuple):
    """A number of CPUs or bytes and what set it."""

    amount: int
    source: str


class _MemoryFiles(NamedTuple):
    """Names of a cgroup's memory files, which differ between the two versions."""

    limit: str
    used: str
    reclaimable: tuple[str, ...]  # lines of memory.stat: what the kernel gives up before it kills anything


class _MemoryLevel(NamedTuple):
    """One cgroup's memory limit, and what is left below it, in bytes."""

    limit: _Limit
    available_bytes: int


# The v1 names with total_ count the groups below as well, as the v2 names always do.
_MEMORY_FILES: Final = {
    1: _MemoryFiles("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file",)),
    2: _MemoryFiles("memory.max", "memory.current", ("inactive_file", "slab_reclaimable")),
}


def _cpu_model(system: HostSystem) -> str:
    # On a host with hundreds of cores the whole file takes the kernel tens of milliseconds; the first core is enough.
    text = _text(system, "/proc/cpuinfo", limit=4096) or ""
    models = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(models, platform.machine())  # ARM kernels name no model


def _cpu_budget(system: HostSystem) -> CpuBudget:
    host_count = system.cpu_count()
    limits = [_Limit(host_count, mark("host"))]
    # SLURM_CPUS_ON_NODE is left alone: it counts all tasks of the job on this node, not this one's share.
    slurm = _number(system.environ().get("SLURM_CPUS_PER_TASK", ""))
    if slurm:
        limits.append(_Limit(slurm, "SLURM_CPUS_PER_TASK"))
    limits.append(_Limit(system.affinity_count(), mark("CPU affinity")))
    limits.extend(_cpu_quotas(system))
    smallest = min(limits, key=lambda limit: limit.amount)
    return CpuBudget(count=smallest.amount, source=smallest.source, host_count=host_count)


def _cpu_quotas(system: HostSystem) -> Iterator[_Limit]:
    """Every CPU quota above this process in whole CPUs: rounded down, as half a CPU more does not carry a worker."""
    for version, directory in _cgroups(system, "cpu"):
        if version == 2:
            path = f"{directory}/cpu.max"
            quota, _, period = (_text(system, path) or "").strip().partition(" ")
        else:
            path = f"{directory}/cpu.cfs_quota_us"
            quota = _text(system, path) or ""
            period = _text(system, f"{directory}/cpu.cfs_period_us") or ""
        quota_us, period_us = _number(quota), _number(period)  # "max" and -1, which mean no quota, are no numbers
        if quota_us and period_us:
            yield _Limit(max(1, quota_us // period_us), path)


def _memory_budget(system: HostSystem) -> MemoryBudget | Unknown:
    meminfo = _text(system, "/proc/meminfo")
    if meminfo is None:
        return Unknown(tr("/proc/meminfo is not readable"))
    total, available = _kib_line(meminfo, "MemTotal:"), _kib_line(meminfo, "MemAvailable:")
    if total is None or available is None:
        return Unknown(tr("/proc/meminfo names no MemTotal or no MemAvailable"))
    # A limit above the host is none; cgroup v1 spells "no limit" as a number near 2**63.
    levels = [
        level
        for version, directory in _cgroups(system, "memory")
        if (level := _memory_level(system, directory, _MEMORY_FILES[version])) and level.limit.amount < total
    ]
    smallest = min([_Limit(total, "host"), *(level.limit for level in levels)], key=lambda limit: limit.amount)
    return MemoryBudget(
        limit_bytes=smallest.amount,
        available_bytes=min([available, *(level.available_bytes for level in levels)]),
        source=smallest.source,
    )


def _memory_level(system: HostSystem, directory: str, files: _MemoryFiles) -> _MemoryLevel | None:
    path = f"{directory}/{files.limit}"
    limit_bytes = _number(_text(system, path) or "")  # "max" is no number
    if limit_bytes is None:
        return None
    # A group with a limit always has both files; were one unreadable, the limit itself is the best bound there is.
    used_bytes = _number(_text(system, f"{directory}/{files.used}") or "") or 0
    stat = [line.partition(" ") for line in (_text(system, f"{directory}/memory.stat") or "").splitlines()]
    reclaimable_bytes = sum(_number(value) or 0 for name, _, value in stat if name in files.reclaimable)
    left_bytes = limit_bytes - used_bytes + min(reclaimable_bytes, used_bytes)
    return _MemoryLevel(_Limit(limit_bytes, path), max(0, left_bytes))


def _cgroups(system: HostSystem, controller: str) -> Iterator[tuple[int, str]]:
    """Version and directory of this process's cgroup and of all above it, as far as they can be seen from here."""
    own = _own_cgroups(system)
    for mount in parse_mountinfo(_text(system, "/proc/self/mountinfo") or ""):
        if mount.filesystem == "cgroup2" and "" in own:
            yield from ((2, directory) for directory in _upwards(mount, own[""]))
        elif mount.filesystem == "cgroup" and controller in mount.options.split(",") and controller in own:
            yield from ((1, directory) for directory in _upwards(mount, own[controller]))


def _own_cgroups(system: HostSystem) -> dict[str, str]:
    """The path of this process's cgroup by controller; version 2 stands under the empty name."""
    lines = (line.split(":", 2) for line in (_text(system, "/proc/self/cgroup") or "").splitlines())
    return {name: path for _, names, path in lines for name in names.split(",")}


def _upwards(mount: Mount, cgroup: str) -> Iterator[str]:
    """Directories from a cgroup up to its mount point.

    A container may see only a part of the tree: its mount then shows the folder `mount.root`, and the path of the
    cgroup, written from the host's root, has to be cut down to what lies below that. When it does not lie below
    (the path starts with /..), only the mount point itself is known to be above the process.
    """
    root = mount.root.rstrip("/")
    below = cgroup[len(root) :] if f"{cgroup}/".startswith(f"{root}/") else ""
    parts = [part for part in below.split("/") if part]
    for depth in range(0 if ".." in parts else len(parts), -1, -1):
        yield "/".join([mount.point, *parts[:depth]])


def _kib_line(text: str, name: str) -> int | None:
    """Bytes of a line such as `MemTotal:  24684084 kB`."""
    for line in text.splitlines():
        if line.startswith(name):
            kib = _number(line[len(name) :].removesuffix("kB"))
            return None if kib is None else kib * 1024
    return None


def _number(text: str) -> int | None:
    """A non-negative whole number, or None for any other text."""
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() else None


def _text(system: HostSystem, path: str, limit: int = -1) -> str | None:
    try:
        return system.read(path, limit)
    except OSError:  # the root cgroup has no limit files, other systems no cgroups: what is not there limits nothing
        return None
