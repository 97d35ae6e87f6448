"""`fsgr-tui completion`: the shell completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from fsgr_tui.cli import text

_INSTALL = {
    "bash": 'eval "$(fsgr-tui completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(fsgr-tui completion zsh)"  in ~/.zshrc',
    "fish": "fsgr-tui completion fish > ~/.config/fish/completions/fsgr-tui.fish",
}


@click.command(
    "completion",
    help="Print the completion script of a shell.\n\n\b\n"
    + "\n".join(f"{shell}: {line}" for shell, line in _INSTALL.items()),
)
@click.argument("shell", type=click.Choice(list(_INSTALL)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the script."""
    kind = get_completion_class(shell)
    if kind is None:
        raise RuntimeError(f"click knows no completion for {shell}")
    text.echo(kind(ctx.find_root().command, {}, "fsgr-tui", "_FSGR_TUI_COMPLETE").source())
    return 0
