"""TensorBoard event files, read record by record without TensorBoard.

A record is a length (8 bytes, little endian), its masked CRC-32C, the data, and the data's masked CRC-32C (TensorFlow,
core/lib/io/record_writer.h). The data is a protobuf `Event` (core/util/event.proto); of its fields only the time, the
step and scalar summaries are read, in the older form (`simple_value`) and in the newer one (a tensor with one value).
"""

from __future__ import annotations

import itertools
import os
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from fsgr_tui.jobs.progress.tail import Tail

LOOK_S: Final = 30.0
ENTRIES_LOOKED_AT: Final = 20_000
"""A command may name a folder of pictures, too."""

DEPTH: Final = 4
READ_BYTES: Final = 4 << 20
_NAME = re.compile(r"events\.out\.tfevents\.(?P<began>\d{9,})\.")
_SCALAR_BYTES = 4096
"""Larger records are pictures, histograms and graphs; they are passed over."""


class Scalar(NamedTuple):
    """A scalar as it was logged; its value may be NaN or infinite."""

    at: float
    step: int
    tag: str
    value: float


class EventFile:
    """Follows one event file; a record that is cut waits for its rest.

    Attributes:
        damaged: what is wrong with the file; behind that place nothing can be read. Empty while all is well.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = ""
        self._tail = Tail(path)
        self._buffer = b""
        self._skip = 0
        self._offset = 0

    def new(self, limit_bytes: int = READ_BYTES) -> Iterator[Scalar]:
        """The scalars of the records that were completed since the last call."""
        for piece in self._tail.pieces(limit_bytes):
            self._buffer += piece
            for record in self._records():
                yield from scalars(record)

    def close(self) -> None:
        """Let the file go."""
        self._tail.close()

    def _records(self) -> Iterator[bytes]:
        at, held = 0, self._buffer
        while not self.damaged:
            if self._skip:
                passed = min(self._skip, len(held) - at)
                self._skip -= passed
                at += passed
            if self._skip or len(held) - at < 12:
                break
            (length,) = struct.unpack_from("<Q", held, at)
            if masked_crc(held[at : at + 8]) != struct.unpack_from("<I", held, at + 8)[0]:
                self.damaged = f"{self.path} is damaged at byte {self._offset + at:,}"
                break
            if length > _SCALAR_BYTES:
                self._skip = 12 + length + 4
                continue
            if len(held) - at < 12 + length + 4:
                break
            data = held[at + 12 : at + 12 + length]
            if masked_crc(data) == struct.unpack_from("<I", held, at + 12 + length)[0]:
                yield data
            at += 12 + length + 4
        self._offset += at
        self._buffer = b"" if self.damaged else held[at:]


class EventFiles:
    """The event files that a job writes, found under some folders.

    Args:
        folders: where to look, a few levels deep.
        since: Unix time of the job's start; files that were begun before it belong to other runs.
    """

    def __init__(self, folders: list[Path], since: float) -> None:
        self._folders = folders
        self._since = since - 5
        self._files: dict[Path, EventFile] = {}
        self._looked_at = float("-inf")

    def new(self, now: float | None = None) -> Iterator[Scalar]:
        """What was logged since the last call; new files are looked for now and then.

        Args:
            now: monotonic seconds.
        """
        now = time.monotonic() if now is None else now
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            for path in self._find():
                self._files.setdefault(path, EventFile(path))
        for file in self._files.values():
            yield from file.new()

    def close(self) -> None:
        """Let all files go."""
        for file in self._files.values():
            file.close()

    def _find(self) -> Iterator[Path]:
        left = ENTRIES_LOOKED_AT
        waiting = [(folder, DEPTH) for folder in self._folders]
        while waiting and left > 0:
            folder, depth = waiting.pop(0)
            try:
                with os.scandir(folder) as entries:
                    found = list(itertools.islice(entries, left))
            except OSError:
                continue
            left -= len(found) + 1
            for entry in found:
                name = _NAME.match(entry.name)
                if name and int(name["began"]) >= self._since:
                    yield Path(entry.path)
                elif depth and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    waiting.append((Path(entry.path), depth - 1))


def scalars(event: bytes) -> Iterator[Scalar]:
    """The scalars in an `Event`; what cannot be read holds none."""
    at, step, values = 0.0, 0, []
    try:
        for number, value in _fields(event):
            if number == 1 and isinstance(value, bytes):
                (at,) = struct.unpack("<d", value)
            elif number == 2 and isinstance(value, int):
                step = value - (1 << 64) if value >> 63 else value
            elif number == 5 and isinstance(value, bytes):
                values += [each for tag, each in _fields(value) if tag == 1 and isinstance(each, bytes)]
        for value in values:
            tag, found = _scalar(value)
            if tag and found is not None:
                yield Scalar(at, step, tag, found)
    except (struct.error, IndexError, ValueError):
        return


def _scalar(value: bytes) -> tuple[str, float | None]:
    tag, found = "", None
    for number, field in _fields(value):
        if not isinstance(field, bytes):
            continue
        if number == 1:
            tag = field.decode("utf-8", "replace")
        elif number == 2:
            (found,) = struct.unpack("<f", field)
        elif number == 8:
            found = _tensor(field)
    return tag, found


def _tensor(tensor: bytes) -> float | None:
    """A tensor's value, when it is a single float or double (DT_FLOAT 1, DT_DOUBLE 2 of types.proto)."""
    fields = list(_fields(tensor))
    kind = next((value for number, value in fields if number == 1), 0)
    form, size, repeated = {1: ("<f", 4, 5), 2: ("<d", 8, 6)}.get(kind if isinstance(kind, int) else 0, ("", 0, 0))
    for number, value in fields:
        if size and number in (4, repeated) and isinstance(value, bytes) and len(value) == size:
            found: float = struct.unpack(form, value)[0]
            return found
    return None


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message: (number, value); fixed-width values as their bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            whole, at = _varint(message, at)
            yield number, whole
            continue
        if wire == 2:
            size, at = _varint(message, at)
        else:
            size = {1: 8, 5: 4}[wire] if wire in (1, 5) else -1
        if size < 0 or at + size > len(message):
            raise ValueError("no protobuf message")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("no varint")


def _table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC32C = _table()


def masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli), masked as TFRecord does: rotated right by 15 bits plus a constant (core/lib/hash/crc32c.h)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
