"""`fsgr-tui preflight`: all that would stop or spoil a planned extraction or training, before it starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from click.shell_completion import CompletionItem

from fsgr_tui.cli import extract, findings, text, train, train_checkout
from fsgr_tui.core.coco import KARPATHY_SPLITS
from fsgr_tui.core.errors import BadRequest, Problem
from fsgr_tui.core.language import tr
from fsgr_tui.core.pasted import Pasted, given_flags, is_cut_off, read_pasted
from fsgr_tui.core.preflight import Finding, PreflightReport, from_problem
from fsgr_tui.core.units import printable

_PASTED = "--pasted"
_WORDS = "words as typed"
_NOT_HERE = ("dry_run", "detach", "no_preflight", "runs_on", "profile", "shards")

_EXITS = (
    "Exit codes: 0 nothing speaks against it (warnings may be there), 1 data are missing or bad, 2 the command is wrong, "
    "3 this machine cannot."
)
_EXTRACT_EXAMPLES = """\b
Examples:
  fsgr-tui preflight extract --image-root datasets/coco/images --split karpathy --output-path features/coco.hdf5
  fsgr-tui preflight extract ... --device cuda --json"""
_TRAIN_EXAMPLES = """\b
Examples:
  fsgr-tui preflight train --features-path features/coco.hdf5 --annotation-folder m2_annotations
  fsgr-tui preflight train --repo ~/FSGR --python ~/miniconda3/envs/fsgr/bin/python --text --exp_name a
      --features_path features/coco.hdf5 --annotation_folder m2_annotations
  fsgr-tui preflight train --repo ~/FSGR --pasted train.sh"""


class Prepared(click.Command):
    """A command that takes the options of the one that it prepares, and a pasted text in their place."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Put the pasted command's flags in the place of --pasted, and keep all words as they were typed."""
        # While a shell completes a line, no file that it names is read.
        words, pasted = (tuple(args), None) if extra.get("resilient_parsing") else _with_pasted(args)
        chosen = _LAB if isinstance(self, PreparedTraining) and train_checkout.names_a_checkout(words) else self
        context = chosen.parse(info_name, list(words), parent, **extra)
        context.meta[_WORDS], context.meta[_PASTED] = words, pasted
        return context

    def parse(
        self, info_name: str | None, args: list[str], parent: click.Context | None, **extra: Any
    ) -> click.Context:
        """The words as click reads them."""
        return super().make_context(info_name, args, parent, **extra)


class PreparedTraining(Prepared):
    """`train`, which becomes the training with a lab's script when --repo is among its words, as `fsgr-tui train` does."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As `fsgr-tui train` completes."""
        return [*train_checkout.completed_repo(incomplete), *super().shell_complete(ctx, incomplete)]


@click.group(
    "preflight",
    help="All that would stop or spoil a planned extraction or training, before it starts; each with its remedy.\n\n"
    + _EXITS,
)
def command() -> None:
    """Two commands, one for each that can be prepared."""


def _pasted_option() -> click.Option:
    return click.Option(
        [_PASTED],
        metavar="FILE",
        expose_value=False,
        help="Take the flags from a command in a file (a shell script, or pasted text; - is standard input), and say what the shell would misread in it.",
    )


def _params(of: click.Command, more: list[click.Option]) -> list[click.Parameter]:
    """The options of a command, without those that only make sense when it starts, and more of our own."""
    kept = [param for param in of.params if param.name not in _NOT_HERE]
    names = {param.name for param in kept}
    return [*(option for option in more if option.name not in names), _pasted_option(), *kept]


def _extract(**asked: Any) -> int:
    as_json = asked.pop("as_json")
    from fsgr_tui.service import preflight

    request = extract.request_of(asked)
    return _told(preflight.preflight_extract(request), as_json=as_json)


def _train(**asked: Any) -> int:
    as_json = asked.pop("as_json")
    from fsgr_tui.service import preflight

    mode, features, images = asked.pop("mode"), asked.pop("features_path"), asked.pop("image_root")
    request = train._request(mode, features, images or "", asked)  # noqa: SLF001 - the command that is prepared reads its own options
    return _told(preflight.preflight_train(request), as_json=as_json)


def _train_with_checkout(
    repo: str, python: str, script_name: str, vocabulary: str, checkpoint: str, *, as_json: bool, **asked: Any
) -> int:
    """As `fsgr-tui train --repo` looks at it; where that has no command to look at, as far as it goes."""
    from fsgr_tui.service.checkout_training import CheckoutRequest, examine_lab, prepare
    from fsgr_tui.service.preflight_lab import LabRequest

    words = tuple(word for word in _context().args if not is_cut_off((word,)))
    splits = asked["splits"] or KARPATHY_SPLITS
    request = CheckoutRequest(
        repo=repo,
        words=words,
        mode=asked["mode"],
        script=script_name,
        python=python,
        device=asked["device"],
        splits=splits,
    )

    def examine(lab: LabRequest) -> PreflightReport:
        return examine_lab(msgspec.structs.replace(lab, vocabulary=vocabulary, checkpoint=checkpoint))

    try:
        report = prepare(request, examine).report
    except Problem as problem:
        lab = LabRequest(repo=repo, script=script_name, python=python, given=given_flags(words), splits=splits)
        report = PreflightReport.of("train", [from_problem(tr("command"), problem), *examine(lab).findings])
    return _told(report, as_json=as_json)


def _told(report: PreflightReport, *, as_json: bool) -> int:
    report = PreflightReport.of(report.command, [*_typing_findings(), *report.findings])
    if as_json:
        text.json_out(_document(report))
        return report.exit_code
    for finding in (*report.stops, *report.warnings):
        findings.tell(finding)
    fine = [row for row in report.findings if row.verdict == "ok"]
    text.table(
        [(tr("ok") + "  ", printable(tr("{what}: {found}", what=row.what, found=row.found))) for row in fine], indent=0
    )
    stops, warnings = len(report.stops), len(report.warnings)
    text.echo()
    text.echo(
        text.styled(
            tr(
                "{stops} would stop or spoil it, {warnings} to look at, {fine} fine",
                stops=stops,
                warnings=warnings,
                fine=len(fine),
            )
            if stops or warnings
            else tr("Nothing speaks against it: {n} things looked at.", n=len(fine)),
            "bold",
        )
    )
    return report.exit_code


def _document(report: PreflightReport) -> dict[str, Any]:
    return {
        "schema": report.schema,
        "command": report.command,
        "exit_code": report.exit_code,
        "stops": len(report.stops),
        "warnings": len(report.warnings),
        "findings": report.findings,
    }


def _typing_findings() -> list[Finding]:
    """What the shell has already misread, or would misread in the pasted text."""
    pasted: Pasted | None = _context().meta[_PASTED]
    rows = [
        Finding(
            tr("pasted command, line {line}", line=fault.line),
            fault.what,
            verdict="stop",
            remedy=fault.remedy,
            blame="request",
        )
        for fault in (pasted.faults if pasted else ())
    ]
    if is_cut_off(_context().meta[_WORDS]):
        rows.append(
            Finding(
                tr("command"), tr("it was cut off: a blank or a comment follows a backslash at the end of a line"), tr("nothing after the backslash"), "stop",
                tr("The flags after it did not arrive. Put comments on lines of their own; --pasted FILE reads the text and "
"says where."), "request",
            )
        )  # fmt: skip
    return rows


def _context() -> click.Context:
    return click.get_current_context()


def _with_pasted(args: list[str]) -> tuple[tuple[str, ...], Pasted | None]:
    for place, word in enumerate(args):
        name, sign, value = word.partition("=")
        if name != _PASTED:
            continue
        source = value if sign else args[place + 1] if place + 1 < len(args) else ""
        pasted = read_pasted(_pasted_text(source))
        after = place + (1 if sign else 2)
        return (*args[:place], *pasted.arguments, *args[after:]), pasted
    return tuple(args), None


def _pasted_text(source: str) -> str:
    if not source:
        raise BadRequest(
            tr("--pasted was given no file."), tr("Name a file with the command, or - for standard input.")
        )
    if source == "-":
        return sys.stdin.read()
    try:
        return Path(source).read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise BadRequest(
            tr("--pasted {source} cannot be read: {reason}.", source=source, reason=error.strerror),
            tr("Name a file with the command, or - for standard input."),
        ) from None


def _help(what: str, examples: str) -> str:
    return f"What would stop or spoil {what} with the same options.\n\n{_EXITS}\n\n{examples}"


_LAB = Prepared(
    "train",
    params=_params(
        train_checkout.command,
        [
            click.Option(
                ["--vocabulary"],
                type=click.Path(),
                default="",
                help="Pickled vocabulary; by default one that the source names.",
            ),
            click.Option(
                ["--checkpoint"], type=click.Path(), default="", help="Checkpoint to hold the vocabulary against."
            ),
        ],
    ),
    callback=_train_with_checkout,
    help=_help("`fsgr-tui train --repo DIR`, a lab's own script,", _TRAIN_EXAMPLES),
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
command.add_command(
    Prepared(
        "extract",
        params=_params(extract.command, []),
        callback=_extract,
        help=_help("`fsgr-tui extract`", _EXTRACT_EXAMPLES),
    )
)
command.add_command(
    PreparedTraining(
        "train",
        params=_params(train.command, []),
        callback=_train,
        help=_help("`fsgr-tui train`", _TRAIN_EXAMPLES),
        epilog="`fsgr-tui preflight train --repo DIR --help` tells the options for a lab's own script.",
    )
)
