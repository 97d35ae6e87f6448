"""The reader of a log shows what a terminal would show, whatever the bytes are and wherever they are cut."""

from __future__ import annotations

import os
import random

import pytest

from fsgr_tui.jobs.progress.screen import ROW_CHARS, Screen
from fsgr_tui.jobs.progress.tail import Tail
from fsgr_tui.jobs.progress.thin import Thinner

NESTED = (
    b"\rEpoch:   0%|          | 0/2 [00:00<?, ?it/s]"
    b"\n\rtrain:   0%|          | 0/3 [00:00<?, ?it/s]\x1b[A"
    b"\n\rtrain:  67%|\xe2\x96\x88\xe2\x96\x8b   | 2/3 [00:01<00:00,  1.90it/s]\x1b[A"
    b"\n\r                                                          \x1b[A"
    b"\rEpoch:  50%|\xe2\x96\x88\xe2\x96\x88   | 1/2 [00:01<00:01,  1.60s/it]"
)


def play(data: bytes, size: int = 1 << 20) -> tuple[list[str], Screen]:
    screen, lines = Screen(), []
    for at in range(0, len(data), size):
        lines += screen.feed(data[at : at + size]).lines
    return lines, screen


def text(data: bytes) -> list[str]:
    lines, screen = play(data)
    return lines + screen.finish().lines


def test_plain_lines_come_with_their_numbers():
    screen = Screen()
    first = screen.feed(b"a\nb\nc")
    assert (first.lines, first.first) == (["a", "b"], 1)
    second = screen.feed(b"d\n")
    assert (second.lines, second.first) == (["cd"], 3)


def test_an_incomplete_last_line_is_shown():
    _, screen = play(b"whole\nno newline yet")
    assert screen.live == ["no newline yet"]
    assert screen.latest == "no newline yet"


def test_a_character_that_is_cut_at_a_read_boundary_is_whole():
    assert play("训练 é\n".encode(), 1)[0] == ["训练 é"]


def test_rubbish_and_zeros_do_no_harm():
    lines, _ = play(b"ok\n\xff\xfe\x80\x00\x00abc\n" + bytes(range(256)) + b"\nend\n")
    assert lines[0] == "ok"
    assert lines[1].endswith("abc")
    assert lines[-1] == "end"


def test_what_a_carriage_return_took_back_is_gone_and_what_is_longer_stays():
    assert text(b"abcdef\rXY\n\rnext\r\n") == ["XYcdef", "next"]


def test_every_state_of_a_bar_is_handed_out_once():
    screen = Screen()
    shown = screen.feed(b"\r1%| | 1/3 [loss=0.5]\r2%| | 2/3 [loss=nan]\r3%| | 3/3 [loss=0.4]")
    assert [state[-5:-1] for state in shown.states] == ["=0.5", "=nan"]
    assert "0.4" in screen.latest


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_nested_bars_keep_their_rows(size):
    lines, screen = play(NESTED, size)
    assert [line for line in lines if line.strip()] == []
    assert [row.split("|")[0] for row in screen.live] == ["Epoch:  50%"]


def test_two_nested_bars_are_live_at_once():
    _, screen = play(NESTED[: NESTED.index(b"\n\r    ")])
    assert [row.split(":")[0] for row in screen.live] == ["Epoch", "train"]


def test_a_message_that_stands_below_finishes_a_bar():
    lines, screen = play(b"\r100%|##| 3/3 [00:01<00:00, 2.0it/s]\nEpoch 2 begins\n\r  0%|  | 0/3 [00:00<?, ?it/s]")
    assert lines == ["100%|##| 3/3 [00:01<00:00, 2.0it/s]", "Epoch 2 begins"]
    assert screen.live == ["  0%|  | 0/3 [00:00<?, ?it/s]"]


def test_text_behind_a_bar_without_a_newline_stays_behind_it():
    assert text(b"\r100%|##| 3/3 [00:01<00:00, 2.0it/s]saved\n") == ["100%|##| 3/3 [00:01<00:00, 2.0it/s]saved"]


def test_colours_titles_and_cut_escapes_leave_no_trace():
    data = b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07plain\x1b[K\n"
    for size in (1, 2, 5, 100):
        assert play(data, size)[0] == ["red plain"]


def test_backspaces_move_left_as_keras_does():
    assert text(b" 1/10 [>....]\b\b\b\b\b\b2/10\n") == [" 1/10 [2/10.]"]


def test_one_line_of_redraws_takes_no_memory_and_its_last_state_counts():
    data = b"".join(b"\r%3d%%|%s| %d/100000 [00:01<00:02, 9.9it/s]" % (n // 1000, b"#" * 10, n) for n in range(100_000))
    lines, screen = play(data)
    assert lines == []
    assert "99999/100000" in screen.latest
    assert play(data, 4093)[1].latest == screen.latest


def test_a_flood_of_nested_redraws_ends_in_the_same_rows():
    frames = b"".join(b"\n\rinner: %d/90000 [00:01, 9.9it/s]\x1b[A" % n for n in range(90_000))
    data = b"\router: 3%|# | 1/30 [00:01<00:02, 9.9it/s]" + frames
    assert play(data)[1].live == play(data, 5000)[1].live
    assert play(data)[1].live[1].startswith("inner: 89999/")


def test_a_line_without_end_is_cut():
    _, screen = play(b"x" * (5 << 20))
    assert len(screen.latest) == ROW_CHARS


def test_lines_between_redraws_survive_a_flood():
    block = b"".join(b"\rbar %d%%|# | 1/2 [00:01<00:02, 1it/s]" % n for n in range(3000))
    lines, _ = play(block + b"\nfirst\n" + block + b"\nsecond\n")
    assert [line for line in lines if "bar" not in line] == ["first", "second"]


def read_all(tail: Tail) -> bytes:
    return b"".join(tail.pieces(1 << 20))


def test_a_file_that_is_truncated_is_read_from_its_start(tmp_path):
    path = tmp_path / "log"
    tail = Tail(path)
    assert read_all(tail) == b""
    path.write_bytes(b"a long beginning\n")
    assert read_all(tail) == b"a long beginning\n"
    os.truncate(path, 0)
    assert read_all(tail) == b""
    with path.open("ab") as file:
        file.write(b"new\n")
    assert read_all(tail) == b"new\n"
    assert tail.restarts == 1


def test_a_file_that_was_renamed_away_is_read_to_its_end_first(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    tail = Tail(path)
    assert read_all(tail) == b"one\n"
    with path.open("ab") as file:
        file.write(b"two\n")
        path.rename(tmp_path / "log.1")
        path.write_bytes(b"three\n")
    assert read_all(tail) == b"two\nthree\n"


def test_no_more_is_read_at_once_than_was_asked_for(tmp_path):
    (tmp_path / "log").write_bytes(b"x" * 3_000_000)
    tail = Tail(tmp_path / "log")
    assert [len(piece) for piece in tail.pieces(2_000_000)] == [1 << 20, 2_000_000 - (1 << 20)]
    assert len(b"".join(tail.pieces(9_000_000))) == 1_000_000


def test_thinned_output_ends_on_the_same_screen_wherever_it_is_cut():
    data = NESTED * 5 + b"\nend\r\nwin\r\n" + NESTED.replace(b"\x1b[A", b"\x1b[A\rshort") + b"glued\n\n\nx"
    wanted = text(data)
    for seed in range(200):
        chance = random.Random(seed)
        thinner = Thinner(chance.choice([0, 300, 10_000]), chance.choice([0, 1000]))
        out, at, now = b"", 0, 0.0
        while at < len(data):
            size = chance.choice([1, 5, 40, 400])
            out += thinner.feed(data[at : at + size], now)
            at, now = at + size, now + chance.random() * 0.1
            out += thinner.flush() if chance.random() < 0.1 else b""
        assert text(out + thinner.flush()) == wanted, seed


def test_a_bar_without_end_is_stored_at_a_bounded_rate():
    thinner, stored = Thinner(burst_bytes=10_000, per_second_bytes=100), 0
    for tick in range(2000):
        stored += len(thinner.feed(b"".join(b"\r%d%%|#| %d/9 [x]" % (n, n) for n in range(100)), tick / 20))
    assert 15_000 < stored < 21_000
    assert thinner.flush().endswith(b"99/9 [x]")


def test_finished_lines_always_pass_the_thinning():
    thinner = Thinner(0, 0)
    out = b"".join(thinner.feed(b"\rbar %d\rbar %d\nline %d\n" % (n, n, n), 0.0) for n in range(50))
    assert [line for line in out.split(b"\n") if line.startswith(b"line")] == [b"line %d" % n for n in range(50)]


def test_a_single_nan_among_thinned_states_passes():
    thinner = Thinner(0, 0)
    losses = ["0.5"] * 500 + ["nan"] + ["0.4"] * 500
    out = b"".join(thinner.feed(f"\r1%|#| 1/9 [loss={loss}]".encode(), 0.0) for loss in losses) + thinner.flush()
    assert out.count(b"nan") == 1
    assert out.count(b"\r") < 6
