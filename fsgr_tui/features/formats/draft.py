"""Where a target grows: the folder `NAME.draft` beside it. The final name appears at the end, by one rename."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.language import tr
from fsgr_tui.features.ledger import NO_LOCKS_ERRNOS
from fsgr_tui.features.writer import sync_path

_MARK = "fsgr-tui-convert"


def draft_folder(target: Path) -> Path:
    """The folder in which a target grows."""
    return target.with_name(f"{target.name}.draft")


class Draft:
    """A context: the draft folder of one target, locked; it is gone afterwards, whatever happened.

    Attributes:
        content: where to write what shall become the target.

    Raises:
        BadRequest: a folder of that name is there, and it is not ours.
        MachineCannot: another process converts into the same target, or the folder cannot be made.
    """

    def __init__(self, target: Path, *, overwrite: bool) -> None:
        self._target, self._overwrite = target, overwrite
        self._folder = draft_folder(target)
        self._replaced = self._folder / "replaced"
        self._fd = -1
        self.content = self._folder / "content"

    def __enter__(self) -> Draft:
        try:
            self._fd = self._claim()
        except OSError as error:
            raise _cannot_claim(self._folder, error) from None
        self._put_back()
        # What an interrupted conversion left is of no use: it cannot be told how far it got.
        for entry in self._folder.iterdir():
            if entry.name != _MARK:
                remove(entry)
        return self

    def publish(self) -> None:
        """Give the content its final name.

        Raises:
            BadRequest: something took the name while the conversion ran.
        """
        if os.path.lexists(self._target) and not self._overwrite:
            raise BadRequest(
                tr("{target} exists now.", target=self._target), tr("Use --overwrite to replace it, or another name.")
            )
        if self._target.is_dir() or (self.content.is_dir() and os.path.lexists(self._target)):
            # A folder cannot be replaced by one rename; a kill between these two is made good by the next run.
            self._target.rename(self._replaced)
        self.content.replace(self._target)
        sync_path(self._target.parent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._fd)

    def _claim(self) -> int:
        """Make and lock the folder; between the two its last owner may have removed it."""
        mark = self._folder / _MARK
        while True:
            try:
                self._folder.mkdir()
            except FileExistsError:
                if _is_foreign(self._folder):
                    raise BadRequest(
                        tr(
                            "{folder} is in the way: a conversion would work there, and it holds something else.",
                            folder=self._folder,
                        ),
                        tr("Move it away, or choose another target."),
                    ) from None
            try:
                fd = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_ino == mark.stat().st_ino:
                    return fd
            except FileNotFoundError:
                pass
            except OSError:
                os.close(fd)
                raise
            os.close(fd)

    def _put_back(self) -> None:
        """Undo a replacement that was cut off between its two renames."""
        if os.path.lexists(self._replaced) and not os.path.lexists(self._target):
            self._replaced.rename(self._target)


def _is_foreign(folder: Path) -> bool:
    """Whether something else than a conversion made the folder; one that vanishes meanwhile was a conversion's."""
    try:
        names = {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        return False
    return bool(names) and _MARK not in names


def remove(path: Path) -> None:
    """Delete a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _cannot_claim(folder: Path, error: OSError) -> MachineCannot:
    if isinstance(error, BlockingIOError):
        return MachineCannot(
            tr("Another process is converting into {with_suffix}.", with_suffix=folder.with_suffix("")),
            tr("Wait for it, or stop it (`fsgr-tui jobs`)."),
        )
    if error.errno in NO_LOCKS_ERRNOS:
        return MachineCannot(
            tr(
                "The file system of {parent} has no file locks, so two writers could not be told apart.",
                parent=folder.parent,
            ),
            tr("Convert on a local disk and copy the result."),
        )
    return MachineCannot(
        tr("{folder} cannot be made: {reason}.", folder=folder, reason=error.strerror), tr("Choose another target.")
    )
