"""Disks: free space, quota, free inodes, and the mount behind a path that need not exist yet."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Collection
from queue import Empty, SimpleQueue
from typing import Final, Protocol, TypeVar

import msgspec

from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import NO_QUOTA, NO_QUOTA_OF_BYTES, NO_QUOTA_OF_FILES, Disk
from fsgr_tui.core.units import Unknown

STATVFS_TIMEOUT_S: Final = 2.0
QUOTA_TIMEOUT_S: Final = 1.0

_QUOTA_BLOCK_BYTES: Final = 1024  # quota(1) counts space in KiB, whatever the file system's own block size is
_NUMBER: Final = r"\s+(\d+)"
_QUOTA_ROW: Final = re.compile(rf"\s*(?P<mount>/.*?){_NUMBER}\*?{_NUMBER * 3}{_NUMBER}\*?{_NUMBER * 3}\s*")

# File systems whose quotas quota(1) does not know, and the commands that tell them.
_OWN_QUOTA: Final = {
    "lustre": "lfs quota -u $USER",
    "gpfs": "mmlsquota",
    "beegfs": "beegfs-ctl --getquota --uid $USER",
    "panfs": "pan_quota",
    "ceph": "getfattr -n ceph.quota.max_bytes",
    "wekafs": "weka fs quota list",
}

T = TypeVar("T")


class Mount(msgspec.Struct, frozen=True):
    """One line of /proc/self/mountinfo.

    Attributes:
        point: where it is mounted.
        root: which folder of the file system appears there (not "/" for bind mounts and in containers).
        filesystem: kernel name of the type.
        source: what the mounter named as the device; pseudo file systems all share one such as "tmpfs".
        number: major:minor of the file system.
        options: the file system's own options, with commas between them (for cgroup v1: its controllers).
    """

    point: str
    root: str
    filesystem: str
    source: str
    number: str
    options: str = ""

    @property
    def device(self) -> str:
        """A name that two mounts have in common exactly when they share their space."""
        names_a_device = "/" in self.source or ":" in self.source
        return self.source if names_a_device else f"{self.source} {self.number}"


_NO_MOUNT: Final = Mount(point="/", root="/", filesystem="unknown", source="unknown", number="")


class Quota(msgspec.Struct, frozen=True):
    """What a user's quota leaves on one file system, in bytes and in files."""

    bytes_left: int | Unknown
    inodes_left: int | Unknown


class DiskSystem(Protocol):
    """What the disk probe asks of the world. Every method may raise OSError."""

    def mountinfo(self) -> str:
        """The text of /proc/self/mountinfo."""
        ...

    def nearest_directory(self, path: str) -> str:
        """The deepest existing directory on the way to `path`, absolute, symlinks resolved."""
        ...

    def statvfs(self, directory: str) -> os.statvfs_result:
        """The file system's own counts."""
        ...

    def may_create_in(self, directory: str) -> bool:
        """Whether this user may create files there."""
        ...

    def quota_report(self) -> str | Unknown:
        """What quota(1) prints (raw grace times, unwrapped, mount points in place of devices), or why it did not."""
        ...


class LocalDisks:
    """The disks of this machine."""

    def mountinfo(self) -> str:
        """The text of /proc/self/mountinfo; bytes that are no UTF-8 are kept as surrogates, as in any path."""
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - a plain read
            return file.read()

    def nearest_directory(self, path: str) -> str:
        """The deepest existing directory on the way to `path`, absolute, symlinks resolved.

        Raises:
            OSError: the way leads through something broken (stale NFS handle, dead FUSE server, symlink loop).
                Its parent would answer, but for another file system.
        """
        place = os.path.realpath(path)
        while not _is_directory(place):
            place = os.path.dirname(place)  # noqa: PTH120 - paths are str here, and pathlib is slower
        return place

    def statvfs(self, directory: str) -> os.statvfs_result:
        """The file system's own counts."""
        return os.statvfs(directory)

    def may_create_in(self, directory: str) -> bool:
        """Whether this user may create files there; false on a read-only mount, even for root."""
        return os.access(directory, os.W_OK | os.X_OK)

    def quota_report(self) -> str | Unknown:
        """The output of quota(1) for this user; costs one look through PATH when there is no such command."""
        command = shutil.which("quota")
        if command is None:
            return Unknown(tr("quota not checked: no quota command"))
        try:
            done = subprocess.run(
                [command, "-w", "-p", "--show-mntpoint", "--hide-device"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="surrogateescape",
                env={**os.environ, "LC_ALL": "C"},
                timeout=QUOTA_TIMEOUT_S,
                start_new_session=True,
                check=False,  # it exits 1 for a user who is over quota, with the numbers we are after
            )
        except subprocess.TimeoutExpired:
            return _no_quota_in_time()
        if done.stdout.strip():
            return done.stdout
        complaint = done.stderr.strip().splitlines() or [
            tr("the quota command printed nothing (exit {returncode})", returncode=done.returncode)
        ]
        return Unknown(tr("quota not checked: {complaint}", complaint=complaint[0]))


LOCAL_DISKS: Final = LocalDisks()


def probe_disk(
    path: str | os.PathLike[str], system: DiskSystem = LOCAL_DISKS, timeout_s: float = STATVFS_TIMEOUT_S
) -> Disk:
    """What the disk under `path` offers this user.

    The path may be planned only: its nearest existing parent directory is asked. A file system that hangs or is
    broken yields Unknown readings after at most `timeout_s` seconds; the mount is then found by the path's letters,
    without touching it, so a symlink on the way stays unresolved. The quota adds at most one second.
    Never raises for a faulty disk.

    Args:
        path: a file or folder, existing or not.
        system: where the readings come from.
        timeout_s: how long the file system may take to answer.
    """
    asked = os.fspath(path)
    looked = _within(timeout_s, lambda: _look(system, asked))
    space = looked if isinstance(looked, _Space) else _Space(_lexical(asked), looked, looked, looked, writable=False)
    mounts = _mounts(system)
    mount = mount_of(space.directory, mounts) or _NO_MOUNT
    if isinstance(looked, Unknown):
        quota = Quota(looked, looked)
    else:
        # quota(1) names a device by one of its mount points, not always by the one that leads to this path.
        own = _OWN_QUOTA.get(mount.filesystem)
        quota = (
            _unchecked(mount.filesystem, own)
            if own
            else _ask_quota(system, {other.point for other in (mount, *mounts) if other.device == mount.device})
        )
    return Disk(
        path=asked,
        mount=mount.point,
        filesystem=mount.filesystem,
        device=mount.device,
        total_bytes=space.total_bytes,
        free_bytes=_smaller(space.free_bytes, quota.bytes_left),
        quota_bytes=quota.bytes_left,
        inodes_free=_smaller(space.inodes_free, quota.inodes_left),
        writable=space.writable,
    )


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """The mounts of /proc/self/mountinfo, in its order (format: proc(5)); lines of another form are left out."""
    mounts = []
    for line in text.split("\n"):
        before, separator, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if separator and len(left) >= 6 and len(right) >= 3:
            number, root, point = left[2], _unescaped(left[3]), _unescaped(left[4])
            mounts.append(Mount(point, root, right[0], _unescaped(right[1]), number, right[2]))
    return tuple(mounts)


def mount_of(path: str, mounts: tuple[Mount, ...]) -> Mount | None:
    """The mount that an absolute path lies on: the longest mount point before it; a later mount covers an earlier."""
    covering = [mount for mount in mounts if _lies_under(path, mount.point)]
    return max(reversed(covering), key=lambda mount: len(mount.point), default=None)


def parse_quota(report: str, mount_points: Collection[str], now_s: float) -> Quota:
    """What the row for one file system in quota(1)'s output leaves to the user.

    The hard limit counts where there is one, else the soft one. A soft limit whose grace time is over counts as hard,
    as the kernel has it (quotactl(2)): nothing is left.

    Args:
        report: output of `quota -w -p --show-mntpoint --hide-device`: mount point, then used, soft limit, hard limit
            and grace (seconds since the epoch, 0 when not running), first for KiB, then for files.
        mount_points: where the file system is mounted; its row carries one of them.
        now_s: seconds since the epoch, to tell whether a grace time is over.
    """
    for line in report.splitlines():
        row = _QUOTA_ROW.fullmatch(line)
        if row and row["mount"] in mount_points:
            numbers = [int(number) for number in row.groups()[1:]]
            return Quota(
                bytes_left=_left(NO_QUOTA_OF_BYTES, numbers[:4], _QUOTA_BLOCK_BYTES, now_s),
                inodes_left=_left(NO_QUOTA_OF_FILES, numbers[4:], 1, now_s),
            )
    none = Unknown(NO_QUOTA)
    return Quota(none, none)


class _Space(msgspec.Struct, frozen=True):
    """What the file system itself says about the nearest existing directory."""

    directory: str
    total_bytes: int | Unknown
    free_bytes: int | Unknown
    inodes_free: int | Unknown
    writable: bool


def _look(system: DiskSystem, path: str) -> _Space:
    directory = system.nearest_directory(path)
    counts = system.statvfs(directory)
    unit_bytes = counts.f_frsize or counts.f_bsize  # some FUSE servers leave f_frsize at 0
    no_size = Unknown(tr("this file system reports no size"))  # f_blocks is 0 on autofs and on some FUSE mounts
    return _Space(
        directory=directory,
        total_bytes=counts.f_blocks * unit_bytes if counts.f_blocks else no_size,
        free_bytes=counts.f_bavail * unit_bytes if counts.f_blocks else no_size,
        inodes_free=counts.f_favail if counts.f_files else Unknown(tr("this file system reports no inode count")),
        writable=system.may_create_in(directory),
    )


def _unchecked(filesystem: str, command: str) -> Quota:
    told = Unknown(
        tr("quota not checked: {filesystem} tells it by `{command}` alone", filesystem=filesystem, command=command)
    )
    return Quota(told, told)


def _ask_quota(system: DiskSystem, mount_points: Collection[str]) -> Quota:
    # The command has its own timeout, but a child that waits for a dead server cannot be killed, and waiting for its
    # end would hang here; so the command, too, runs in a thread that can be left behind.
    report = _within(QUOTA_TIMEOUT_S + 0.2, system.quota_report, late=_no_quota_in_time())
    if isinstance(report, Unknown):
        return Quota(report, report)
    return parse_quota(report, mount_points, time.time())


def _within(timeout_s: float, ask: Callable[[], T | Unknown], late: Unknown | None = None) -> T | Unknown:
    """The answer of `ask`, or Unknown when it fails or takes too long.

    A thread stuck in a system call cannot be stopped, only left behind; a daemon thread does not hold up the exit.
    """
    answers: SimpleQueue[T | Unknown] = SimpleQueue()

    def answer() -> None:
        try:
            answers.put(ask())
        except (OSError, ValueError) as error:  # ValueError: a path with a null byte in it
            answers.put(Unknown(getattr(error, "strerror", None) or str(error)))

    threading.Thread(target=answer, name="disk-probe", daemon=True).start()
    try:
        return answers.get(timeout=timeout_s)
    except Empty:
        return late or Unknown(tr("no answer within {timeout_s:g} s", timeout_s=timeout_s))


def _no_quota_in_time() -> Unknown:
    return Unknown(tr("quota not checked: no answer within {timeout_s:g} s", timeout_s=QUOTA_TIMEOUT_S))


def _mounts(system: DiskSystem) -> tuple[Mount, ...]:
    try:
        return parse_mountinfo(system.mountinfo())
    except OSError:  # no /proc here: the mount stays "unknown", which is no device that two paths share
        return ()


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - unlike isdir, it tells absent from broken
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False


def _lexical(path: str) -> str:
    try:
        return os.path.abspath(path)  # noqa: PTH100 - resolve() would touch the disk that just failed to answer
    except OSError:  # the working directory is gone, so a relative path leads nowhere
        return "/"


def _lies_under(path: str, point: str) -> bool:
    return point in ("/", path) or path.startswith(f"{point}/")


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _left(unlimited: str, numbers: list[int], unit: int, now_s: float) -> int | Unknown:
    used, soft, hard, grace_end_s = numbers
    limit = hard or soft
    if not limit:
        return Unknown(unlimited)
    if soft and used > soft and 0 < grace_end_s <= now_s:
        return 0
    return max(0, limit - used) * unit


def _smaller(of_disk: int | Unknown, of_quota: int | Unknown) -> int | Unknown:
    if isinstance(of_quota, Unknown):
        return of_disk
    return of_quota if isinstance(of_disk, Unknown) else min(of_disk, of_quota)
