"""The program: its commands are loaded when they are called, so that none pays for another's imports."""

from __future__ import annotations

import errno
import importlib
import signal
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from fsgr_tui import __version__
from fsgr_tui.cli import options
from fsgr_tui.core.errors import EXIT_BAD_REQUEST, EXIT_INTERRUPTED, EXIT_MACHINE_CANNOT, Problem
from fsgr_tui.core.units import printable

# Command, module in fsgr_tui.cli, and the line that --help shows.
COMMANDS = {
    "plan": "Look at this machine and the data set, and recommend realtime or precomputed.",
    "extract": "Extract CLIP grid features into a feature file.",
    "check": "Verify a feature file.",
    "look": "Look at one image of a feature file, patch by patch.",
    "convert": "Keep features in another format: HDF5, LMDB, .npz, .pt; every row is verified.",
    "merge": "Join shards of an extraction into one feature file.",
    "text-embed": "Text embeddings of class names, as the FSGR script loads them.",
    "train": "Train a caption model, in realtime or on precomputed features.",
    "bench": "Measure this machine in half a minute; later plans use its rates.",
    "run": "Run any command, or a plan of several, as jobs that belong to no terminal.",
    "integrate": "What a lab's checkout needs to read feature files, as a diff; applied when told.",
    "jobs": "List the jobs and how they stand.",
    "queue": "List the jobs that wait, in their order; move one to the front.",
    "logs": "Show a job's log.",
    "attach": "Watch a running job.",
    "stop": "Stop jobs: gently, then firmly.",
    "resume": "Go on with a job that was stopped, interrupted or failed.",
    "report": "One page about a job: what ran, how fast, curves, alarms, cause, result.",
    "rm": "Delete jobs that have ended.",
    "demo": "The whole way on a small data set that it makes itself, offline, in under two minutes.",
    "cluster": "What Slurm offers from here: partitions, GPUs, limits; and the profiles for it.",
    "preflight": "What would stop or spoil an extraction or a training, before it starts.",
    "doctor": "What this machine and installation are, for a bug report.",
    "completion": "Print the shell completion script.",
}

_PLAN = "--plan"


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)


class Program(click.Group):
    """Commands by name, each from its own module."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Take `--plan` for the command of that name: here, so that shell completion takes it so too."""
        if _PLAN in args and not any(word in COMMANDS for word in args[: args.index(_PLAN)]):
            args = ["plan", *(word for word in args if word != _PLAN)]
        return super().make_context(info_name, args, parent, **extra)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click does, and `--plan`, which is no option of the program itself."""
        more = [CompletionItem(_PLAN, help=COMMANDS["plan"])] if incomplete and _PLAN.startswith(incomplete) else []
        return [*super().shell_complete(ctx, incomplete), *more]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of a user's way."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one command that was asked for."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"fsgr_tui.cli.{cmd_name.replace('-', '_')}").command
        if not any(parameter.name == "lang" for parameter in command.params):
            command.params.append(options.lang())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with near names for a mistyped command."""
        from fsgr_tui.core.errors import did_you_mean

        if args and args[0] not in COMMANDS:
            ctx.fail(f"There is no command {args[0]!r}. {did_you_mean(args[0], list(COMMANDS))}".strip())
        return super().resolve_command(ctx, args)


@click.command(
    cls=Program,
    invoke_without_command=True,
    # The lab's scripts spell flags with underscores; a pasted line works as it is.
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
    },
    help="Plan, extract, check and train on CLIP grid features for image captioning.\n\n"
    "Without a command it opens the screen. `fsgr-tui --plan` is short for `fsgr-tui plan`.",
)
@click.version_option(__version__, prog_name="fsgr-tui")
@click.option("--image-root", type=click.Path(), help="Image root that the screen shows first.")
@click.option("--features-dir", type=click.Path(), help="Where features go.  [default: features]")
@click.pass_context
def program(ctx: click.Context, image_root: str | None, features_dir: str | None) -> None:
    """Open the screen when no command was given."""
    if ctx.invoked_subcommand is None:
        from fsgr_tui.cli import screen

        ctx.exit(screen.open_screen(image_root, features_dir))


program.params.append(options.lang())


def run(argv: list[str]) -> int:
    """Run the command line.

    Returns:
        The exit code: 0, 1 found faults, 2 wrong command, 3 this machine cannot, 130 interrupted.
    """
    options.speak_as_the_terminal()
    if argv:
        # A reader that went away (head, less) ends this program as it ends any other; click would call it a fault.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        result: Any = program.main(argv, prog_name="fsgr-tui", standalone_mode=False)
        sys.stdout.flush()
    except Problem as problem:
        tell(problem)
        return problem.exit_code
    except click.exceptions.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return EXIT_BAD_REQUEST
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        # What the stream still holds must not be tried again at exit.
        sys.stdout = None
        sys.stderr.write(f"fsgr-tui: standard output cannot be written: {error.strerror}.\n")
        return EXIT_MACHINE_CANNOT
    return result if isinstance(result, int) else 0


def tell(problem: Problem) -> None:
    """Print a problem on standard error."""
    sys.stderr.write(f"fsgr-tui: {printable(problem.what)}\n")
    for line in problem.fix.splitlines():
        sys.stderr.write(f"  {printable(line)}\n")
