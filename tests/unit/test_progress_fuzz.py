"""Whatever a program prints, reading it neither fails nor takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from fsgr_tui.jobs.diagnosis.causes import Evidence, diagnose
from fsgr_tui.jobs.diagnosis.signals import Signals
from fsgr_tui.jobs.progress import bars, lines
from fsgr_tui.jobs.progress.screen import ROWS, Screen
from fsgr_tui.jobs.progress.tensorboard import scalars
from fsgr_tui.jobs.progress.thin import Thinner
from fsgr_tui.jobs.progress.tracker import Tracker

_WORDS = [
    b"\r", b"\n", b"\x1b[A", b"\x1b[", b"\x1b]0;", b"\x1b[2K", b"\x1b[5B", b"\b", b"\0", b"\xe2\x96", b"\x88", "训".encode(),
    b"train:  45%|####6     | 45/100 [00:10<00:12,  4.35it/s, loss=nan]", b"12it [00:01, ?it/s]", b"Epoch 3/20 ", b"step 200 loss 2.31",
    b"{'loss': 1e999, 'epoch': 0.5}", b"Traceback (most recent call last):", b'  File "x.py", line 3, in f', b"KeyError: 'x'",
    b"Assertion `srcIndex < srcSelectDimSize` failed", b"Skipping batch", b"Could not find detections for 3", b" ", b"9" * 400, b"/", b"[", b"]", b"|",
]  # fmt: skip
_OUTPUT = some.lists(some.one_of(some.sampled_from(_WORDS), some.binary(max_size=12)), max_size=60).map(b"".join)


@given(_OUTPUT, some.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_any_output_is_read(data, size):
    screen, tracker, signals, thinner, stored = Screen(), Tracker(), Signals(), Thinner(100, 10), b""
    count = 0
    for number, at in enumerate(range(0, len(data), size)):
        piece = data[at : at + size]
        shown = screen.feed(piece)
        assert shown.first == count + 1
        count += len(shown.lines)
        tracker.see(shown.states, shown.lines, screen.live, number * 0.2)
        tracker.progress(number * 0.2)
        signals.see(shown.lines, shown.first)
        stored += thinner.feed(piece, number * 0.2)
    assert len(screen.live) <= 5 * ROWS
    stored += thinner.flush()
    # Thinning leaves out redraws, and never a line.
    assert stored.replace(b" ", b"").count(b"Skipping") <= data.count(b"Skipping")
    assert b"\r" in data or stored == data
    for code in (1, 2, -9, -11):
        assert diagnose(Evidence(code, signals, screen.live)) is not None


@given(some.binary(max_size=200))
def test_any_bytes_are_no_event_or_one(data):
    list(scalars(data))


@pytest.mark.parametrize(
    "row",
    [" " * 60_000 + "[", "9" * 60_000 + "/", "[" * 60_000, "a:" * 30_000 + " [", "a_" * 30_000 + "loss", "1/1 " * 15_000 + "[",
     " " * 900 + "| 5/", "9" * 900 + "/[", "a: " * 300 + "[", "━" * 900 + "•", "[[" * 400 + "%|", "loss " * 780, "epoch " * 600, "'a':" * 900],
    ids=lambda row: f"{row[:4]} x{len(row)}",
)  # fmt: skip
def test_no_row_takes_long(row):
    began = time.process_time()
    bars.parse(row)
    lines.parse(row)
    signals = Signals()
    signals.see([row], 1)
    diagnose(Evidence(1, signals))
    assert time.process_time() - began < 0.5
