"""`fsgr-tui preflight`: all that would stop or spoil a planned extraction or training, before it starts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fsgr_tui.cli import extract, text, train
from fsgr_tui.core.coco import KARPATHY_SPLITS
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.lab import GUIDE_FLAGS
from fsgr_tui.core.pasted import Pasted, given_flags, is_cut_off, read_pasted
from fsgr_tui.core.preflight import Finding, PreflightReport
from fsgr_tui.core.units import printable

_PASTED = "--pasted"
_NOT_HERE = ("dry_run", "detach")
_STYLES = {"stop": "red", "warn": "yellow", "ok": "green"}

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
    """A command that takes the options of the one that it prepares, those of unknown scripts, and a pasted text."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the pasted command's flags in the place of --pasted, and keep all words as they were typed."""
        words, pasted = _with_pasted(args)
        ctx.meta["words"], ctx.meta["pasted"] = words, pasted
        return super().parse_args(ctx, list(words))


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

    request = extract._request(asked)  # noqa: SLF001 - the command that is prepared reads its own options
    return _told(preflight.preflight_extract(request), as_json=as_json)


def _train(**asked: Any) -> int:
    as_json, repo = asked.pop("as_json"), asked.pop("repo", None)
    own = {name: asked.pop(name, None) for name in ("python", "script_name", "vocabulary", "checkpoint")}
    if repo:
        return _told(_lab_report(repo, own, asked), as_json=as_json)
    from fsgr_tui.service import preflight

    strangers = [word for word in _context().args if word.startswith("--")]
    if strangers:
        raise BadRequest(
            f"No such option: {', '.join(strangers)}.",
            "The built-in captioner does not know it; a lab's script is named with --repo.",
        )
    mode, features, images = asked.pop("mode"), asked.pop("features_path"), asked.pop("image_root")
    request = train._request(mode, features, images or "", asked)  # noqa: SLF001 - as above
    return _told(preflight.preflight_train(request), as_json=as_json)


def _lab_report(repo: str, own: dict[str, Any], asked: dict[str, Any]) -> PreflightReport:
    from fsgr_tui.service.preflight_lab import LabRequest, preflight_lab

    ours = frozenset(name.lstrip("-") for param in _context().command.params for name in param.opts)
    request = LabRequest(
        repo=repo,
        script=own["script_name"] or "",
        python=own["python"] or sys.executable,
        given=given_flags(_context().meta["words"], GUIDE_FLAGS, besides=ours),
        clip_model=asked["clip_model"],
        splits=asked["splits"] or KARPATHY_SPLITS,
        vocabulary=own["vocabulary"] or "",
        checkpoint=own["checkpoint"] or "",
    )
    return preflight_lab(request)


def _told(report: PreflightReport, *, as_json: bool) -> int:
    report = PreflightReport.of(report.command, [*_typing_findings(), *report.findings])
    if as_json:
        text.json_out(_document(report))
        return report.exit_code
    for finding in (*report.stops, *report.warnings):
        _tell(finding)
    fine = [row for row in report.findings if row.verdict == "ok"]
    text.table([(text.styled("ok  ", "green"), printable(row.what), printable(row.found)) for row in fine], indent=0)
    stops, warnings = len(report.stops), len(report.warnings)
    text.echo()
    text.echo(
        text.styled(
            f"{stops} would stop or spoil it, {warnings} to look at, {len(fine)} fine"
            if stops or warnings
            else f"Nothing speaks against it: {len(fine)} things looked at.",
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


def _tell(finding: Finding) -> None:
    mark = finding.verdict.upper() if finding.verdict == "stop" else finding.verdict
    text.echo(f"{text.styled(f'{mark:4}', _STYLES[finding.verdict])}  {text.styled(printable(finding.what), 'bold')}")
    needed = f" (needed: {finding.needed})" if finding.needed else ""
    text.paragraph(finding.found + needed, indent=6)
    for line in finding.remedy.splitlines():
        text.paragraph(f"-> {line}", indent=6)


def _typing_findings() -> list[Finding]:
    """What the shell has already misread, or would misread in the pasted text."""
    pasted: Pasted | None = _context().meta["pasted"]
    rows = [
        Finding(f"pasted command, line {fault.line}", fault.what, verdict="stop", remedy=fault.remedy, blame="request")
        for fault in (pasted.faults if pasted else ())
    ]
    if is_cut_off(_context().meta["words"]):
        rows.append(
            Finding(
                "command", "it was cut off: a blank or a comment follows a backslash at the end of a line", "nothing after the backslash", "stop",
                "The flags after it did not arrive. Put comments on lines of their own; --pasted FILE reads the text and says where.", "request",
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
    if source == "-":
        return sys.stdin.read()
    try:
        return Path(source).read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise BadRequest(
            f"--pasted {source} cannot be read: {error.strerror}.",
            "Name a file with the command, or - for standard input.",
        ) from None


def _prepared(
    name: str, of: click.Command, run: Callable[..., int], more: list[click.Option], help_text: str
) -> Prepared:
    return Prepared(
        name,
        params=_params(of, more),
        callback=run,
        help=help_text,
        # Flags of a script that nobody here knows are findings, not errors; they are named all together.
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True} if name == "train" else {},
    )


command.add_command(
    _prepared(
        "extract",
        extract.command,
        _extract,
        [],
        f"What would stop or spoil `fsgr-tui extract` with the same options.\n\n{_EXITS}\n\n{_EXTRACT_EXAMPLES}",
    )
)
command.add_command(
    _prepared(
        "train",
        train.command,
        _train,
        [
            click.Option(
                ["--repo"],
                type=click.Path(),
                help="A lab's own checkout; its source is read, and nothing of it is run.",
            ),
            click.Option(
                ["--python"], type=click.Path(), help="The lab's Python, e.g. of a conda env; by default this one."
            ),
            click.Option(
                ["--script-name"], help="Training script in the checkout; by default train_transformer.py or train.py."
            ),
            click.Option(
                ["--vocabulary"], type=click.Path(), help="Pickled vocabulary; by default one that the source names."
            ),
            click.Option(["--checkpoint"], type=click.Path(), help="Checkpoint to hold the vocabulary against."),
        ],
        f"What would stop or spoil `fsgr-tui train`, or a lab's own script, with the same options.\n\n{_EXITS}\n\n{_TRAIN_EXAMPLES}",
    )
)
