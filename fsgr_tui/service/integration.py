"""Integration of a lab's checkout: what it needs to read feature files, the application of it, and the way back."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.lab import Checkout
from fsgr_tui.core.language import tr, trn
from fsgr_tui.lab import applying
from fsgr_tui.lab.integration import FileChange, needed_changes
from fsgr_tui.lab.model import ModelFacts, read_model
from fsgr_tui.probes.checkout import probe_checkout, python_sources, read_modules

INTEGRATION_SCHEMA = "fsgr-tui/integration/1"


class FileDiff(msgspec.Struct, frozen=True):
    """One file of an integration; `path` is relative to the checkout, `diff` unified."""

    path: str
    what: str
    diff: str


class Integration(msgspec.Struct, frozen=True):
    """What a checkout needs, or what was done.

    Attributes:
        state: needed; applied; integrated: nothing is left to do; undone.
        backup: where the originals are.
        remarks: what the change does not solve.
    """

    root: str
    script: str
    state: str
    files: tuple[FileDiff, ...] = ()
    backup: str = ""
    remarks: tuple[str, ...] = ()
    schema: str = INTEGRATION_SCHEMA


class Planned(msgspec.Struct, frozen=True):
    """An integration and the bytes of it."""

    document: Integration
    changes: tuple[FileChange, ...]


def plan(root: Path, script: str = "") -> Planned:
    """What a checkout needs; nothing is changed, and nothing of it is run.

    Raises:
        BadRequest: it is no checkout, or a file of it is not as expected.
    """
    if not root.is_dir():
        raise BadRequest(tr("There is no checkout {root}.", root=root), tr("Name the folder with the training script."))
    checkout, trees = read_checkout(root, script)
    changes = tuple(needed_changes(root, Path(checkout.script), trees))
    document = Integration(
        root=checkout.root,
        script=checkout.script,
        state="needed" if changes else "integrated",
        files=tuple(
            FileDiff(str(change.path), change.what, change.diff.decode("utf-8", "backslashreplace"))
            for change in changes
        ),
        backup=next((str(path) for path in reversed(applying.applied(root))), ""),
        remarks=tuple(_remarks(checkout, read_model(trees))),
    )
    return Planned(document, changes)


def apply(planned: Planned) -> Integration:
    """Make the changes of a plan.

    Raises:
        BadRequest: a file is a link out of the checkout.
        MachineCannot: something cannot be written.
    """
    if not planned.changes:
        return planned.document
    backup = applying.apply(Path(planned.document.root), planned.changes)
    return msgspec.structs.replace(planned.document, state="applied", backup=str(backup))


def undo(root: Path) -> Integration:
    """Take the last application back.

    Raises:
        BadRequest: there is none, or a file was changed since.
        MachineCannot: something cannot be written.
    """
    backup, files = applying.undo(root)
    left = len(applying.applied(root))
    return Integration(
        root=str(root),
        script="",
        state="undone",
        files=tuple(
            FileDiff(row.path, tr("taken away") if row.before is None else tr("as it was before"), "") for row in files
        ),
        backup=str(backup),
        remarks=(
            trn(
                "{count} earlier integration can be taken back too.",
                "{count} earlier integrations can be taken back too.",
                left,
            ),
        )
        if left
        else (),
    )


def read_checkout(root: Path, script: str = "") -> tuple[Checkout, Mapping[Path, ast.Module]]:
    """A checkout's facts, and the trees of the modules that its script reaches.

    Raises:
        BadRequest: it is no checkout.
    """
    checkout = probe_checkout(root, script)
    sources = sorted(python_sources(root))
    trees, _ = read_modules(root, Path(checkout.script), sources)
    return checkout, trees


def _remarks(checkout: Checkout, model: ModelFacts) -> list[str]:
    remarks = [
        tr(
            "{place}: the model runs CLIP itself ({text}). It trains on precomputed features only after a change "
            "there, which is the lab's to make.",
            place=place,
            text=place.text,
        )
        for place in model.clip_lines
    ]
    remarks += [
        tr(
            "{place}: {text} fixes a grid of 14x14: extract with --grid native (196 tokens), or change it.",
            place=place,
            text=place.text,
        )
        for place in checkout.grid_lines
    ]
    remarks += [
        tr(
            "{place}: the field gives out random numbers for images ({text}); zeros are safer.",
            place=place,
            text=place.text,
        )
        for place in model.random_lines
    ]
    return remarks
