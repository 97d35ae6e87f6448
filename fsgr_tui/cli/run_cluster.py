"""`fsgr-tui run --backend slurm`: a command as one job of Slurm, or a plan as a chain of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from fsgr_tui.cli import ended, follow, text
from fsgr_tui.core.errors import EXIT_OK
from fsgr_tui.core.units import printable
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.service import cluster, cluster_run, running
from fsgr_tui.service.cluster import Place


def run(
    request: running.RunRequest, where: Place, plan: Path | None, *, dry_run: bool, detach: bool, as_json: bool
) -> int:
    """Submit a command or the steps of a plan, and follow them one after the other.

    Args:
        where: the cluster, as `place` found it.
        plan: the plan file; None for the command of the request.
    """
    chain = cluster_run.prepare(request, where, running.read_plan(plan) if plan is not None else None)
    for notice in chain.where.notices:
        text.echo(f"  {printable(notice)}", sys.stderr)
    if dry_run:
        text.echo(cluster_run.chain_text(chain))
        text.echo("Nothing speaks against it (dry run; nothing was submitted).", sys.stderr)
        return EXIT_OK
    runs = cluster_run.start(chain)
    if detach:
        for each in runs:
            text.echo(each.name)
        return EXIT_OK
    codes = [_followed(each, plan is None, as_json=as_json) for each in runs]
    if as_json and plan is not None:
        text.json_out({"schema": "fsgr-tui/jobs/1", "jobs": [each.read_status() for each in runs]})
    return next((code for code in codes if code), EXIT_OK)


def _followed(run: RunFolder, alone: bool, *, as_json: bool) -> int:
    text.echo(f"{run.name} (watch it from anywhere: fsgr-tui attach {run.name})", sys.stderr)
    status = follow.follow(run, output=run.read_spec().kind == "command" and not as_json)
    if as_json and not alone:
        return follow.exit_code(status)
    return ended.report(status, as_json=as_json, done=ended.result)


_HERE = {"--backend": True, "--profile": True, "--nodes": True, "--detach": False, "--json": False, "--dry-run": False}
"""Flags that say where a command runs and how it is watched, and whether a value follows."""


def place(profile: str, cwd: str = "", nodes: int | None = None) -> Place:
    """The cluster, once it can give what a profile asks for.

    Args:
        cwd: working folder; empty for this one.
        nodes: instead of the profile's; None for those.
    """
    return cluster.place(profile, {"the working folder": cwd or "."}, nodes)


def this_command(words: Sequence[str], where: Place, *, dry_run: bool, detach: bool, as_json: bool) -> int:
    """Submit a command of this program, which then runs on the node as it would here.

    Args:
        words: the command line, without the program's name.
        where: the cluster, as `place` found it.
    """
    argv = (running.PROGRAM, *without_place(words))
    request = running.RunRequest(argv=argv, shown=argv)
    return run(request, where, None, dry_run=dry_run, detach=detach, as_json=as_json)


def without_place(words: Sequence[str]) -> tuple[str, ...]:
    """A command line without the flags that say where it runs."""
    kept = []
    skip = False
    for word in words:
        flag, sign, _ = word.replace("_", "-").partition("=")
        if skip:
            skip = False
        elif flag in _HERE:
            skip = _HERE[flag] and not sign
        else:
            kept.append(word)
    return tuple(kept)
