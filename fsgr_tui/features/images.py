r"""The images of an extraction: a list that is fixed before the work starts.

The list travels as a file of records `id TAB path NUL`: paths may hold any byte but NUL, tabs and newlines included.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.language import tr


class Image(msgspec.Struct, frozen=True):
    """One image file and the id that its name carries."""

    id: int
    path: str


def ids_digest(ids: Iterable[int]) -> str:
    """SHA-256 of the ids in ascending order, one decimal number a line: names the set, whatever its order."""
    return hashlib.sha256("\n".join(map(str, sorted(ids))).encode()).hexdigest()


def write_image_list(path: Path, images: Sequence[Image]) -> None:
    """Write the list whole."""
    write_whole(path, b"".join(b"%d\t%s\0" % (image.id, os.fsencode(image.path)) for image in images))


def read_image_list(path: Path) -> tuple[Image, ...]:
    """Read a list.

    Raises:
        BadRequest: the file is not such a list.
    """
    records = path.read_bytes().split(b"\0")[:-1]
    images = []
    for record in records:
        number, tab, name = record.partition(b"\t")
        if not tab or not number.isdigit():
            raise BadRequest(
                tr("{path} is not an image list.", path=path),
                tr("It is written by `fsgr-tui extract`; start that again."),
            )
        images.append(Image(int(number), os.fsdecode(name)))
    return tuple(images)
