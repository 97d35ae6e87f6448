"""Proof of life: who runs a job, told from its lock, its process and its heartbeat.

The strongest proof that is to be had decides: the lock while the runner's host is this one (the kernel takes it away
with the process), then pid and start time, and for other hosts the age of the heartbeat, by the file system's own
clock. The wall clock decides nothing.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from fsgr_tui.jobs.processes import find, process_start

LOST_S = 120.0
"""A runner gives a sign every ten seconds; attributes of files on NFS may be a minute old (nfs(5), acdirmax)."""

LATELY_S = 30.0
TAKE_S = 3.0

_PID_DIGITS = 10

# No locks on this file system (NFS without a lock service, Lustre without -o flock).
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


class Host(NamedTuple):
    """Where a process lives; two containers on one machine share its boot, not their pids."""

    boot_id: str
    pid_space: str
    machine: str
    name: str


class Holder(NamedTuple):
    """What a lock file says of the process that took it."""

    pid: int
    start: str
    host: Host


class Proof(NamedTuple):
    """What is known of a job's runner.

    Attributes:
        life: here, elsewhere, or gone.
        holder: the process, where it is known.
        age_s: seconds since the last sign from another host.
        rebooted: whether the host has been started anew since.
    """

    life: Literal["here", "elsewhere", "gone"]
    holder: Holder | None = None
    age_s: float = 0.0
    rebooted: bool = False


@lru_cache(maxsize=1)
def this_host() -> Host:
    """The host of this process."""
    return Host(
        _text("/proc/sys/kernel/random/boot_id") or "unknown",
        str(_inode("/proc/self/ns/pid")),
        # machine-id(5): the number itself is not to be given away.
        hashlib.sha256(_text("/etc/machine-id").encode()).hexdigest()[:16],
        socket.gethostname() or "unknown",
    )


def take(path: Path, wait_s: float = TAKE_S) -> int:
    """Take a lock and keep it until the descriptor is closed everywhere; returns the descriptor.

    On a file system without locks it is taken in any case: pid and start are what is left as proof.

    Raises:
        BlockingIOError: somebody else holds it.
        OSError: the file cannot be opened.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Whoever looks for life holds it for a moment.
            if time.monotonic() > until:
                os.close(fd)
                raise
            time.sleep(0.02)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(fd)
                raise
            return fd
        else:
            return fd


def sign(fd: int, pid: int) -> None:
    """Write into a lock who holds it."""
    host = this_host()
    body = " ".join((str(pid), process_start(pid), *(each.replace(" ", "_") for each in host))) + "\n"
    os.pwrite(fd, body.encode(errors="replace"), 0)
    os.ftruncate(fd, len(body.encode(errors="replace")))


def sign_name(fd: int, name: str) -> None:
    """Write a job's name into a lock that jobs share."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, name.encode(errors="replace"), 0)


def name_in(path: Path) -> str:
    """The job that holds a shared lock; empty when nobody does."""
    if not _held(path):
        return ""
    try:
        return path.read_text(errors="replace").strip() or "another job"
    except OSError:
        return "another job"


def beat(fd: int) -> None:
    """Give a sign of life: the lock's time, which can be set on a full disk too, by the file server's clock."""
    os.utime(fd)


def holder_of(path: Path) -> Holder | None:
    """Who holds or held a lock; None when nobody signed it."""
    try:
        fields = path.read_text(errors="replace").split()
    except OSError:
        return None
    if len(fields) != 2 + len(Host._fields) or not fields[0].isdecimal() or len(fields[0]) > _PID_DIGITS:
        return None
    return Holder(int(fields[0]), fields[1], Host(*fields[2:]))


def prove(lock: Path) -> Proof:
    """What is known of the process that holds a lock."""
    holder, held = holder_of(lock), _held(lock)
    here = this_host()
    if held:
        # Without locks across hosts only this host's own processes are seen to hold it.
        mine = holder is None or holder.host.boot_id == here.boot_id
        return Proof("here", holder) if mine else Proof("elsewhere", holder, _age(lock))
    if holder is None:
        return Proof("gone")
    if holder.host.boot_id == here.boot_id:
        known_pid = holder.host.pid_space == here.pid_space
        alive = held is None and known_pid and _lives(holder)
        return Proof("here" if alive else "gone", holder)
    if (holder.host.machine, holder.host.name) == (here.machine, here.name):
        return Proof("gone", holder, rebooted=True)
    age = _age(lock)
    return Proof("elsewhere" if age < LOST_S else "gone", holder, age)


def was_alive_lately(lock: Path) -> bool:
    """Whether the last sign is so young that processes of the job may have begun after anybody looked at them."""
    try:
        return abs(time.time() - lock.stat().st_mtime) < LATELY_S
    except OSError:
        return False


def _lives(holder: Holder) -> bool:
    process = find(holder.pid)
    return process is not None and process.start == holder.start


def _held(lock: Path) -> bool | None:
    """Whether a process holds it; None when the file system has no locks, or does not let us look."""
    try:
        fd = _opened(lock)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(fd)
    return False


def _opened(lock: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        return os.open(lock, os.O_RDONLY | os.O_CLOEXEC)


def _age(lock: Path) -> float:
    try:
        return max(0.0, _now(lock.parent) - lock.stat().st_mtime)
    except OSError:
        return LOST_S


def _now(folder: Path) -> float:
    """The time by the clock that stamps files in a folder: on a share, the server's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _inode(path: str) -> int:
    try:
        return Path(path).stat().st_ino
    except OSError:
        return 0
