"""Work for a cluster: what can be refused is refused here, before anything is submitted."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.slurm_facts import SHARED_FILESYSTEMS, Cluster, Partition, SharedFolder
from fsgr_tui.core.slurm_fit import fitted
from fsgr_tui.core.slurm_job import Part
from fsgr_tui.core.slurm_profile import Profile, suggested_time_s
from fsgr_tui.core.slurm_script import Batch, escaped_pattern, on_several_nodes, script, torchrun_words
from fsgr_tui.core.units import Estimate
from fsgr_tui.jobs.folder import STEP_KINDS, RunFolder, new_run, runs_dir
from fsgr_tui.jobs.slurm import commands
from fsgr_tui.jobs.slurm.chain import ids_behind
from fsgr_tui.jobs.slurm.commands import Commands
from fsgr_tui.jobs.slurm.facts import read_cluster
from fsgr_tui.jobs.slurm.submit import Work, part_of, submit, write_member
from fsgr_tui.probes.disk import probe_disk
from fsgr_tui.service.profiles import read_profile


class Place(msgspec.Struct, frozen=True):
    """Where work goes, once the cluster can give what the profile asks for.

    Attributes:
        profile: with its partition's name and its numbers of GPUs and CPUs.
        notices: what a person should know before anything is submitted.
    """

    profile_name: str
    profile: Profile
    partition: Partition
    cluster: Cluster
    notices: tuple[str, ...] = ()

    @property
    def cpus(self) -> int:
        """CPUs per node."""
        return self.profile.cpus or 1

    @property
    def python(self) -> str:
        """The interpreter on the nodes."""
        return self.profile.python or sys.executable


def place(
    profile_name: str, folders: Mapping[str, str], nodes: int | None = None, slurm: Commands = commands.run
) -> Place:
    """Look at the cluster, and at whether it can give what a profile asks for.

    Args:
        profile_name: empty for the one called "default", or the site's own defaults.
        folders: what the nodes have to see, by its role.
        nodes: instead of the profile's; None for those.

    Raises:
        BadRequest: no such profile or partition, or more than any node has.
        MachineCannot: Slurm is not here, or does not answer.
    """
    if slurm is commands.run:
        commands.require()
    name, wanted = read_profile(profile_name)
    if nodes is not None:
        wanted = msgspec.structs.replace(wanted, nodes=nodes)
    cluster = read_cluster(slurm)
    profile, partition = fitted(wanted, cluster)
    return Place(name, profile, partition, cluster, _notices(profile, partition, cluster, folders))


def _notices(profile: Profile, partition: Partition, cluster: Cluster, folders: Mapping[str, str]) -> tuple[str, ...]:
    told = []
    if own := [
        folder for folder in shared_folders({mark("the run folder"): str(runs_dir()), **folders}) if not folder.shared
    ]:
        listed = tr(", ").join(
            tr("{role} ({path}, {filesystem})", role=tr(folder.role), path=folder.path, filesystem=folder.filesystem)
            for folder in own
        )
        told.append(
            tr(
                "warning: other nodes most likely do not see {folders}. Use folders on the shared file system (FSGR_TUI_RUNS "
                "sets the one of runs), unless all runs on this very host.",
                folders=listed,
            )
        )
    if partition.usable < profile.nodes:
        told.append(
            tr(
                "warning: {usable} of {all} nodes of {partition} can be used now; it will wait.",
                usable=partition.usable,
                all=partition.nodes,
                partition=partition.name,
            )
        )
    if cluster.requeue is False:
        told.append(
            tr("This site puts no job back by itself (JobRequeue=0); --requeue in the script asks for it all the same.")
        )
    return tuple(told)


def shared_folders(folders: Mapping[str, str]) -> tuple[SharedFolder, ...]:
    """Whether other nodes are likely to see these folders, told from their file systems."""
    found = []
    for role, path in folders.items():
        disk = probe_disk(path)
        shared = disk.filesystem in SHARED_FILESYSTEMS or disk.filesystem.startswith("fuse.")
        found.append(SharedFolder(role, str(Path(path).absolute()), disk.filesystem, shared))
    return tuple(found)


def look(folders: Mapping[str, str], slurm: Commands = commands.run) -> Cluster:
    """What Slurm offers, with what is known of some folders.

    Args:
        folders: by role; an empty path is that of the run folders.

    Raises:
        MachineCannot: Slurm is not here, or does not answer.
    """
    if slurm is commands.run:
        commands.require()
    paths = {role: path or str(runs_dir()) for role, path in folders.items()}
    return msgspec.structs.replace(read_cluster(slurm), shared=shared_folders(paths))


def time_limit(where: Place, work: Estimate | None) -> int:
    """Seconds that a job may run: as the profile says, else suggested; 0 for the partition's default.

    Args:
        work: how long it takes; None where that cannot be told.
    """
    if where.profile.time_s or work is None:
        return where.profile.time_s or 0
    return suggested_time_s(work, where.cluster.partition(where.profile.partition).limit_s)


def batch_of(
    where: Place,
    run: RunFolder,
    name: str,
    what: str,
    time_s: int,
    tasks: int = 0,
    *,
    below: str = "",
    cwd: Path | None = None,
) -> Batch:
    """One script.

    Args:
        name: of the part; see `Part.name`.
        what: one line that says what the job is.
        time_s: time limit; 0 for the partition's default.
        tasks: of an array; 0 for a single job.
        below: where the runner's folder is below the run folder.
        cwd: working folder; by default this process's own.
    """
    return Batch(
        what=what,
        name=part_of(run, name).job_name,
        folder=str(run.folder / below),
        output=escaped_pattern(str(run.folder)) + ("/slurm-%A_%a.out" if tasks else "/slurm-%j.out"),
        workdir=str(cwd or Path.cwd()),
        profile=where.profile,
        profile_name=where.profile_name,
        time_s=time_s,
        python=where.python,
        tasks=tasks,
    )


def scripts_text(scripts: Sequence[tuple[Part, Batch]]) -> str:
    """The scripts as they would be written, one after the other."""
    texts = []
    for number, (part, batch) in enumerate(scripts):
        behind = f", after {scripts[number - 1][0].name}" if number else ""
        texts.append(f"# ---- {part.script}{behind}\n{script(batch)}")
    return "\n".join(texts)


def start_command(
    where: Place, work: Work, name: str = "", needs: Sequence[str] = (), slurm: Commands = commands.run
) -> RunFolder:
    """Submit a command as one job.

    Args:
        work: the command as it runs on its nodes (see `command_of`).
        name: the user's own name for the job.
        needs: names of runs in Slurm that have to end well first.

    Raises:
        BadRequest: the name cannot be.
        MachineCannot: the folder cannot be made, or Slurm takes the job not.
    """
    run = new_run(work.kind, name)
    write_member(run, msgspec.structs.replace(work, step=work.kind in STEP_KINDS), where.profile)
    submit(run, command_scripts(where, work, run), ids_behind(needs), needs, slurm)
    return run


def command_of(where: Place, work: Work) -> Work:
    """The command as it runs on its nodes: on several a Python script that torchrun starts on each.

    Raises:
        BadRequest: it cannot be started on several nodes.
    """
    if where.profile.nodes == 1:
        return work
    return msgspec.structs.replace(work, argv=on_several_nodes(work.argv, where.python))


def command_scripts(where: Place, work: Work, run: RunFolder) -> tuple[tuple[Part, Batch], ...]:
    """The one job of a command and its script."""
    what = " ".join(work.shown or work.argv)
    batch = batch_of(where, run, work.kind, what, time_limit(where, work.seconds), cwd=work.cwd)
    return ((part_of(run, work.kind), msgspec.structs.replace(batch, torchrun=torchrun_words(work.argv))),)
