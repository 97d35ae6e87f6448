"""Writing to a terminal that reads slowly, or is gone."""

import os
import select
import threading
import time

from fsgr_tui.tui.terminal import BACKLOG_CHARS, TerminalWriter


def test_what_is_written_arrives_in_order():
    reading, writing = os.pipe()
    writer = TerminalWriter(writing, "utf-8", lambda: None)
    writer.start()
    for word in ("one ", "two ", "drei ▆"):
        writer.write(word)
    writer.close()
    assert os.read(reading, 100).decode() == "one two drei ▆"


def test_a_reader_that_stands_still_costs_frames_and_never_the_writer():
    reading, writing = os.pipe()
    caught_up = threading.Event()
    writer = TerminalWriter(writing, "utf-8", caught_up.set)
    writer.start()
    began = time.monotonic()
    for _ in range(100):
        writer.write("x" * (BACKLOG_CHARS // 10))
    assert time.monotonic() - began < 1
    received = 0
    while not caught_up.is_set():
        if select.select([reading], [], [], 0.05)[0]:
            received += len(os.read(reading, 65536))
    assert received <= 3 * BACKLOG_CHARS
    writer.write("fresh")
    writer.close()
    assert os.read(reading, 65536).endswith(b"fresh")


def test_what_restores_the_terminal_goes_before_frames_that_nobody_read():
    reading, writing = os.pipe()
    writer = TerminalWriter(writing, "utf-8", lambda: None)
    writer.start()
    for _ in range(30):
        writer.write("x" * (BACKLOG_CHARS // 10))
    writer.write("RESTORED", must=True)
    got = b""
    while not got.endswith(b"RESTORED"):
        assert select.select([reading], [], [], 5)[0], "it never came"
        got += os.read(reading, 65536)
    writer.close()
    assert len(got) <= 2 * BACKLOG_CHARS


def test_a_terminal_that_is_gone_ends_the_writer_and_no_write_waits():
    reading, writing = os.pipe()
    os.close(reading)
    writer = TerminalWriter(writing, "utf-8", lambda: None)
    writer.start()
    for _ in range(100):
        writer.write("x" * 10_000)
    writer.join(2)
    assert not writer.is_alive()
    writer.close()
