"""TensorBoard event files are read record by record; the bytes were held against tensorboardX and TensorBoard 2."""

from __future__ import annotations

import math
import struct
import time

from fsgr_tui.jobs.progress.tensorboard import EventFile, EventFiles, Scalar, masked_crc, scalars


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, wire: int, body: bytes) -> bytes:
    return varint(number << 3 | wire) + (varint(len(body)) if wire == 2 else b"") + body


def event(at: float, step: int, *values: bytes) -> bytes:
    summary = b"".join(field(1, 2, value) for value in values)
    return field(1, 1, struct.pack("<d", at)) + field(2, 0, varint(step)) + field(5, 2, summary)


def simple(tag: str, value: float) -> bytes:
    return field(1, 2, tag.encode()) + field(2, 5, struct.pack("<f", value))


def tensor(tag: str, value: float, *, content: bool = True, double: bool = False) -> bytes:
    packed = struct.pack("<d" if double else "<f", value)
    body = field(1, 0, varint(2 if double else 1)) + field(2, 2, b"")
    body += field(4, 2, packed) if content else field(6 if double else 5, 2, packed)
    return field(1, 2, tag.encode()) + field(8, 2, body) + field(9, 2, field(1, 2, field(1, 2, b"scalars")))


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def test_the_checksum_is_that_of_tensorflow():
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720's polynomial); masked by hand.
    crc = 0xE3069283
    assert masked_crc(b"123456789") == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_both_forms_of_scalars_are_read():
    body = event(
        5.0, 7, simple("loss", 0.5), tensor("acc", 0.25), tensor("d", 1.5, double=True), tensor("f", 2.0, content=False)
    )
    assert list(scalars(body)) == [Scalar(5.0, 7, "loss", 0.5), Scalar(5.0, 7, "acc", 0.25), Scalar(5.0, 7, "d", 1.5), Scalar(5.0, 7, "f", 2.0)]  # fmt: skip


def test_nan_is_read_as_nan():
    (scalar,) = scalars(event(1.0, 1, simple("loss", float("nan"))))
    assert math.isnan(scalar.value)


def test_rubbish_holds_no_scalars():
    for body in (b"\xff" * 40, b"\x2a\x7f", b"", b"\x09\x01", b"\x2a\x02\x0a\x7f"):
        assert list(scalars(body)) == []


def test_a_truncated_tail_resumes_at_the_right_record(tmp_path):
    path = tmp_path / "events.out.tfevents.1.host"
    whole = b"".join(record(event(float(step), step, simple("loss", step / 4))) for step in range(20))
    path.write_bytes(b"")
    file, seen = EventFile(path), []
    with path.open("ab") as out:
        for at in range(0, len(whole), 13):
            out.write(whole[at : at + 13])
            out.flush()
            seen += [scalar.step for scalar in file.new()]
    assert seen == list(range(20))
    assert file.damaged == ""


def test_a_large_record_is_passed_over(tmp_path):
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(record(b"\0" * 3_000_000) + record(event(1.0, 3, simple("loss", 1.0))))
    file = EventFile(path)
    assert [scalar.step for scalar in file.new()] == [3]
    file.close()


def test_a_damaged_file_says_where(tmp_path):
    path = tmp_path / "events.out.tfevents.1.host"
    first = record(event(1.0, 1, simple("loss", 1.0)))
    path.write_bytes(first + b"\x01" * 64)
    file = EventFile(path)
    assert [scalar.step for scalar in file.new()] == [1]
    assert f"at byte {len(first)}" in file.damaged
    assert list(file.new()) == []


def test_a_record_whose_data_is_damaged_is_left_out(tmp_path):
    path = tmp_path / "events.out.tfevents.1.host"
    bad = bytearray(record(event(1.0, 1, simple("loss", 1.0))))
    bad[20] ^= 1
    path.write_bytes(bytes(bad) + record(event(2.0, 2, simple("loss", 2.0))))
    assert [scalar.step for scalar in EventFile(path).new()] == [2]


def test_files_of_the_job_are_found_and_older_ones_are_not(tmp_path):
    now = int(time.time())
    for began, step in ((now - 5000, 1), (now + 1, 2)):
        folder = tmp_path / "runs" / f"run{step}"
        folder.mkdir(parents=True)
        (folder / f"events.out.tfevents.{began}.host.1.0").write_bytes(record(event(1.0, step, simple("loss", 1.0))))
    files = EventFiles([tmp_path], since=now)
    assert [scalar.step for scalar in files.new(0.0)] == [2]
    later = tmp_path / "more"
    later.mkdir()
    (later / f"events.out.tfevents.{now + 9}.host").write_bytes(record(event(1.0, 3, simple("loss", 1.0))))
    assert list(files.new(1.0)) == []
    assert [scalar.step for scalar in files.new(31.0)] == [3]
    files.close()
