"""What a machine offers: disks, GPUs, host. Frozen facts, filled in by the probes."""

from __future__ import annotations

from typing import Literal

import msgspec

from fsgr_tui.core.language import mark
from fsgr_tui.core.units import Unknown

NO_QUOTA = mark("the quota command names no quota on this file system")
NO_QUOTA_OF_BYTES = mark("the quota sets no limit on bytes")
NO_QUOTA_OF_FILES = mark("the quota sets no limit on files")
NOT_ASKED = mark("not asked")
NOT_ASKED_SIMULATED = mark("not asked: the free space is simulated")
UNLIMITED = frozenset({NO_QUOTA, NO_QUOTA_OF_BYTES, NO_QUOTA_OF_FILES, NOT_ASKED, NOT_ASKED_SIMULATED})
"""Reasons why a quota has no value that are no cause for a warning."""

GpuStatus = Literal["ok", "none", "hidden", "driver_mismatch", "no_driver", "error"]


class Disk(msgspec.Struct, frozen=True):
    """One file system, seen from one path.

    Attributes:
        path: the path that was asked for.
        mount: its mount point.
        filesystem: kernel name of the type, e.g. "ext4", "nfs4", "overlay".
        device: what is mounted; two paths with the same device share their space.
        total_bytes: size of the file system.
        free_bytes: what this user may still write (without the blocks reserved for root, within the quota).
        quota_bytes: what the user's quota leaves, or why it is not known.
        inodes_free: files this user may still create, or why that is not known.
        writable: whether this user may create files at `path` (its nearest existing parent); false, too, where the disk
            does not answer (`silence`).
    """

    path: str
    mount: str
    filesystem: str
    device: str
    total_bytes: int | Unknown
    free_bytes: int | Unknown
    quota_bytes: int | Unknown
    inodes_free: int | Unknown
    writable: bool

    @property
    def silence(self) -> Unknown | None:
        """Why the disk gave no answer at all (a server that hangs, a stale handle); None when it answered."""
        sizes = self.total_bytes, self.inodes_free
        return sizes[0] if isinstance(sizes[0], Unknown) and sizes[0] == sizes[1] else None


class Gpu(msgspec.Struct, frozen=True):
    """One GPU, or one MIG slice, that this process may use.

    Attributes:
        index: NVML index; a MIG slice carries its parent's.
        uuid: what CUDA_VISIBLE_DEVICES accepts.
        utilisation: percent busy over the driver's last sampling period.
        used_elsewhere_bytes: used memory that no process visible from here accounts for (containers, other users).
        mig: whether this is a MIG slice.
        shared_memory: whether the GPU shares the host's memory (unified memory).
    """

    index: int
    uuid: str
    name: str
    memory_total_bytes: int | Unknown
    memory_free_bytes: int | Unknown
    memory_used_bytes: int | Unknown
    utilisation: int | Unknown
    used_elsewhere_bytes: int | Unknown = Unknown(NOT_ASKED)
    mig: bool = False
    shared_memory: bool = False


class GpuReport(msgspec.Struct, frozen=True):
    """All that the driver says.

    Attributes:
        status: ok, none (driver without devices), hidden (devices exist but CUDA_VISIBLE_DEVICES hides all),
            driver_mismatch (kernel module and library differ), no_driver, error.
        message: one sentence for a person, with the remedy where there is one.
    """

    status: GpuStatus
    gpus: tuple[Gpu, ...] = ()
    driver: str | Unknown = Unknown(mark("no driver"))
    message: str = ""


class CpuBudget(msgspec.Struct, frozen=True):
    """CPUs this process may use, and which limit set the number (Slurm, affinity, cgroup quota or the host)."""

    count: int
    source: str
    host_count: int


class MemoryBudget(msgspec.Struct, frozen=True):
    """Memory this process may use: the smaller of the host's and every cgroup's above it."""

    limit_bytes: int
    available_bytes: int
    source: str


class Host(msgspec.Struct, frozen=True):
    """The machine without its disks and GPUs."""

    name: str
    system: str
    python: str
    cpu: str
    cpus: CpuBudget
    memory: MemoryBudget | Unknown


class Machine(msgspec.Struct, frozen=True):
    """Disks by role, GPUs and host."""

    disks: tuple[Disk, ...]
    gpu_report: GpuReport
    host: Host

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs that may be used."""
        return self.gpu_report.gpus

    def disk_for(self, path: str) -> Disk | None:
        """The disk that was probed for exactly this path."""
        return next((disk for disk in self.disks if disk.path == path), None)
