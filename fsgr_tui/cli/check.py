"""`fsgr-tui check`: may these features be trained on?"""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from fsgr_tui.cli import follow, options, text
from fsgr_tui.core.errors import EXIT_FOUND_FAULTS, EXIT_OK, BadRequest, FoundFaults
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import format_duration, printable
from fsgr_tui.features.agreement import VERDICT_WORDS
from fsgr_tui.features.check import SAMPLE_ROWS, CheckReport
from fsgr_tui.features.compare import FeatureComparison
from fsgr_tui.features.manifest import IDENTITY
from fsgr_tui.features.values import JUDGEMENT_WORDS
from fsgr_tui.service import checking, comparing, kept_checks


@click.command(
    "check",
    help="Verify feature files: ours, those of M2, RSTNet and DLCT, and what `convert` writes. Exit code 0: good; 1: faults "
    "were found.\n\n"
    "Without further flags it reads the header, all keys and 1,000 random rows.",
)
@click.argument("files", nargs=-1, required=True, type=click.Path())
@options.image_root
@options.split
@click.option(
    "--annotations",
    "--annotation-folder",
    type=click.Path(),
    default="",
    help="Captions JSON, or M2-style folder: every image must be there.",
)
@click.option("--deep", is_flag=True, help="Read every row, and compare its checksum.")
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=SAMPLE_ROWS,
    show_default=True,
    metavar="N",
    help="Rows to read without --deep, chosen at random.",
)
@click.option(
    "--against",
    type=click.Path(),
    default="",
    help="Compare with this feature file instead, image by image: are the values the same? Exit code 1: they are not.",
)
@click.option(
    "--recompute",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Extract N random images again and compare (needs the images).",
)
@click.option("--weights", default="", help="Weights for --recompute, where the manifest's source is not here.")
@click.option(
    "--like",
    type=click.Path(),
    default="",
    help="Another feature file: the same model, weights, grid and preprocessing?",
)
@click.option(
    "--trained-with",
    "trained_with",
    multiple=True,
    metavar="NAME=VALUE",
    help="What the training will use: clip_model=ViT-B/16, weights=FILE, grid=7x7, resize=squash, dtype=float16, stage=... "
    "For files without manifest, --recompute takes the model from it.",
)
@click.option("--device", default="auto", show_default=True, help="Device for --recompute.")
@click.option("--id-pattern", default="", help="Regular expression for the image id in file names.")
@options.json_flag
def command(files: tuple[str, ...], image_root: str | None, against: str, as_json: bool, **asked: Any) -> int:
    """Check files one by one."""
    if against:
        return _compare(files, against, as_json=as_json, image_root=image_root, **asked)
    code = EXIT_OK
    documents = []
    asked["trained_with"] = _pairs(asked["trained_with"])
    for path in files:
        request = checking.CheckRequest(path=path, image_root=image_root or "", **asked)
        try:
            report = _checked(request)
        except FoundFaults as problem:
            # One bad file among several must not hide the others.
            report = CheckReport(
                path=path, good=False, headline=problem.what, rows=(), images=0, looked_at=0, depth=tr("none")
            )
            if not as_json:
                text.echo(f"{text.styled(tr('BAD'), 'red')}  {printable(problem.what)}\n     {printable(problem.fix)}")
        else:
            if not as_json:
                show(report)
        documents.append(report)
        code = code if report.good else EXIT_FOUND_FAULTS
    if as_json:
        text.json_out(documents[0] if len(documents) == 1 else {"schema": "fsgr-tui/checks/1", "files": documents})
    return code


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    known = ("weights", *IDENTITY)
    pairs = {}
    for each in texts:
        name, equals, value = each.partition("=")
        name = name.replace("-", "_")
        if not equals or name not in known:
            raise BadRequest(
                tr("--trained-with {given!r} is not NAME=VALUE.", given=each),
                tr("Names: {names}.", names=", ".join(known)),
            )
        pairs[name] = value
    return pairs


def show(report: CheckReport) -> None:
    """Print a report: the verdict in one line, then the table."""
    mark = text.styled(tr("GOOD"), "green") if report.good else text.styled(tr("BAD"), "red")
    text.echo(f"{mark}  " + tr("{what}: {found}", what=printable(report.path), found=printable(report.headline)))
    text.echo(f"  {report.depth}")
    text.echo()
    rows = [
        (tr(JUDGEMENT_WORDS[row.judgement]), row.label, row.expected, _with_detail(row.found, row.detail))
        for row in report.rows
    ]
    text.table(rows, ("", tr("what"), tr("expected"), tr("found")))


def _with_detail(found: str, detail: str) -> str:
    return tr("{found}. {detail}", found=found, detail=detail) if detail else found


def _checked(request: checking.CheckRequest) -> CheckReport:
    progress = Progress(tr("reading rows"))
    try:
        report = kept_checks.check(request, tell=progress)
    finally:
        progress.end()
    if request.recompute:
        run = checking.start_recompute(request)
        report = checking.with_recompute(report, follow.follow(run))
    return report


def _compare(files: tuple[str, ...], against: str, *, as_json: bool, sample: int, deep: bool, **others: Any) -> int:
    if given := [f"--{name.replace('_', '-')}" for name, value in others.items() if value and value != "auto"]:
        raise BadRequest(
            tr("--against compares two files, and {flags} is about one.", flags=given[0]),
            tr("Leave it out, or check the file by itself."),
        )
    if len(files) > 1:
        raise BadRequest(
            tr("--against compares two files, and {n} were named before it.", n=len(files)), tr("Name one.")
        )
    progress = Progress(tr("comparing rows"))
    try:
        found = comparing.compare(files[0], against, progress, sample=sample, deep=deep)
    finally:
        progress.end()
    if as_json:
        text.json_out(found)
    else:
        show_comparison(found)
    return EXIT_OK if found.same else EXIT_FOUND_FAULTS


def show_comparison(found: FeatureComparison) -> None:
    """Print a comparison: the verdict in one line, then the table."""
    mark = text.styled(tr("SAME"), "green") if found.same else text.styled(tr("DIFFERENT"), "red")
    text.echo(f"{mark}  {printable(found.headline)}")
    text.echo(f"  A  {printable(found.path_a)}")
    text.echo(f"  B  {printable(found.path_b)}")
    text.echo(f"  {found.depth}")
    text.echo()
    rows = [
        (tr(VERDICT_WORDS[row.verdict]), row.label, *map(printable, (row.a, row.b, row.detail))) for row in found.rows
    ]
    text.table(rows, ("", tr("what"), "A", "B", ""))


class Progress:
    """A counter on standard error, on terminals only."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = time.monotonic()
        self._live = text.wants_colour(sys.stderr)

    def __call__(self, step: int, total: int) -> None:
        """Show that `step` of `total` are done."""
        if self._live:
            left_s = (time.monotonic() - self._began) / step * (total - step) if step else 0
            left = "  " + tr("{duration} left", duration=format_duration(left_s)) if left_s >= 1 else ""
            sys.stderr.write(f"\r\x1b[2K{self._what} {step:,}/{total:,}{left}")
            sys.stderr.flush()

    def end(self) -> None:
        """Clear the line."""
        if self._live:
            sys.stderr.write("\r\x1b[2K")
