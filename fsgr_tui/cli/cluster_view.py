"""A cluster, printed."""

from __future__ import annotations

from fsgr_tui.cli import text
from fsgr_tui.core.slurm_facts import PARTITION_HEADS, Cluster, cluster_rows, partition_row
from fsgr_tui.core.units import printable
from fsgr_tui.service import markdown


def show(found: Cluster) -> None:
    """The cluster as a section of a report."""
    text.heading(f"Cluster {printable(found.name)} (Slurm {found.version})")
    text.table([tuple(map(printable, partition_row(each))) for each in found.partitions], PARTITION_HEADS)
    text.echo()
    text.table([tuple(map(printable, row)) for row in cluster_rows(found)])


def section(found: Cluster) -> str:
    """The cluster as a section of a Markdown page."""
    partitions = markdown.grid(PARTITION_HEADS, map(partition_row, found.partitions))
    rest = markdown.grid(("what", "reading"), cluster_rows(found))
    return f"\n\n## Cluster {markdown.escape(found.name)} (Slurm {found.version})\n\n{partitions}\n\n{rest}\n"
