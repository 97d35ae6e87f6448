"""`fsgr-tui cluster`: what Slurm offers, and the profiles for it."""

from __future__ import annotations

import click

from fsgr_tui.cli import cluster_view, options, text
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.units import printable
from fsgr_tui.service import cluster, profiles


@click.command(
    "cluster",
    help="What Slurm offers from here: partitions, GPUs, limits, disks; and where profiles for --profile are written.\n\n"
    "\b\nExamples:\n  fsgr-tui cluster\n  fsgr-tui plan --backend slurm --json\n"
    "  fsgr-tui extract --profile gpu --shards 8 --dry-run --image-root ...",
)
@options.json_flag
def command(as_json: bool) -> int:
    """Ask Slurm and print."""
    found = cluster.look({mark("the run folder"): "", mark("the working folder"): "."})
    if as_json:
        text.json_out(found)
        return 0
    cluster_view.show(found)
    path = profiles.profiles_path()
    text.heading(tr("Profiles"))
    if path.exists():
        text.echo(f"  {printable(str(path))}: {', '.join(map(printable, profiles.names())) or tr('none yet')}")
    else:
        text.echo("  " + tr("None yet. Write them into {path}, e.g.", path=printable(str(path))))
        text.echo()
        for line in profiles.EXAMPLE.splitlines():
            text.echo(f"    {line}")
    return 0
