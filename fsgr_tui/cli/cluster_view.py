"""A cluster, printed."""

from __future__ import annotations

from fsgr_tui.cli import text
from fsgr_tui.core.language import tr
from fsgr_tui.core.slurm_facts import Cluster
from fsgr_tui.core.slurm_tables import cluster_rows, partition_heads, partition_row
from fsgr_tui.core.units import printable
from fsgr_tui.service import markdown


def show(found: Cluster) -> None:
    """The cluster as a section of a report."""
    text.heading(_title(printable(found.name), found.version))
    text.table([tuple(map(printable, partition_row(each))) for each in found.partitions], partition_heads())
    text.echo()
    text.table([tuple(map(printable, row)) for row in cluster_rows(found)])


def section(found: Cluster) -> str:
    """The cluster as a section of a Markdown page."""
    partitions = markdown.grid(partition_heads(), map(partition_row, found.partitions))
    rest = markdown.grid((tr("what"), tr("reading")), cluster_rows(found))
    return f"\n\n## {_title(markdown.escape(found.name), found.version)}\n\n{partitions}\n\n{rest}\n"


def _title(name: str, version: str) -> str:
    return tr("Cluster {name} (Slurm {version})", name=name, version=version)
