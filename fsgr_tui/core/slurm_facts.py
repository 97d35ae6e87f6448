"""What a cluster offers: partitions, GPUs and limits as Slurm tells them, and what of a request can be refused for it."""

from __future__ import annotations

import re

import msgspec

from fsgr_tui.core.errors import BadRequest, did_you_mean
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.slurm import parse_duration
from fsgr_tui.core.units import Unknown

CLUSTER_SCHEMA = "fsgr-tui/cluster/1"

NODE_FIELDS = "%R|%a|%l|%N|%c|%m|%d|%T|%G|%P|%f"
"""For `sinfo -h -N`: one row per node and partition; its features, which are free text, come last."""

SHARED_FILESYSTEMS = frozenset({
    "nfs", "nfs4", "lustre", "gpfs", "beegfs", "panfs", "ceph", "fuse.ceph", "wekafs", "glusterfs", "fuse.glusterfs", "cifs",
    "smb3", "orangefs", "pvfs2", "afs", "gfs2", "ocfs2", "fuse.sshfs", "fuse.juicefs",
})  # fmt: skip
_GRES = re.compile(r"gpu(?::([^:(,]+))?:(\d+)")
_AWAY = ("down", "drain", "fail", "maint", "unk", "power", "boot", "plan")


class GpuKind(msgspec.Struct, frozen=True):
    """GPUs of one type in a partition; the type is empty where the site names none."""

    type: str
    per_node: int
    nodes: int


class Partition(msgspec.Struct, frozen=True):
    """A partition as `sinfo` lists it.

    Attributes:
        up: whether it takes jobs and lets them start.
        limit_s: the longest that a job may run; None for no limit.
        nodes, usable, idle: how many there are, are neither down nor drained, and have nothing to do.
        cpus, memory_bytes, disk_bytes: of its largest node; the disk is the node's own, as far as its admin tells.
        features: what `constraint` may name.
    """

    name: str
    default: bool
    up: bool
    limit_s: int | None
    nodes: int
    usable: int
    idle: int
    cpus: int
    memory_bytes: int
    disk_bytes: int | Unknown
    gpus: tuple[GpuKind, ...] = ()
    features: tuple[str, ...] = ()

    @property
    def most_gpus(self) -> int:
        """GPUs of its best equipped node."""
        return max((kind.per_node for kind in self.gpus), default=0)

    @property
    def all_gpus(self) -> int:
        """GPUs of all its nodes."""
        return sum(kind.per_node * kind.nodes for kind in self.gpus)


class Cluster(msgspec.Struct, frozen=True):
    """What Slurm says of the cluster; the document that `--json` prints.

    Attributes:
        version: Slurm's.
        accounting: whether finished jobs are kept in a database, so that `sacct` can tell their end.
        kill_wait_s: between Slurm's request to end and its end by force.
        requeue: whether jobs may be put back into the queue.
        scratch: the folder that Slurm names as node-local (TmpFS).
        shared: what this node knows of its own folders: path, file system, and whether that is one that nodes share.
    """

    name: str
    version: str
    partitions: tuple[Partition, ...]
    accounting: bool | Unknown
    kill_wait_s: int | Unknown
    requeue: bool | Unknown
    scratch: str | Unknown
    shared: tuple[SharedFolder, ...] = ()
    schema: str = CLUSTER_SCHEMA

    def partition(self, name: str) -> Partition:
        """A partition by its name; without a name the default one.

        Raises:
            BadRequest: there is none.
        """
        names = [partition.name for partition in self.partitions]
        if not name:
            found = next((partition for partition in self.partitions if partition.default), None)
            if found is None:
                raise BadRequest(
                    tr("This cluster has no default partition."),
                    tr("Name one in the profile: {partitions}.", partitions=", ".join(names)),
                )
            return found
        found = next((partition for partition in self.partitions if partition.name == name), None)
        if found is None:
            near = did_you_mean(name, names)
            here = tr("Here are: {partitions}.", partitions=", ".join(names))
            raise BadRequest(tr("There is no partition {name} here.", name=repr(name)), f"{near} {here}".strip())
        return found


class SharedFolder(msgspec.Struct, frozen=True):
    """A folder that jobs need, and whether other nodes are likely to see it too."""

    role: str
    path: str
    filesystem: str
    shared: bool


class _Node(msgspec.Struct, frozen=True):
    """One row of sinfo."""

    partition: str
    default: bool
    up: bool
    limit_s: int | None
    name: str
    cpus: int
    memory_mib: int
    disk_mib: int
    state: str
    gpus: tuple[tuple[str, int], ...]
    features: str


def parse_nodes(text: str) -> tuple[Partition, ...]:
    """The partitions from `sinfo -h -N -o NODE_FIELDS`, the default one first."""
    by_name: dict[str, list[_Node]] = {}
    for line in text.splitlines():
        if (node := _node(line)) is not None:
            by_name.setdefault(node.partition, []).append(node)
    partitions = (_partition(nodes) for nodes in by_name.values())
    return tuple(sorted(partitions, key=lambda each: (not each.default, each.name)))


def _node(line: str) -> _Node | None:
    fields = line.split("|", 10)
    if len(fields) < 11:
        return None
    name, available, limit, node, cpus, memory, disk, state, gres, starred, features = fields
    try:
        limit_s = parse_duration(limit)
    except ValueError:
        limit_s = None
    return _Node(
        name, starred.strip().endswith("*"), available == "up", limit_s, node, _number(cpus), _number(memory), _number(disk),
        state.lower(), tuple((kind, int(count)) for kind, count in _GRES.findall(gres)), features,
    )  # fmt: skip


def _partition(nodes: list[_Node]) -> Partition:
    kinds: dict[tuple[str, int], int] = {}
    for node in nodes:
        for kind in node.gpus:
            kinds[kind] = kinds.get(kind, 0) + 1
    first = nodes[0]
    disk = max(node.disk_mib for node in nodes)
    features = dict.fromkeys(word for node in nodes for word in node.features.split(",") if word and word != "(null)")
    return Partition(
        name=first.partition,
        default=first.default,
        up=first.up,
        limit_s=first.limit_s,
        nodes=len(nodes),
        usable=sum(1 for node in nodes if not any(word in node.state for word in _AWAY)),
        idle=sum(1 for node in nodes if node.state.startswith("idle")),
        cpus=max(node.cpus for node in nodes),
        memory_bytes=max(node.memory_mib for node in nodes) * 2**20,
        disk_bytes=disk * 2**20 if disk else Unknown(mark("the site does not tell Slurm")),
        gpus=tuple(GpuKind(kind, count, number) for (kind, count), number in kinds.items()),
        features=tuple(features),
    )


def _number(text: str) -> int:
    """A count; sinfo puts a plus behind the smallest of several."""
    digits = text.strip().rstrip("+")
    return int(digits) if digits.isdecimal() else 0


def parse_config(text: str) -> dict[str, str]:
    """The settings of `scontrol show config`."""
    found = {}
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if sign:
            found[name.strip()] = value.strip()
    return found


def cluster_of(partitions: tuple[Partition, ...], config: dict[str, str]) -> Cluster:
    """The cluster from its nodes and settings."""
    untold = Unknown(mark("`scontrol show config` does not tell"))
    storage = config.get("AccountingStorageType")
    wait = config.get("KillWait", "").split(" ")[0]
    return Cluster(
        name=config.get("ClusterName", ""),
        version=config.get("SLURM_VERSION", ""),
        partitions=partitions,
        accounting=storage not in ("(null)", "accounting_storage/none") if storage is not None else untold,
        kill_wait_s=int(wait) if wait.isdecimal() else untold,
        requeue=config["JobRequeue"] == "1" if "JobRequeue" in config else untold,
        scratch=config.get("TmpFS") or untold,
    )
