"""Text that is laid out for cells: cut, padded, drawn as bars, and made ASCII."""

import io
from itertools import pairwise

import pytest
from rich._wrap import divide_line
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from wcwidth import wcswidth

from fsgr_tui.tui.breaking import offsets
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


@pytest.mark.parametrize("width", [7, 10, 24, 40])
@pytest.mark.parametrize(
    "text",
    [
        "有把握：100% 的权重支持。在时间估计的整个区间内都成立。",
        "  196 x 768 float16 也放得下（37.1 GB）：--grid native",
        "训练集/data/coco/images 与 一个很长很长的词 antidisestablishmentarianism 之后",
    ],
)
def test_chinese_breaks_anywhere_but_before_a_closing_mark_and_nothing_is_lost(text, width):
    lines = [text[start:end] for start, end in pairwise([0, *offsets(text, width), len(text)])]
    assert "".join(lines) == text
    assert all(lines)
    assert all(wcswidth(line.rstrip()) <= width for line in lines)
    assert not any(line[0] in "，。：；）" for line in lines)


def test_a_line_is_filled_before_it_breaks():
    text = "总计约省两小时，已计提取，在整个区间内都成立"
    assert all(wcswidth(text[start:end]) >= 16 for start, end in pairwise([0, *offsets(text, 20)]))


@pytest.mark.parametrize("fold", [True, False])
def test_english_breaks_as_ever(fold):
    text = "Sure: 100% of the votes' weight agrees. It holds over antidisestablishmentarianism"
    assert offsets(text, 20, fold) == divide_line(text, 20, fold)


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
