"""`--backend slurm`: a command as one job of Slurm, or a plan as a chain of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fsgr_tui.cli import ended, follow, text
from fsgr_tui.cli.placing import without_place
from fsgr_tui.core import job_words
from fsgr_tui.core.errors import EXIT_OK, Problem
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.planfile import PlanStep
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.core.units import Estimate, printable
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.service import cluster, cluster_extract, cluster_run, cluster_time, running
from fsgr_tui.service.cluster import Place


def place(profile: str, folders: Mapping[str, str] | None = None, nodes: int | None = None) -> Place:
    """The cluster, once it can give what a profile asks for.

    Args:
        folders: what the nodes have to see, by its role; by default the working folder.
        nodes: instead of the profile's; None for those.
    """
    return cluster.place(profile, folders or {mark("the working folder"): "."}, nodes)


def run(
    request: running.RunRequest,
    where: Place,
    plan: Sequence[PlanStep] | None,
    *,
    dry_run: bool,
    detach: bool,
    as_json: bool,
    seconds: Estimate | None = None,
) -> int:
    """Submit a command or the steps of a plan, and follow them one after the other.

    Args:
        where: the cluster, as `place` found it.
        plan: the steps of a plan file; None for the command of the request.
        seconds: how long the command takes, where that is known already.
    """
    if seconds is not None:
        known: cluster_run.Ask = lambda _words, _needs: seconds  # noqa: E731 - one line, used once
    else:
        # Paths that are meant from another folder say nothing here.
        known = cluster_run.know_nothing if request.cwd else _Known(where)
    chain = cluster_run.prepare(request, where, plan, known)
    return submit(chain, plan=plan is not None, dry_run=dry_run, detach=detach, as_json=as_json)


def submit(chain: cluster_run.Chain, *, plan: bool = False, dry_run: bool, detach: bool, as_json: bool) -> int:
    """Submit a chain and follow its jobs one after the other.

    Args:
        plan: whether it is a plan's; else one job, whose own document is printed for `--json`.
    """
    for notice in (*chain.where.notices, *chain.notices):
        text.echo(f"  {printable(notice)}", sys.stderr)
    if dry_run:
        text.echo(cluster_run.chain_text(chain))
        text.echo(tr("Nothing speaks against it (dry run; nothing was submitted)."), sys.stderr)
        return EXIT_OK
    runs = cluster_run.start(chain)
    if detach:
        for each in runs:
            text.echo(each.name)
        return EXIT_OK
    codes = [_followed(each, not plan, as_json=as_json) for each in runs]
    if as_json and plan:
        text.json_out(job_words.documents([each.read_status() for each in runs], time.time()))
    return next((code for code in codes if code), EXIT_OK)


def _followed(run: RunFolder, alone: bool, *, as_json: bool) -> int:
    text.echo(tr("{name} (watch it from anywhere: fsgr-tui attach {name})", name=run.name), sys.stderr)
    status = follow.follow(run, output=run.read_spec().kind == "command" and not as_json)
    if as_json and not alone:
        return follow.exit_code(status)
    return ended.report(status, as_json=as_json, done=ended.result)


class _Known:
    """What is known of commands of this program before they run."""

    def __init__(self, where: Place) -> None:
        self._where = where

    def __call__(self, words: Sequence[str], needs: Sequence[str]) -> cluster_run.Known:
        """Look at one command.

        Raises:
            Problem: it cannot work. One that needs others is looked at again when they have ended.
        """
        own = [word for word in words if word not in ("-m", "fsgr_tui")]
        try:
            return self._look(own)
        except Problem:
            if needs:
                return None
            raise

    def _look(self, words: Sequence[str]) -> cluster_run.Known:
        kind, rest = (words[0], list(words[1:])) if words else ("", [])
        if kind == "extract":
            return self._extraction(rest)
        if kind == "train" and not any(word.partition("=")[0] == "--repo" for word in rest):
            return self._training(rest)
        return cluster_time.time_over_files(rest)

    def _extraction(self, words: list[str]) -> cluster_extract.PreparedShards:
        from fsgr_tui.cli import extract

        asked: dict[str, Any] = dict(extract.command.make_context("extract", list(words)).params)
        shards = asked.pop("shards")
        for name in ("dry_run", "detach", "as_json", "runs_on", "profile"):
            asked.pop(name)
        own_workers = asked["workers"] is not None
        request = msgspec.structs.replace(extract.request_of(asked), shown=(running.PROGRAM, "extract", *words))
        return cluster_extract.prepare_extraction(request, self._where, shards, own_workers=own_workers)

    def _training(self, words: list[str]) -> Estimate | None:
        from fsgr_tui.cli import train
        from fsgr_tui.features.captions import read_captions

        asked: dict[str, Any] = dict(train.command.make_context("train", list(words)).params)
        spec = train.spec_of(asked, self._where)
        return training_time(spec, len(read_captions(Path(spec.annotation_folder)).annotations.train), self._where)


def training_time(spec: TrainSpec, pairs: int, where: Place) -> Estimate:
    """Seconds of a training there.

    Args:
        pairs: captions of the training images.
    """
    return cluster_time.training_time(spec, where.profile, where.partition, pairs)


def this_command(
    words: Sequence[str], where: Place, *, dry_run: bool, detach: bool, as_json: bool, seconds: Estimate
) -> int:
    """Submit a command of this program, which then runs on the node as it would here.

    Args:
        words: the command line, without the program's name.
        where: the cluster, as `place` found it.
        seconds: how long it takes.
    """
    argv = (running.PROGRAM, *without_place(words))
    request = running.RunRequest(argv=argv, shown=argv)
    return run(request, where, None, dry_run=dry_run, detach=detach, as_json=as_json, seconds=seconds)
