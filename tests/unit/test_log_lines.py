"""A log by line numbers."""

from __future__ import annotations

import time

import pytest

from fsgr_tui.jobs.lines import LINE_CHARS, LineIndex


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def indexed(path):
    index = LineIndex(path)
    index.grow()
    return index


def test_lines_are_found_by_their_number_and_none_beyond(log):
    log.write_bytes(b"one\ntwo\nthree")
    index = indexed(log)
    assert len(index) == 3
    assert index.lines(0, 10) == ["one", "two", "three"]
    assert index.lines(1, 1) == ["two"]
    assert index.lines(3, 5) == []
    assert index.lines(-2, 3) == ["one"]


def test_a_log_that_is_not_there_yet_has_no_lines_and_grows_later(log):
    index = indexed(log)
    assert len(index) == 0
    log.write_bytes(b"a\nb")
    index.grow()
    assert index.lines(0, 9) == ["a", "b"]
    with log.open("ab") as file:
        file.write(b"b\nc\n")
    index.grow()
    assert index.lines(0, 9) == ["a", "bb", "c"]
    assert len(index) == 3


def test_a_line_is_what_a_terminal_would_have_left(log):
    log.write_bytes(b" 10%|#\r 50%|#####\r100%|#########\n\x1b[31mred\x1b[0m\ttab\n\xff\xfe rubbish \x07\nend\r\n")
    assert indexed(log).lines(0, 9) == ["100%|#########", "red    tab", "\ufffd\ufffd rubbish \\x07", "end"]


def test_a_log_that_begins_anew_is_read_anew(log):
    log.write_bytes(b"old\n" * 100)
    index = indexed(log)
    assert len(index) == 100
    log.write_bytes(b"new\n")
    index.grow()
    assert index.lines(0, 9) == ["new"]
    assert index.restarts == 1


def test_a_line_of_megabytes_is_cut_and_its_end_is_shown(log):
    log.write_bytes(b"x" * 5_000_000 + b"\rthe end\n" + b"y" * 3_000_000)
    index = indexed(log)
    first, second = index.lines(0, 2)
    assert first == "the end"
    assert second == "y" * LINE_CHARS


@pytest.mark.parametrize(
    ("start", "backwards", "found"),
    [(0, False, 3), (4, False, 7), (8, False, 3), (7, True, 7), (6, True, 3), (2, True, 7)],
)
def test_a_search_goes_on_around_the_end_in_both_directions(log, start, backwards, found):
    log.write_bytes(b"".join(b"Loss is NaN\n" if number in (3, 7) else b"ok\n" for number in range(10)))
    assert indexed(log).find("loss is nan", start, backwards=backwards) == found


def test_what_is_nowhere_is_not_found(log):
    log.write_bytes(b"ok\n" * 5000)
    assert indexed(log).find("nan", 100) is None
    assert indexed(log).find("", 0) is None
    assert LineIndex(log).find("ok", 0) is None


def test_a_million_lines_are_indexed_and_any_of_them_read_quickly(log):
    log.write_bytes(b"".join(b"step %d loss 2.31\n" % number for number in range(1_000_000)))
    index = indexed(log)
    assert len(index) == 1_000_000
    assert index.lines(765_432, 2) == ["step 765432 loss 2.31", "step 765433 loss 2.31"]
    began = time.perf_counter()
    for start in range(0, 1_000_000, 10_000):
        index.lines(start, 50)
    # A hundred pages; what is shown of a log must never depend on how long it is.
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"lo\x1b[31mss is nan\n", "loss is NAN"),
        (b"a\tb\n", "a    b"),
        (b"loss\x07\n", "\\x07"),
        ("c\u0085d\n".encode(), "\\x85"),
        ("Stra\u00dfe 训练集\n".encode(), "STRASSE 训练"),
    ],
)
def test_what_is_shown_is_found_however_it_is_written(log, body, wanted):
    log.write_bytes(b"ok\n" * 5000 + body + b"ok\n" * 5000)
    assert indexed(log).find(wanted, 100) == 5000
    assert indexed(log).find(wanted, 9000, backwards=True) == 5000


def test_a_million_lines_are_searched_quickly(log):
    log.write_text("".join(f"step {number} loss 2.31 训练\n" for number in range(1_000_000)))
    index = indexed(log)
    began = time.process_time()
    assert index.find("nowhere", 0) is None
    assert time.process_time() - began < 4.0
    assert index.find("STEP 777777 ", 5) == 777_777
