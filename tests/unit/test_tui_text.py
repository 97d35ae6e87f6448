"""Text that is laid out for cells: cut, padded, drawn as bars, and made ASCII."""

import io

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from wcwidth import wcswidth

from fsgr_tui.tui.format import bar, columns, cut, cut_left, pad
from fsgr_tui.tui.plain import AsciiFilter, ColourlessFilter, to_ascii
from fsgr_tui.tui.stream import shows_unicode

NAMES = ["train2014", "训练集", "训练集2014", "ÄÖÜ", "日本語の画像フォルダ", "[red]x[/red]", "a\x1b[31mb\n"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cells", range(1, 12))
def test_a_padded_cell_is_as_wide_as_it_should_be_whatever_the_script(name, cells):
    assert wcswidth(pad(name, cells)) == cells
    assert wcswidth(cut(name, cells)) <= cells
    assert wcswidth(cut_left(name, cells)) <= cells


def test_control_characters_are_shown_and_not_sent():
    assert cut("a\x1b[31m\n", 40) == "a\\x1b[31m\\x0a"


def test_the_end_of_a_long_path_stays():
    assert cut_left("/data/coco/images", 8) == "…/images"


@pytest.mark.parametrize(("share", "filled"), [(0, 0), (0.001, 1), (0.5, 5), (1, 10), (3, 10)])
def test_a_bar_never_overflows_and_never_hides_a_little(share, filled):
    text = bar(share, 10)
    assert text.cell_len == 10
    assert text.plain.count("▆") == filled


def test_columns_reach_from_nothing_to_the_highest_value():
    assert columns([0, 4, 8], 10) == ["▁▄█"]
    assert columns([0, 4, 8], 10, rows=2) == ["  █", "▁██"]
    assert columns([1, 2, 3], 2) == ["▅█"]
    assert columns([0, 0], 5) == ["▁▁"]


@pytest.mark.parametrize("text", ["─ Why ─", "▁▂▃▄▅▆▇█", "训练集", "…", "╭╮╰╯"])
def test_ascii_takes_as_many_cells_as_what_it_replaces(text):
    assert to_ascii(text).isascii()
    assert len(to_ascii(text)) == wcswidth(text)


def test_the_filters_keep_text_and_attributes():
    line = [Segment("▆ ok", Style.parse("bold reverse red on blue")), Segment("x", None)]
    black = Color(0, 0, 0)
    assert [segment.text for segment in AsciiFilter().apply(line, black)] == ["# ok", "x"]
    first, second = ColourlessFilter().apply(line, black)
    assert (first.style.color, first.style.bgcolor) == (None, None)
    assert first.style.bold
    assert first.style.reverse
    assert second.style is None


@pytest.mark.parametrize(
    ("encoding", "environment", "expected"),
    [
        ("utf-8", {}, True),
        ("utf-8", {"LANG": "C.UTF-8"}, True),
        ("utf-8", {"LANG": "zh_CN.UTF-8"}, True),
        ("utf-8", {"LANG": "en_US.utf8"}, True),
        ("utf-8", {"LANG": "C"}, False),
        ("utf-8", {"LC_ALL": "POSIX", "LANG": "C.UTF-8"}, False),
        ("utf-8", {"LANG": "de_DE.ISO-8859-1"}, False),
        ("utf-8", {"LC_ALL": "C.UTF-8", "LANG": "C"}, True),
        ("latin-1", {"LANG": "C.UTF-8"}, False),
        ("ascii", {}, False),
        ("utf-8", {"LANG": "C.UTF-8", "TERM": "linux"}, False),
    ],
)
def test_unicode_is_sent_only_where_it_arrives(encoding, environment, expected):
    assert shows_unicode(io.TextIOWrapper(io.BytesIO(), encoding), environment) is expected
