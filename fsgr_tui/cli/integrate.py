"""`fsgr-tui integrate`: what a lab's checkout needs to read feature files, as a diff; applied only when told."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from fsgr_tui.cli import options, text
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr, trn
from fsgr_tui.core.units import printable
from fsgr_tui.lab.integration import FileChange, field_source
from fsgr_tui.service import integration
from fsgr_tui.service.integration import Integration

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command(
    "integrate",
    help="Show, as a diff, what a checkout with a train_transformer.py needs to read feature files: a field beside its own, a "
    "switch in its ImageDetectionsField, and the flag --use_hdf5_features. Nothing is changed without --apply, and nothing "
    "of the checkout is run.\n\n"
    "\b\n"
    "Examples:\n"
    "  fsgr-tui integrate ~/FSGR\n"
    "  fsgr-tui integrate ~/FSGR --apply\n"
    "  fsgr-tui integrate ~/FSGR --undo\n"
    "  fsgr-tui integrate ~/FSGR > hdf5.patch   # for patch -p1, or a colleague\n\n"
    "Exit codes: 0 shown, applied or taken back; 2 a file is not as expected, or was changed since.",
)
@click.argument("directory", metavar="DIR", type=click.Path(), required=False)
@click.option("--apply", "apply_it", is_flag=True, help="Change the files; originals are kept in DIR/.fsgr-tui.")
@click.option("--undo", "undo_it", is_flag=True, help="Take the last --apply back, unless a file was changed since.")
@click.option("--script-name", default="", help="Training script in DIR; by default train_transformer.py or train.py.")
@click.option("--print-field", is_flag=True, help="Print the field, a file that stands alone, and stop.")
@options.json_flag
def command(
    directory: str | None, apply_it: bool, undo_it: bool, script_name: str, print_field: bool, as_json: bool
) -> int:
    """Show, apply or take back."""
    if print_field:
        sys.stdout.buffer.write(field_source())
        return 0
    if directory is None:
        raise BadRequest(tr("No checkout was named."), tr("fsgr-tui integrate DIR"))
    if apply_it and undo_it:
        raise BadRequest(tr("--apply and --undo cannot both be done."), tr("Say one of them."))
    root = Path(directory)
    if undo_it:
        document = integration.undo(root)
    else:
        planned = integration.plan(root, script_name)
        document = integration.apply(planned) if apply_it else planned.document
        if not as_json and document.state == "needed":
            # What is changed comes first: the new file is long.
            for change in sorted(planned.changes, key=lambda change: change.before is None):
                _show_diff(change)
    if as_json:
        text.json_out(document)
    else:
        _tell(document)
    return 0


def _show_diff(change: FileChange) -> None:
    """In colour and without the text of a new file for eyes; byte for byte for `patch`."""
    if not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(change.diff)
        sys.stdout.flush()
        return
    lines = change.diff.decode("utf-8", "backslashreplace").split("\n")[:-1]
    if change.before is None:
        lines = [*lines[:2], "@@ " + tr("{n} new lines: fsgr-tui integrate --print-field", n=len(lines) - 3) + " @@"]
    for line in lines:
        shown = printable(line.expandtabs(4).removesuffix("\r"))
        text.echo(text.styled(shown, _COLOURS[line[0]]) if line[:1] in _COLOURS else shown)


def _tell(document: Integration) -> None:
    files = len(document.files)
    root, script = document.root, document.script
    told = {
        "needed": trn(
            "{root}: {count} file to change; nothing was changed.",
            "{root}: {count} files to change; nothing was changed.",
            files,
            root=root,
        ),
        "applied": trn("{root}: {count} file changed.", "{root}: {count} files changed.", files, root=root),
        "integrated": tr("{root}: nothing to do, {script} reads feature files already.", root=root, script=script),
        "undone": trn("{root}: {count} file taken back.", "{root}: {count} files taken back.", files, root=root),
    }[document.state]
    text.echo(printable(told), sys.stderr)
    for file in document.files:
        text.echo(f"  {printable(file.path)}: {file.what}", sys.stderr)
    for remark in document.remarks:
        text.echo("  " + tr("note: {remark}", remark=printable(remark)), sys.stderr)
    again = f"fsgr-tui integrate {printable(shlex.quote(document.root))}"
    if document.state == "needed":
        text.echo(tr("Apply it: {command}", command=f"{again} --apply"), sys.stderr)
    if document.state == "applied":
        text.echo(tr("Originals: {folder}", folder=printable(document.backup)), sys.stderr)
        text.echo(tr("Take it back: {command}", command=f"{again} --undo"), sys.stderr)
