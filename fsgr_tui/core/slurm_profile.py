"""What a job asks of Slurm: a profile, its light form for work without GPUs, and the time that an estimate suggests."""

from __future__ import annotations

import re

import msgspec

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr
from fsgr_tui.core.slurm import parse_duration
from fsgr_tui.core.units import GIB, Estimate, parse_size

TIME_MARGIN = 1.5
"""On the slow end of an estimate. A limit that is too short costs another turn in the queue, one that is too long a
later start; a job that reaches it goes on anyway."""

START_S = 600
"""Imports and weights from a shared disk, for hundreds of processes at once."""

STEP_S = 600
LIGHT_CPUS = 2

EARLY_S = 60
"""By so much Slurm may send a signal earlier than it was asked for (sbatch(1), --signal)."""

_OPTION = re.compile(r"--?[A-Za-z].*")
_DURATION_WORDS = re.compile(r"(\d+(?:\.\d+)?)\s*(min|m|h|d)")


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a job asks of Slurm: one table of the profiles' TOML file.

    Attributes:
        partition, account, qos, constraint: as of `sbatch`; empty for the site's own defaults.
        light_partition: for merging and checking, which need no GPU; empty for the same.
        gpus: per node; None for one where the partition has any.
        gpu_type: as the site names it, e.g. "a100".
        cpus: per node; None for four, or what a node has. memory: per node, e.g. "32GB"; empty for the site's default.
        time: `4h`, `90min`, `2-00:00` or `04:00:00`; empty for one from the estimate.
        nodes: more than one only for `train`, and for scripts that torchrun can start.
        at_once: how many tasks of an array may run at the same time; 0 for all.
        signal_s: how long before its time limit a job is told to end its batch.
        modules: for `module load`. conda: the environment to activate.
        setup: shell lines before the command. extra: further options of sbatch.
        python: the interpreter with this program; empty for the one that submits.
    """

    partition: str = ""
    light_partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    gpus: int | None = None
    gpu_type: str = ""
    cpus: int | None = None
    memory: str = ""
    time: str = ""
    nodes: int = 1
    at_once: int = 0
    signal_s: int = 120
    modules: tuple[str, ...] = ()
    conda: str = ""
    setup: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    python: str = ""

    def checked(self, name: str) -> Profile:
        """The profile, when all its values can be.

        Raises:
            BadRequest: one of them cannot; the message names it.
        """
        where = tr("profile {name}", name=repr(name))
        for key in ("partition", "light_partition", "account", "qos", "constraint", "gpu_type"):
            value = getattr(self, key)
            if not value.isprintable() or " " in value:
                raise BadRequest(
                    tr("{where}: {key} = {value} cannot be.", where=where, key=key, value=repr(value)),
                    tr("Names in Slurm hold no spaces."),
                )
        for key, least in (("gpus", 0), ("cpus", 1), ("nodes", 1), ("at_once", 0), ("signal_s", 30)):
            value = getattr(self, key)
            if value is not None and value < least:
                raise BadRequest(
                    tr("{where}: {key} = {value} cannot be.", where=where, key=key, value=value),
                    tr("It is at least {least}.", least=least),
                )
        for key in ("modules", "setup", "extra"):
            if any("\n" in line for line in getattr(self, key)):
                raise BadRequest(
                    tr("{where}: {key} holds a line break.", where=where, key=key),
                    tr("Make it two entries of the list."),
                )
        for option in self.extra:
            if not _OPTION.fullmatch(option.removeprefix("#SBATCH ")):
                raise BadRequest(
                    tr("{where}: extra = {option} is no option of sbatch.", where=where, option=repr(option)),
                    tr('Write it like "--exclude=n3".'),
                )
        _ = self.memory_bytes
        if self.time_s is not None and self.time_s < self.signal_s + EARLY_S:
            raise BadRequest(
                tr(
                    "{where}: time = {time} leaves no time for work: Slurm warns the job {warning} s before its end, or up "
                    "to {early} s earlier.",
                    where=where,
                    time=self.time,
                    warning=self.signal_s,
                    early=EARLY_S,
                ),
                tr("Ask for more, or for a shorter warning (signal_s)."),
            )
        return self

    @property
    def time_s(self) -> int | None:
        """The time limit in seconds; None when it is to be suggested.

        Raises:
            BadRequest: it is no duration, or one that people read in two ways.
        """
        if not self.time:
            return None
        if match := _DURATION_WORDS.fullmatch(self.time.strip()):
            return round(float(match[1]) * {"m": 60, "min": 60, "h": 3600, "d": 86400}[match[2]])
        if re.fullmatch(r"\d+:\d+", self.time.strip()):
            raise BadRequest(
                tr('time = "{time}" means minutes and seconds to Slurm.', time=self.time),
                tr("Write 4h, 90min, or all of 04:00:00."),
            )
        try:
            return parse_duration(self.time)
        except ValueError:
            raise BadRequest(
                tr('time = "{time}" is no time limit.', time=self.time), tr("Write 4h, 90min, 2-00:00 or 04:00:00.")
            ) from None

    @property
    def memory_bytes(self) -> int | None:
        """Memory per node; None for the site's default.

        Raises:
            BadRequest: it is no size.
        """
        return parse_size(self.memory) if self.memory else None


LIGHT = {"gpus": 0, "gpu_type": "", "nodes": 1, "constraint": ""}


def light(profile: Profile) -> Profile:
    """The profile for merging and checking: no GPU, few CPUs, and their own partition where one is named."""
    return msgspec.structs.replace(
        profile,
        **LIGHT,
        cpus=min(profile.cpus or LIGHT_CPUS, LIGHT_CPUS),
        partition=profile.light_partition or profile.partition,
    )


def suggested_time_s(work: Estimate, most_s: int | None) -> int:
    """A time limit for work of an estimated duration: its slow end with a margin, in steps of ten minutes.

    Args:
        most_s: the partition's own limit; None for none.
    """
    wanted = -(-round(work.high * TIME_MARGIN + START_S) // STEP_S) * STEP_S
    return wanted if most_s is None else min(wanted, most_s)


def memory_words(count: int) -> str:
    """Memory of a node, e.g. `64 GiB`."""
    return f"{count / GIB:.0f} GiB"
