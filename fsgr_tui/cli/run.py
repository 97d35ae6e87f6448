"""`fsgr-tui run`: any command, or a plan of several, as jobs."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fsgr_tui.cli import ended, follow, options, placing, text
from fsgr_tui.core import job_words
from fsgr_tui.core.errors import EXIT_OK, BadRequest
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.planfile import PlanStep
from fsgr_tui.core.units import printable
from fsgr_tui.jobs.folder import RunFolder
from fsgr_tui.service import running


@click.command(
    "run",
    help="Run a command as a job that belongs to no terminal: closing it, a dropped line or a dead screen leave the job "
    "alone. `jobs` lists it, `attach` and `logs -f` watch it, `stop` ends it with all its processes, `resume` goes on. What the command leaves running in the background is ended "
    "with it.\n\n"
    "A plan file (.toml) is run step by step; a step waits for those that it needs, and a failure stops what comes after.\n\n"
    "\b\nExamples:\n"
    "  fsgr-tui run -- python train_transformer.py --exp_name fsgr --batch_size 64\n"
    "  fsgr-tui run --gpu 1 --detach -- bash eval.sh\n"
    "  fsgr-tui run --after extract-1125 -- fsgr-tui train --features-path coco.hdf5 --annotation-folder m2\n"
    "  fsgr-tui run plan.toml --dry-run",
    context_settings={"allow_interspersed_args": False},
)
@click.option("--name", default="", help="The job's name; for a plan, what the names of its steps begin with.")
@click.option("--cwd", type=click.Path(), default="", help="Working folder; by default this one.")
@click.option(
    "--env", "settings", multiple=True, metavar="NAME=VALUE", help="A variable for the command; several times."
)
@click.option(
    "--gpu", default="", metavar="auto|N|none",
    help="auto: a GPU that nobody's programs fill, and no other job holds; auto:2: two; 0 or 0,1: these; all; none: leave "
    "GPUs alone. By default auto where there is a GPU.",
)  # fmt: skip
@click.option("--after", multiple=True, metavar="JOB[,JOB]", help="Wait until these have ended well.")
@click.option("--queue", is_flag=True, help="In turn: jobs of the queue run one after the other.")
@click.option("--first", is_flag=True, help="Begin before all other jobs that wait for their turn or for a GPU.")
@click.option("--no-wait", is_flag=True, help="Refuse (exit 3) instead of waiting for a GPU.")
@options.backend
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be done, and stop.")
@click.option("--detach", is_flag=True, help="Return at once with the job's name.")
@options.json_flag
@click.argument("command_line", metavar="PLAN.toml | -- COMMAND...", nargs=-1, type=click.UNPROCESSED)
def command(
    command_line: tuple[str, ...],
    settings: tuple[str, ...],
    after: tuple[str, ...],
    no_wait: bool,
    runs_on: str | None,
    profile: str,
    dry_run: bool,
    detach: bool,
    as_json: bool,
    **asked: Any,
) -> int:
    """Prepare, start and follow."""
    first, own = _own_flags(command_line)
    request = running.RunRequest(
        argv=command_line,
        env=dict(running.environment(settings)),
        after=tuple(name for names in after for name in names.split(",") if name),
        wait=not no_wait,
        **asked,
    )
    if first is not None:
        dry_run, detach, as_json = (
            dry_run or "--dry-run" in own,
            detach or "--detach" in own,
            as_json or "--json" in own,
        )
    steps = running.read_plan(first) if first is not None else None
    asked_profile = _profile(runs_on, profile, steps)
    if steps is not None and (asked_profile is not None or runs_on == "local"):
        steps = placing.steps_of_chain(steps)
    if asked_profile is not None:
        from fsgr_tui.cli import run_cluster

        where = run_cluster.place(asked_profile, {mark("the working folder"): request.cwd or "."})
        return run_cluster.run(request, where, steps, dry_run=dry_run, detach=detach, as_json=as_json)
    if steps is not None:
        return _run_plan(steps, request, dry_run=dry_run, detach=detach, as_json=as_json)
    prepared = running.prepare(request)
    _say(prepared)
    if dry_run:
        _show(prepared)
        return _nothing_started()
    run = running.start(prepared)
    if detach:
        if as_json:
            text.json_out(job_words.document(run.read_status(), time.time()))
        else:
            text.echo(run.name)
        return EXIT_OK
    text.echo(tr("{name} (watch it from anywhere: fsgr-tui attach {name})", name=run.name), sys.stderr)
    status = follow.follow(run, output=prepared.kind == "command" and not as_json)
    return ended.report(status, as_json=as_json, done=ended.result)


def _profile(runs_on: str | None, profile: str, steps: Sequence[PlanStep] | None) -> str | None:
    """The profile for Slurm, empty for the default one; None for this host. Flags count more than what a plan says."""
    planned = placing.profile_of_plan(steps) if steps is not None and runs_on != "local" and not profile else None
    return profile or planned or "" if options.on_slurm(runs_on, profile) else planned


def _own_flags(words: tuple[str, ...]) -> tuple[Path | None, tuple[str, ...]]:
    """The plan file, where one was given, and the flags behind it; a command keeps all its words."""
    if not words or not words[0].endswith(".toml"):
        return None, ()
    path, rest = Path(words[0]), words[1:]
    if not path.is_file():
        raise BadRequest(
            tr("There is no plan file {path}.", path=words[0]), tr("`fsgr-tui plan --out plan.toml` writes one.")
        )
    unknown = [word for word in rest if word not in ("--dry-run", "--detach", "--json")]
    if unknown:
        raise BadRequest(
            tr("{word} cannot stand behind a plan file.", word=repr(unknown[0])), tr("Write flags before it.")
        )
    return path, rest


def _run_plan(
    steps: Sequence[PlanStep], request: running.RunRequest, *, dry_run: bool, detach: bool, as_json: bool
) -> int:
    prepared = running.prepare_plan(steps, request)
    for step, one in prepared:
        _say(one)
        if dry_run:
            needs = ", ".join((*one.needs, *step.needs))
            text.echo(tr("{step}, after {jobs}:", step=step.name, jobs=needs) if needs else f"{step.name}:")
            _show(one)
    if dry_run:
        return _nothing_started()
    runs = running.start_plan(prepared)
    if detach and not as_json:
        for run in runs:
            text.echo(run.name)
        return EXIT_OK
    statuses = [run.read_status() for run in runs] if detach else _followed(runs, as_json=as_json)
    if as_json:
        text.json_out(job_words.documents(statuses, time.time()))
    return next((follow.exit_code(status) for status in statuses if follow.exit_code(status)), EXIT_OK)


def _followed(runs: tuple[RunFolder, ...], *, as_json: bool) -> list[JobStatus]:
    """Follow steps one after the other; all that is left is told once one is left to run on its own."""
    statuses: list[JobStatus] = []
    for number, run in enumerate(runs, start=1):
        text.echo(f"[{number}/{len(runs)}] {run.name}", sys.stderr)
        status = follow.follow(run, output=run.read_spec().kind == "command" and not as_json)
        statuses.append(status)
        if not status.ended_for_good:
            return [*statuses, *(each.read_status() for each in runs[number:])]
        if not as_json:
            ended.report(status, as_json=False, done=ended.result)
    return statuses


def _say(prepared: running.PreparedRun) -> None:
    """What the user should know before it starts."""
    for notice in prepared.notices:
        text.echo(f"  {printable(notice)}", sys.stderr)
    if told := running.at_log_out():
        text.echo("  " + tr("warning: {text}", text=told), sys.stderr)


def _show(prepared: running.PreparedRun) -> None:
    """What would be done."""
    rows = [(tr("command"), printable(shlex.join(prepared.argv))), (tr("in"), printable(str(prepared.cwd)))]
    rows += [(tr("with"), printable(f"{name}={value}")) for name, value in prepared.request.env.items()]
    rows += [(tr("after"), ", ".join(prepared.needs))] if prepared.needs else []
    rows += [(tr("queue"), tr("in turn with the other jobs of the queue"))] if prepared.request.queue else []
    rows += [(tr("queue"), tr("before all others that wait"))] if prepared.request.first else []
    rows += [("GPU", running.gpu_words(prepared.gpu))]
    text.table(rows)


def _nothing_started() -> int:
    text.echo(tr("Nothing speaks against it (dry run; nothing was started)."), sys.stderr)
    return EXIT_OK
