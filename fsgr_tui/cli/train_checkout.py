"""`fsgr-tui train --repo DIR`: a lab's own training script, with the lab's own Python."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from fsgr_tui.cli import ended, findings, follow, options, text
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.training import MODES, Mode
from fsgr_tui.core.units import printable

if TYPE_CHECKING:
    from fsgr_tui.service.checkout_training import PreparedCheckout
_REPO = "--repo"


def names_a_checkout(words: Sequence[str]) -> bool:
    """Whether a command line is about a lab's own script."""
    return any(word == _REPO or word.startswith(f"{_REPO}=") for word in words)


def completed_repo(incomplete: str) -> list[CompletionItem]:
    """`--repo`, where what is typed so far may become it: it is an option of another command than the one that is completed."""
    return [CompletionItem(_REPO, help="A lab's own checkout.")] if incomplete and _REPO.startswith(incomplete) else []


class TrainCommand(click.Command):
    """`train`, which leaves its words to the command below when --repo is among them: a lab's script has its own flags."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse as the one command or as the other."""
        if names_a_checkout(args):
            return command.make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The options of the one command, and the one that leads to the other."""
        return [*completed_repo(incomplete), *super().shell_complete(ctx, incomplete)]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name the other command."""
        super().format_epilog(ctx, formatter)
        with formatter.section("A lab's own checkout"):
            formatter.write_dl([(
                "--repo DIR",
                "Run the training script in DIR instead, with the lab's Python; `fsgr-tui train --repo DIR --help` tells more.",
            )])  # fmt: skip


@click.command(
    "train",
    help="Run the guide's command for a checkout's train_transformer.py, under the runner. Every flag that is not listed here goes to "
    "the script, in its own spelling or with hyphens; what the guide's command has besides is added where the script knows it.\n\n"
    "Flags are checked against the script's source and everything else by the preflight, before anything is started.\n\n"
    "\b\n"
    "Examples:\n"
    "  fsgr-tui train --repo ~/FSGR --mode realtime --features_path images\n"
    "      --annotation_folder m2_annotations --pre_vs_path ViT-B-16.pt --dry-run\n"
    "  fsgr-tui train --repo ~/FSGR --python ~/miniconda3/envs/fsgr/bin/python\n"
    "      --features_path features/coco.hdf5 --annotation_folder m2_annotations\n\n"
    "Exit codes: 0 trained; 1 data are bad, or the script failed; 2 the command does not fit the checkout; 3 this machine cannot.",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@click.option("--repo", type=click.Path(), required=True, metavar="DIR", help="The checkout.")
@click.option("--python", default="", metavar="PATH", help="The lab's Python; else an environment in or named for DIR.")
@click.option("--script-name", default="", help="Training script in DIR; by default train_transformer.py or train.py.")
@click.option("--mode", type=click.Choice(MODES), default=None, help="Else: precomputed for an .hdf5 file.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, or cuda:N: sets CUDA_VISIBLE_DEVICES.")
@options.split
@click.option("--no-preflight", is_flag=True, help="Only check the flags; what looks wrong otherwise is a warning.")
@options.backend
@click.option(
    "--nodes", type=click.IntRange(1), default=None, help="With Slurm: nodes, on each of which torchrun starts it."
)
@click.option("--dry-run", is_flag=True, help="Check everything, print the exact command, and stop.")
@click.option("--detach", is_flag=True, help="Return at once with the job's name.")
@options.json_flag
@click.pass_context
def command(
    ctx: click.Context,
    repo: str,
    python: str,
    script_name: str,
    mode: Mode | None,
    device: str,
    splits: tuple[str, ...],
    no_preflight: bool,
    runs_on: str | None,
    profile: str,
    nodes: int | None,
    dry_run: bool,
    detach: bool,
    as_json: bool,
) -> int:
    """Prepare, start and follow a lab's script."""
    from fsgr_tui.service import checkout_training as training

    in_slurm = options.on_slurm(runs_on, profile)
    if nodes is not None and not in_slurm:
        raise BadRequest(tr("--nodes belongs to --backend slurm."), tr("Leave it out, or name a profile."))
    request = training.CheckoutRequest(
        repo=repo,
        words=tuple(ctx.args),
        mode=mode,
        script=script_name,
        python=python,
        device=device,
        # This host is not the one that trains.
        preflight=not (no_preflight or in_slurm),
        shown=("fsgr-tui", *sys.argv[1:]),
        **({"splits": splits} if splits else {}),
    )
    prepared = training.prepare(request)
    for finding in (*prepared.report.stops, *prepared.report.warnings):
        findings.tell(finding, sys.stderr)
    text.echo(f"Python: {printable(prepared.argv[0])} ({printable(prepared.python_why)})", sys.stderr)
    if prepared.added:
        text.paragraph(f"Added from the guide's command: {', '.join(prepared.added)}", indent=0, stream=sys.stderr)
    if in_slurm:
        return _submit(prepared, profile, nodes, dry_run=dry_run, detach=detach, as_json=as_json)
    stops = len(prepared.report.stops)
    if dry_run or stops:
        if as_json:
            text.json_out(prepared)
        elif dry_run:
            text.echo(_pasteable(prepared))
        verdict = f"{stops} would stop or spoil it" if stops else "Nothing speaks against it"
        text.echo(f"{verdict}; nothing was started.", sys.stderr)
        return prepared.report.exit_code
    run = training.start(prepared)
    if detach:
        text.echo(run.name)
        return 0
    status = follow.follow(run)
    code = ended.report(status, as_json=as_json, done=ended.result)
    if status.state == "done" and not as_json:
        text.echo(f"{run.name}: {printable(Path(prepared.argv[1]).name)} ended well, in {printable(prepared.cwd)}")
    return code


def _submit(
    prepared: PreparedCheckout, profile: str, nodes: int | None, *, dry_run: bool, detach: bool, as_json: bool
) -> int:
    from fsgr_tui.cli import run_cluster
    from fsgr_tui.jobs.slurm.submit import Work
    from fsgr_tui.service import cluster_run

    where = run_cluster.place(profile, {mark("the working folder"): prepared.cwd}, nodes)
    own = dict(prepared.env)
    profiled = where.profile
    if prepared.programs and not (profiled.modules or profiled.conda or profiled.setup):
        own["PATH"] = f"{prepared.programs}{os.pathsep}{os.environ.get('PATH', '')}"
    work = Work(kind="train", argv=prepared.argv, cwd=Path(prepared.cwd), shown=prepared.shown, env=own)
    return run_cluster.submit(cluster_run.one_script(where, work), dry_run=dry_run, detach=detach, as_json=as_json)


def _pasteable(prepared: PreparedCheckout) -> str:
    """The command as a shell takes it, a flag a line."""
    python, script, *rest = (shlex.quote(printable(word)) for word in prepared.argv)
    settings = [f"{name}={shlex.quote(value)}" for name, value in prepared.env.items()]
    if prepared.programs:
        settings.append(f'PATH={shlex.quote(prepared.programs)}:"$PATH"')
    lines = [" ".join((*settings, python, script))]
    for word in rest:
        if word.startswith("--"):
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}"
    return f"cd {shlex.quote(printable(prepared.cwd))} &&\n" + " \\\n".join(lines)
