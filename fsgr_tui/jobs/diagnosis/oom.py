"""The kernel's own counters of processes that it killed for memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class OomKills(NamedTuple):
    """Counters since boot; None where the kernel does not tell."""

    group: int | None
    host: int | None

    def since(self, before: OomKills) -> OomKills:
        """What was added since an earlier reading."""
        return OomKills(_added(self.group, before.group), _added(self.host, before.host))


def read(root: Path = Path("/")) -> OomKills:
    """The counters of this process's control group (v2 or v1) and of the host."""
    return OomKills(_group(root), _number(root / "proc/vmstat", r"^oom_kill (\d+)$"))


def _group(root: Path) -> int | None:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found = _number(root / "sys/fs/cgroup" / path.lstrip("/") / "memory.events", r"^oom_kill (\d+)$")
        elif "memory" in controllers.split(","):
            found = _number(
                root / "sys/fs/cgroup/memory" / path.lstrip("/") / "memory.oom_control", r"^oom_kill (\d+)$"
            )
        else:
            continue
        if found is not None:
            return found
    return None


def _number(path: Path, pattern: str) -> int | None:
    try:
        match = re.search(pattern, path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) if match else None


def _added(now: int | None, before: int | None) -> int | None:
    return max(0, now - before) if now is not None and before is not None else None
