"""A cluster as rows of tables, in the user's language."""

from __future__ import annotations

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.slurm import format_limit
from fsgr_tui.core.slurm_facts import Cluster, Partition, SharedFolder
from fsgr_tui.core.slurm_profile import memory_words
from fsgr_tui.core.units import Unknown, format_bytes


def gpu_words(partition: Partition) -> str:
    """A partition's GPUs: `4 x 8 a100`."""
    if not partition.gpus:
        return tr("none")
    return ", ".join(f"{kind.nodes} x {kind.per_node}{f' {kind.type}' if kind.type else ''}" for kind in partition.gpus)


def partition_row(partition: Partition) -> tuple[str, ...]:
    """A partition in a table: name, nodes, GPUs, CPUs, memory, node-local disk, limit."""
    disk = partition.disk_bytes
    name = tr("{name} (default)", name=partition.name) if partition.default else partition.name
    return (
        name if partition.up else tr("{name} (down)", name=name),
        tr("{usable} of {all}, {idle} idle", usable=partition.usable, all=partition.nodes, idle=partition.idle),
        gpu_words(partition),
        str(partition.cpus),
        memory_words(partition.memory_bytes),
        str(disk) if isinstance(disk, Unknown) else format_bytes(disk),
        tr("no limit") if partition.limit_s is None else format_limit(partition.limit_s),
    )


PARTITION_HEADS = (
    mark("partition"), mark("nodes"), mark("GPUs (nodes x each)"), mark("CPUs"), mark("memory"), mark("own disk"),
    mark("longest job"),
)  # fmt: skip


def partition_heads() -> tuple[str, ...]:
    """The heads of a table of partitions."""
    return tuple(map(tr, PARTITION_HEADS))


def cluster_rows(cluster: Cluster) -> tuple[tuple[str, str], ...]:
    """What is to be known beside the partitions, as name and value."""
    kept = cluster.accounting
    told = (
        tr("kept by the accounting")
        if kept is True
        else tr("not kept; a job that left the queue is explained by its run folder")
    )
    return (
        (tr("finished jobs"), str(kept) if isinstance(kept, Unknown) else told),
        (tr("node-local folder"), str(cluster.scratch)),
        *((tr(each.role), _shared_words(each)) for each in cluster.shared),
    )


def _shared_words(folder: SharedFolder) -> str:
    known = {"path": folder.path, "filesystem": folder.filesystem}
    if folder.shared:
        return tr("{path} ({filesystem}: shared)", **known)
    return tr("{path} ({filesystem}: most likely of this host alone)", **known)
