"""Changing the files of a checkout, with a way back: originals and a manifest of hashes in a folder of their own."""

from __future__ import annotations

import hashlib
import os
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.lab.integration import FileChange

BACKUPS: Final = Path(".fsgr-tui")
"""In the checkout; each application has a folder in it."""

_MANIFEST: Final = "manifest.json"
_PREFIX: Final = "integrate-"
_IGNORED: Final = ".gitignore"


class ChangedFile(msgspec.Struct, frozen=True):
    """A file that was changed: its path in the checkout, and SHA-256 before (None: it was not there) and after."""

    path: str
    before: str | None
    after: str


class BackupManifest(msgspec.Struct, frozen=True):
    """What one application changed; originals lie beside it under their paths."""

    files: tuple[ChangedFile, ...]
    created: float
    schema: str = "fsgr-tui/integration-backup/1"


def apply(root: Path, changes: Sequence[FileChange]) -> Path:
    """Replace files of a checkout, each whole; originals and manifest are on the disk before the first is touched.

    Returns:
        The folder with the originals.

    Raises:
        BadRequest: a file is a link out of the checkout.
        MachineCannot: something cannot be written.
    """
    for change in changes:
        _require_inside(root, change.path)
    backup = _new_backup(root)
    try:
        for change in changes:
            if change.before is not None:
                _write(backup / change.path, change.before)
        rows = tuple(
            ChangedFile(str(change.path), None if change.before is None else _hash(change.before), _hash(change.after))
            for change in changes
        )
        _write(backup / _MANIFEST, jsontext.encode(BackupManifest(rows, time.time()), indent=2))
        for change in changes:
            _write(root / change.path, change.after)
    except OSError as error:
        raise MachineCannot(
            f"{error.filename or root} cannot be written: {error.strerror}.",
            f"What was changed before it can be taken back: {shlex.join(('fsgr-tui', 'integrate', str(root), '--undo'))}",
        ) from None
    return backup


def undo(root: Path) -> tuple[Path, tuple[ChangedFile, ...]]:
    """Take the last application back: all of it, or nothing when a file was changed since.

    Returns:
        The folder that held the originals, which is gone now, and the files.

    Raises:
        BadRequest: there is nothing to take back, a file was changed since, or an original is not what it was.
        MachineCannot: something cannot be written.
    """
    backups = applied(root)
    if not backups:
        raise BadRequest(
            f"{root} has no integration to take back.", f"Looked for {root / BACKUPS / _PREFIX}*/{_MANIFEST}."
        )
    backup = backups[-1]
    manifest = _read_manifest(backup)
    changed = [row.path for row in manifest.files if _now(root / row.path) not in (row.before, row.after)]
    if changed:
        raise BadRequest(
            f"Nothing was taken back: {', '.join(changed)} was changed since.",
            f"The originals are in {backup}; compare them: {shlex.join(('diff', str(backup / changed[0]), str(root / changed[0])))}",
        )
    damaged = [row.path for row in manifest.files if row.before and _now(backup / row.path) != row.before]
    if damaged:
        raise BadRequest(
            f"The original of {', '.join(damaged)} in {backup} is not what it was.", "Nothing was changed."
        )
    try:
        for row in manifest.files:
            if row.before is None:
                (root / row.path).unlink(missing_ok=True)
            elif _now(root / row.path) != row.before:
                _write(root / row.path, (backup / row.path).read_bytes())
        _remove(backup, manifest)
    except OSError as error:
        raise MachineCannot(f"{error.filename or root} cannot be written: {error.strerror}.", "Say it again.") from None
    return backup, manifest.files


def applied(root: Path) -> list[Path]:
    """The folders of applications that can be taken back, the oldest first."""
    return sorted(path.parent for path in (root / BACKUPS).glob(f"{_PREFIX}*/{_MANIFEST}"))


def _new_backup(root: Path) -> Path:
    base = root / BACKUPS
    try:
        base.mkdir(exist_ok=True)
        # Not a matter of the lab's own git.
        if not (base / _IGNORED).exists():
            _write(base / _IGNORED, b"*\n")
        while True:
            backup = base / f"{_PREFIX}{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09d}"
            with suppress(FileExistsError):
                backup.mkdir()
                return backup
    except OSError as error:
        raise MachineCannot(
            f"{base} cannot be written: {error.strerror}.", "Apply it to a checkout that is yours."
        ) from None


def _require_inside(root: Path, path: Path) -> None:
    target = (root / path).resolve()
    if not target.is_relative_to(root.resolve()):
        raise BadRequest(f"{root / path} is a link to {target}, outside the checkout.", "Change it there, or copy it.")


def _read_manifest(backup: Path) -> BackupManifest:
    try:
        return jsontext.decode((backup / _MANIFEST).read_bytes(), BackupManifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise BadRequest(f"{backup / _MANIFEST} cannot be read: {error}.", f"The originals are in {backup}.") from None


def _remove(backup: Path, manifest: BackupManifest) -> None:
    """The manifest first: without it the rest is no application any more."""
    (backup / _MANIFEST).unlink()
    for row in manifest.files:
        (backup / row.path).unlink(missing_ok=True)
    for folder in sorted((path for path in backup.rglob("*") if path.is_dir()), reverse=True):
        folder.rmdir()
    backup.rmdir()
    base = backup.parent
    if {path.name for path in base.iterdir()} == {_IGNORED}:
        (base / _IGNORED).unlink()
        base.rmdir()


def _write(path: Path, content: bytes) -> None:
    """Replace a file whole, with its rights; a link stays one."""
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            draft.chmod(target.stat().st_mode & 0o7777)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _now(path: Path) -> str | None:
    try:
        return _hash(path.read_bytes())
    except FileNotFoundError:
        return None
