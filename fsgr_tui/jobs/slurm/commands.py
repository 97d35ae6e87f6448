"""Slurm's commands, called with argument lists, time limits and a clean environment. Tests hand in fakes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Protocol

import msgspec

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.language import tr

ASK_S = 15.0
"""With its controller down, squeue blocks for nine seconds (measured on 22.05)."""

SUBMIT_S = 60.0

_KEPT = frozenset(
    {"SLURM_CONF", "SLURM_CLUSTERS", "SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION"}
)
_OURS = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SINFO_", "SCONTROL_", "SCANCEL_")


class Answer(msgspec.Struct, frozen=True):
    """What a command gave; `missing` when there is none of that name, `late` when it gave no answer in time."""

    code: int
    out: str = ""
    err: str = ""
    missing: bool = False
    late: bool = False

    @property
    def good(self) -> bool:
        """Whether it did what it was told."""
        return self.code == 0 and not self.missing and not self.late

    @property
    def why(self) -> str:
        """What is wrong, in one line."""
        if self.missing:
            return tr("no such command here")
        if self.late:
            return tr("no answer in time")
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else tr("exit code {code}", code=self.code)


class Commands(Protocol):
    """What is asked of the world."""

    def __call__(self, argv: Sequence[str], timeout_s: float = ASK_S) -> Answer:
        """Run a command to its end."""
        ...


def environment() -> dict[str, str]:
    """This process's environment without what changes the meaning of Slurm's commands.

    Inside an allocation SLURM_* describes that allocation, and sbatch would hand it on; SQUEUE_*, SACCT_* and SBATCH_*
    hold a user's own filters and formats. An account, partition or QoS that a user has set for all jobs stays.
    """
    plain = {name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith(_OURS)}
    # Job names may hold any bytes; under LANG=C the commands fail on them.
    return {**plain, "LC_ALL": "C.UTF-8", "SLURM_TIME_FORMAT": "standard"}


def run(argv: Sequence[str], timeout_s: float = ASK_S) -> Answer:
    """Run one of Slurm's commands."""
    try:
        done = subprocess.run(
            list(argv), env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Answer(1, late=True)
    except OSError as error:
        return Answer(127, err=error.strerror or str(error), missing=isinstance(error, FileNotFoundError))
    return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def on_cluster(cluster: str) -> tuple[str, ...]:
    """The flag that names a cluster, where there are several."""
    return ("-M", cluster) if cluster else ()


def require() -> None:
    """Refuse when Slurm is not here.

    Raises:
        MachineCannot: its commands are not found.
    """
    missing = [name for name in ("sbatch", "squeue", "scancel", "sinfo", "scontrol") if shutil.which(name) is None]
    if missing:
        raise MachineCannot(
            tr("Slurm is not here: {commands} not found.", commands=", ".join(missing)),
            tr(
                "Run this on a login node of the cluster (perhaps after `module load slurm`), or without --backend slurm."
            ),
        )
