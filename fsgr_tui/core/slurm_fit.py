"""Whether a cluster can give what a profile asks for."""

from __future__ import annotations

import msgspec

from fsgr_tui.core.errors import BadRequest, did_you_mean
from fsgr_tui.core.language import tr
from fsgr_tui.core.slurm import format_limit
from fsgr_tui.core.slurm_facts import Cluster, Partition
from fsgr_tui.core.slurm_profile import Profile, memory_words

CPUS = 4
"""For a profile that names no number: what one GPU's decoding needs at the least."""


def fitted(profile: Profile, cluster: Cluster) -> tuple[Profile, Partition]:
    """The profile with what follows from its partition, when the cluster can give what it asks for.

    Returns:
        The profile with its partition's name and its numbers of GPUs and CPUs, and the partition.

    Raises:
        BadRequest: there is no such partition or GPU, or no node that has so much.
    """
    partition = cluster.partition(profile.partition)
    if profile.light_partition:
        cluster.partition(profile.light_partition)
    if not partition.up:
        raise BadRequest(
            tr("The partition {partition} is down.", partition=partition.name),
            tr("Choose another one, or ask when it comes back."),
        )
    gpus = profile.gpus if profile.gpus is not None else min(1, partition.most_gpus)
    _require_gpus(partition, profile.gpu_type, gpus)
    if profile.nodes > partition.nodes:
        raise BadRequest(
            tr(
                "{nodes} nodes: the partition {partition} has {most}.",
                nodes=profile.nodes, partition=partition.name, most=partition.nodes,
            ),
            tr("Ask for fewer."),
        )  # fmt: skip
    cpus = profile.cpus or min(CPUS, partition.cpus)
    if cpus > partition.cpus:
        raise BadRequest(
            tr(
                "cpus = {cpus}: no node of the partition {partition} has more than {most}.",
                cpus=cpus, partition=partition.name, most=partition.cpus,
            ),
            tr("Ask for fewer in the profile."),
        )  # fmt: skip
    memory = profile.memory_bytes
    if memory and memory > partition.memory_bytes:
        raise BadRequest(
            tr(
                "memory = {memory}: no node of the partition {partition} has more than {most}.",
                memory=profile.memory, partition=partition.name, most=memory_words(partition.memory_bytes),
            ),
            tr("Ask for less in the profile."),
        )  # fmt: skip
    limit = profile.time_s
    if limit is not None and partition.limit_s is not None and limit > partition.limit_s:
        raise BadRequest(
            tr(
                "time = {time}: the partition {partition} gives {most} at the most.",
                time=profile.time, partition=partition.name, most=format_limit(partition.limit_s),
            ),
            tr("Ask for that: a job that reaches its limit ends its batch and goes on in its next turn."),
        )  # fmt: skip
    return msgspec.structs.replace(profile, partition=partition.name, gpus=gpus, cpus=cpus), partition


def _require_gpus(partition: Partition, kind: str, count: int) -> None:
    if not count:
        return
    types = sorted({each.type for each in partition.gpus if each.type})
    if not partition.gpus:
        raise BadRequest(
            tr("gpus = {gpus}: the partition {partition} has no GPU.", gpus=count, partition=partition.name),
            tr("Use gpus = 0, or another partition."),
        )
    if kind and kind not in types:
        raise BadRequest(
            tr(
                "gpu_type = {kind}: the partition {partition} has {types}.",
                kind=repr(kind), partition=partition.name, types=", ".join(types) or tr("GPUs without a type"),
            ),
            did_you_mean(kind, types) or tr("Leave gpu_type out to take any."),
        )  # fmt: skip
    most = max(each.per_node for each in partition.gpus if not kind or each.type == kind)
    if count > most:
        what = (
            tr(
                "gpus = {gpus}: no node of the partition {partition} has more than {most} of type {kind}.",
                gpus=count, partition=partition.name, most=most, kind=kind,
            )
            if kind
            else tr(
                "gpus = {gpus}: no node of the partition {partition} has more than {most}.",
                gpus=count, partition=partition.name, most=most,
            )
        )  # fmt: skip
        raise BadRequest(what, tr("It is the number per node (and per shard): ask for fewer, and for more shards."))
