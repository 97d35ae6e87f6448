"""The page cache: rates of a disk are those of reads that it does not answer."""

from __future__ import annotations

import os
from collections.abc import Iterable


def evict(paths: Iterable[str | os.PathLike[str]]) -> bool:
    """Ask the kernel to forget what it holds of some files; their data has to be on the disk already.

    Returns:
        Whether it did for all that could be opened. False where the kernel does not say, so that "cold" is never claimed without
        ground.
    """
    cold: list[bool] = []
    for path in paths:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            # What cannot be opened is told by the decoder, with the reason.
            continue
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            cold.append(_is_cold(fd))
        finally:
            os.close(fd)
    return bool(cold) and all(cold)


def _is_cold(fd: int) -> bool:
    """Whether the file's first byte would have to come from the disk."""
    try:
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
