"""Asking Slurm what the cluster is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.language import tr
from fsgr_tui.core.slurm_facts import NODE_FIELDS, Cluster, cluster_of, parse_config, parse_nodes
from fsgr_tui.jobs.slurm import commands
from fsgr_tui.jobs.slurm.commands import Commands


def read_cluster(slurm: Commands = commands.run) -> Cluster:
    """Partitions, GPUs and limits.

    Raises:
        MachineCannot: Slurm does not answer, or lists no partition.
    """
    # Beside each other: a controller that is down makes both wait.
    with ThreadPoolExecutor(2, "slurm") as pool:
        nodes = pool.submit(slurm, ("sinfo", "-h", "-N", "-o", NODE_FIELDS))
        config = pool.submit(slurm, ("scontrol", "show", "config"))
        answer = nodes.result()
        if not answer.good:
            raise MachineCannot(
                tr("Slurm does not answer: {why}.", why=answer.why),
                tr("Look with `scontrol ping`, or ask the cluster's administrators."),
            )
        partitions = parse_nodes(answer.out)
        if not partitions:
            raise MachineCannot(tr("Slurm lists no partition that you may use."), tr("Look with `sinfo`."))
        return cluster_of(partitions, parse_config(config.result().out))
