"""Curves for TensorBoard, written without TensorBoard: scalars in its own file format.

A file is a row of records: length, masked CRC32C of the length, an `Event` in protocol-buffer form, masked CRC32C of
that (TensorFlow's `record_writer.cc` and `event.proto`). The package that reads them is a web server; training does
not need it.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8

_numbers = itertools.count()


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)  # noqa: PLW2901 - the usual way to build the table
        table.append(value)
    return tuple(table)


_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """CRC32C, turned and shifted as the format wants it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


class Board:
    """A new event file in a folder; TensorBoard shows all files of a folder as one run.

    Args:
        folder: made where it is not there; empty for no file at all.
        started_s: Unix time in the file's name.
    """

    def __init__(self, folder: str, started_s: float | None = None) -> None:
        self._fd: int | None = None
        if not folder:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        now = time.time() if started_s is None else started_s
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        self._fd = os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._write(_double(1, now) + _bytes(3, b"brain.Event:2"))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve; values that are not finite are kept as such."""
        if self._fd is not None:
            scalars = b"".join(_bytes(1, _bytes(1, name.encode()) + _float(2, value)) for name, value in values.items())
            self._write(_double(1, time.time()) + _integer(2, step) + _bytes(5, scalars))

    def close(self) -> None:
        """End the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        record = length + struct.pack("<I", masked_crc32c(length)) + event + struct.pack("<I", masked_crc32c(event))
        # One write a record: a reader never sees a part of it, and a kill leaves none.
        os.write(self._fd or 0, record)


def forget_boards(folder: str) -> None:
    """Remove the event files of an earlier run: TensorBoard would draw its curves through the new ones."""
    if folder and Path(folder).is_dir():
        for path in Path(folder).glob("events.out.tfevents.*"):
            path.unlink(missing_ok=True)


def _integer(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return bytes([field << 3 | 1]) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return bytes([field << 3 | 5]) + struct.pack("<f", value)


def _bytes(field: int, value: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
