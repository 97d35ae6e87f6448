"""The batch script that says what a profile asks for: a file to read, and to submit by hand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

import msgspec

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr
from fsgr_tui.core.slurm import format_limit
from fsgr_tui.core.slurm_profile import Profile
from fsgr_tui.core.units import printable

PORTS = "$((20000 + SLURM_JOB_ID % 10000))"
"""Of the rendezvous: another one for every job that shares the node, below those that the kernel gives away."""

_JOB_NAME_CHARS = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_JOB_NAME = 100


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One script.

    Attributes:
        what: one line that says what the job is.
        name: the job's name in Slurm; see `job_name`.
        folder: the run folder, absolute; of an array the folder that holds `shard-1`, `shard-2`, ...
        output: Slurm's own log, absolute, with %-patterns for numbers.
        workdir: working folder.
        time_s: time limit; 0 for the partition's default.
        tasks: how many tasks an array has; 0 for a single job.
        torchrun: the words behind torchrun, where it starts the command on several nodes.
        python: the interpreter with this program.
        profile_name: as the user calls it.
    """

    what: str
    name: str
    folder: str
    output: str
    workdir: str
    profile: Profile
    profile_name: str
    time_s: int
    python: str
    tasks: int = 0
    torchrun: tuple[str, ...] = ()


def job_name(run: str, part: str) -> str:
    """A name for Slurm: ASCII without spaces, whatever the run is called; by it a job is known again as ours."""
    plain = _JOB_NAME_CHARS.sub("_", run.encode("ascii", "replace").decode())
    return f"fsgr-{plain}"[:_LONGEST_JOB_NAME] + (f".{part}" if part else "")


def script(batch: Batch) -> str:
    """The batch script.

    Raises:
        BadRequest: a path cannot stand in a script.
    """
    profile = batch.profile
    for path in (batch.folder, batch.output, batch.workdir):
        if not path.isprintable() or '"' in path:
            raise BadRequest(
                tr("{path} cannot stand in a batch script.", path=printable(path)),
                tr("Use a folder without quotes and line breaks."),
            )
    # Module and conda are functions that only a login shell is sure to have.
    shell = "#!/bin/bash -l" if profile.modules or profile.conda else "#!/bin/bash"
    lines = [
        shell,
        f"# {printable(batch.what)}",
        f"# Made by fsgr-tui for the profile {printable(batch.profile_name)!r}. It can be submitted by hand: sbatch THIS-FILE;",
        "# what is finished is not done again.",
        *(f"#SBATCH {option}" for option in options(batch)),
        "",
        *setup_lines(profile),
        *(_rendezvous(profile, batch.torchrun) if batch.torchrun else ()),
        _command(batch),
    ]
    return "\n".join(lines) + "\n"


def options(batch: Batch) -> tuple[str, ...]:
    """The options of sbatch."""
    profile = batch.profile
    gpus = f"gpu:{profile.gpu_type}:{profile.gpus}" if profile.gpu_type else f"gpu:{profile.gpus}"
    memory = profile.memory_bytes
    throttle = f"%{profile.at_once}" if profile.at_once else ""
    asked = [
        ("job-name", batch.name),
        ("output", _quoted(batch.output)),
        ("open-mode", "append"),
        ("chdir", _quoted(batch.workdir)),
        ("array", f"1-{batch.tasks}{throttle}" if batch.tasks else ""),
        ("partition", profile.partition),
        ("account", profile.account),
        ("qos", profile.qos),
        ("constraint", _quoted(profile.constraint) if profile.constraint else ""),
        ("nodes", str(profile.nodes)),
        ("ntasks-per-node", "1"),
        ("cpus-per-task", str(profile.cpus or "")),
        ("gres", gpus if profile.gpus else ""),
        # Slurm's M is 2^20 bytes.
        ("mem", f"{-(-memory // 2**20)}M" if memory else ""),
        ("time", format_limit(batch.time_s) if batch.time_s else ""),
        ("signal", f"B:USR1@{profile.signal_s}"),
    ]
    return (
        *(f"--{name}={value}" for name, value in asked if value),
        "--requeue",
        *(option.removeprefix("#SBATCH ") for option in profile.extra),
    )


def setup_lines(profile: Profile) -> tuple[str, ...]:
    """What has to happen in the shell before the command; the first failure ends the job."""
    lines = [f"module load {shlex.quote(module)} || exit 1" for module in profile.modules]
    if profile.conda:
        lines.append(
            f'eval "$("${{CONDA_EXE:-conda}}" shell.bash hook)" && conda activate {shlex.quote(profile.conda)} || exit 1'
        )
    return (*lines, *profile.setup)


def _rendezvous(profile: Profile, words: Sequence[str]) -> tuple[str, ...]:
    """What torchrun reads from its environment: every flag of it, with PET_ before its name."""
    each = max(1, profile.gpus or 0)
    rest = f"--rdzv-id=$PET_RDZV_ID --rdzv-endpoint=$PET_RDZV_ENDPOINT {printable(shlex.join(words))}"
    return (
        "# The command is srun torchrun with these flags, which it reads from its environment:",
        f"#   srun torchrun --nnodes=$SLURM_JOB_NUM_NODES --nproc-per-node={each} --rdzv-backend=c10d {rest}",
        'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "first=$(scontrol show node --oneliner \"$first\" | sed -n 's/.* NodeAddr=\\([^ ]*\\).*/\\1/p')",
        f'export PET_NNODES="$SLURM_JOB_NUM_NODES" PET_NPROC_PER_NODE={each}',
        'export PET_RDZV_BACKEND=c10d PET_RDZV_ID="$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}"',
        f'export PET_RDZV_ENDPOINT="$first:{PORTS}"',
        # srun takes one CPU a task unless it is told again (since 22.05).
        'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"',
    )


TORCHRUN = ("-m", "torch.distributed.run")


def on_several_nodes(argv: Sequence[str], python: str) -> tuple[str, ...]:
    """A Python command, started by torchrun on every node of its job.

    Raises:
        BadRequest: the command is no Python script.
    """
    words = list(argv)
    if len(words) > 1 and re.fullmatch(r"(.*/)?python[0-9.]*", words[0]):
        python, words = words[0], words[1:]
    if not words[0].endswith(".py") and words[0] != "-m":
        raise BadRequest(
            tr(
                "{command} on several nodes: only a Python script can be started by torchrun.",
                command=printable(argv[0]),
            ),
            tr("Write it as `python train.py ...`, or use a profile with nodes = 1."),
        )
    return (*_SRUN, python, *TORCHRUN, *words)


_SRUN = ("srun", "--kill-on-bad-exit=1", "--cpu-bind=none")


def torchrun_words(argv: Sequence[str]) -> tuple[str, ...]:
    """The words behind torchrun of a command made by `on_several_nodes`; empty for any other command."""
    head = (*_SRUN, *TORCHRUN)
    begins = (*argv[: len(_SRUN)], *argv[len(_SRUN) + 1 : len(head) + 1])
    return tuple(argv[len(head) + 1 :]) if begins == head else ()


def _command(batch: Batch) -> str:
    # The interpreter takes the place of this shell, so that signals for the batch reach it.
    folder = shlex.quote(batch.folder) + ('/shard-"$SLURM_ARRAY_TASK_ID"' if batch.tasks else "")
    return f"exec {shlex.quote(batch.python)} -m fsgr_tui.jobs.slurm.node {folder} {batch.profile.signal_s}"


def _quoted(value: str) -> str:
    return f'"{value}"'


def escaped_pattern(folder: str) -> str:
    """A folder as part of a file name pattern of sbatch, in which % begins a number."""
    return folder.replace("%", "%%")
