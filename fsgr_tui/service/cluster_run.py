"""Commands and plans as jobs of Slurm, each behind those that it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import msgspec

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr
from fsgr_tui.core.planfile import PlanStep
from fsgr_tui.core.slurm_profile import light
from fsgr_tui.core.units import Estimate
from fsgr_tui.jobs.folder import RunFolder, find_run, runs_dir
from fsgr_tui.jobs.slurm import commands
from fsgr_tui.jobs.slurm.chain import ids_behind
from fsgr_tui.jobs.slurm.commands import Commands
from fsgr_tui.jobs.slurm.submit import Work
from fsgr_tui.service import cluster, cluster_extract, running
from fsgr_tui.service.cluster import Place
from fsgr_tui.service.cluster_extract import PreparedShards

LIGHT_KINDS = frozenset({"check", "convert", "merge", "plan", "report", "look"})
"""Commands of this program that need no GPU."""


class Link(msgspec.Struct, frozen=True):
    """One job of a chain.

    Attributes:
        step: its name in the plan; empty for a command alone.
        name: the user's own name for the job.
        needs: steps that have to end well before.
        shards: an extraction that was looked at already, in its parts; None for a command as it stands.
    """

    step: str
    name: str
    work: Work
    needs: tuple[str, ...] = ()
    shards: PreparedShards | None = None


class Chain(msgspec.Struct, frozen=True):
    """Jobs that nothing speaks against, each behind those that it needs.

    Attributes:
        after: names of runs in Slurm that come before all of them.
    """

    where: Place
    links: tuple[Link, ...]
    after: tuple[str, ...] = ()

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know before they are submitted."""
        return tuple(notice for link in self.links if link.shards for notice in link.shards.whole.notices)

    def place_of(self, link: Link) -> Place:
        """Where a job goes; what needs no GPU asks for none."""
        if link.work.kind not in LIGHT_KINDS:
            return self.where
        return msgspec.structs.replace(self.where, profile=light(self.where.profile))


Known = Estimate | PreparedShards | None
"""What is known of a command before it is submitted: how long it takes, or all of an extraction."""

Ask = Callable[[Sequence[str], Sequence[str]], Known]
"""Asks that of a command of this program: its words without the program's name, and the steps that it needs."""


def know_nothing(_words: Sequence[str], _needs: Sequence[str]) -> Known:
    """Of a command that nothing is asked about."""
    return None


def one_script(where: Place, work: Work) -> Chain:
    """A lab's own script as one job; on several nodes torchrun starts it on each.

    Raises:
        BadRequest: it cannot be started on several nodes.
    """
    return Chain(where, (Link("", "", cluster.command_of(where, work)),))


def prepare(
    request: running.RunRequest, where: Place, steps: Sequence[PlanStep] | None, ask: Ask = know_nothing
) -> Chain:
    """Look at everything that could stop a command, or the steps of a plan, on the cluster.

    Args:
        where: the cluster, which can give what the profile asks for.

    Raises:
        BadRequest: as `running.prepare`; or flags that belong to jobs of this host.
    """
    if request.queue or request.first or not request.wait or request.gpu:
        flag = "--queue" if request.queue else "--first" if request.first else "--gpu" if request.gpu else "--no-wait"
        raise BadRequest(
            tr("{flag} is for jobs on this host.", flag=flag),
            tr("In Slurm the profile says how many GPUs, and the queue is Slurm's."),
        )
    after = tuple(find_run(name).name for name in request.after)
    ids_behind(after)
    # GPUs are Slurm's to give; those of this host are not looked at.
    here = msgspec.structs.replace(request, gpu="none", after=())
    if steps is None:
        return Chain(where, (_link(where, "", running.prepare(here), (), ask),), after)
    prepared = running.prepare_plan(steps, here)
    return Chain(where, tuple(_link(where, step.name, one, step.needs, ask) for step, one in prepared), after)


def _link(where: Place, step: str, one: running.PreparedRun, needs: Sequence[str], ask: Ask) -> Link:
    work = _work(where, one)
    ours = one.argv[0] == sys.executable and one.kind != "command"
    known = ask(one.request.argv[1:], needs) if ours else None
    if isinstance(known, PreparedShards):
        return Link(step, one.request.name, work, tuple(needs), known)
    return Link(step, one.request.name, msgspec.structs.replace(work, seconds=known), tuple(needs))


def _work(where: Place, one: running.PreparedRun) -> Work:
    # This program's own commands run under this interpreter; on the nodes it may be another one.
    argv = (where.python, *one.argv[1:]) if one.argv[0] == sys.executable else one.argv
    work = Work(kind=one.kind, argv=argv, cwd=one.cwd, shown=one.request.shown or one.request.argv, env=one.request.env)
    if one.kind in LIGHT_KINDS:
        return work
    if one.kind == "train" and not any(word.partition("=")[0] == "--repo" for word in argv):
        return msgspec.structs.replace(work, argv=(*argv, *_spread(where, argv)))
    if where.profile.nodes > 1 and one.kind != "command":
        raise BadRequest(
            tr("nodes = {nodes}: `fsgr-tui {kind}` runs on one node.", nodes=where.profile.nodes, kind=one.kind),
            tr("Use nodes = 1; `fsgr-tui train` and a lab's own script go to several."),
        )
    return cluster.command_of(where, work)


def _spread(where: Place, argv: Sequence[str]) -> tuple[str, ...]:
    """The flags that spread a training over the nodes and GPUs of its job."""
    given = {word.partition("=")[0] for word in argv}
    nodes = where.profile.nodes
    if "--nodes" in given:
        raise BadRequest(
            tr("--nodes behind `run` does not change the job's nodes."),
            tr("The profile says how many (now {nodes}), or `fsgr-tui train --backend slurm --nodes N`.", nodes=nodes),
        )
    own = ("--nproc", str(processes_of(where))) if "--nproc" not in given and processes_of(where) > 1 else ()
    return (*(("--nodes", str(nodes)) if nodes > 1 else ()), *own)


def processes_of(where: Place, asked: int | None = None) -> int:
    """Processes of a training on each node: one a GPU, unless the user says how many."""
    return asked or max(1, where.profile.gpus or 0)


def start(chain: Chain, slurm: Commands = commands.run) -> tuple[RunFolder, ...]:
    """Submit all jobs of a chain.

    Raises:
        BadRequest: a name cannot be.
        MachineCannot: a folder cannot be made, or Slurm takes a job not; those before it stay.
    """
    runs: dict[str, RunFolder] = {}
    for link in chain.links:
        needs = (*chain.after, *(runs[need].name for need in link.needs))
        if link.shards is not None:
            runs[link.step] = cluster_extract.start_extraction(link.shards, link.name, needs, slurm)
        else:
            runs[link.step] = cluster.start_command(chain.place_of(link), link.work, link.name, needs, slurm)
    return tuple(runs.values())


def chain_text(chain: Chain) -> str:
    """The scripts as they would be written, each with what it waits for."""
    texts = []
    for link in chain.links:
        example = RunFolder(runs_dir() / (link.name or f"{link.work.kind}-EXAMPLE"))
        title = f"# {link.step}, after {', '.join(link.needs)}\n" if link.needs else ""
        scripts = (
            cluster.command_scripts(chain.place_of(link), link.work, example)
            if link.shards is None
            else cluster_extract.extraction_scripts(link.shards)
        )
        texts.append(title + cluster.scripts_text(scripts))
    return "\n".join(texts)
