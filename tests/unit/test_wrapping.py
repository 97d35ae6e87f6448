"""Lines break between words and between Chinese characters, and nowhere else."""

from __future__ import annotations

import pytest
from rich.cells import cell_len, chop_cells

from fsgr_tui.core import wrapping


def lines(text, room):
    return wrapping.wrapped(text, room, cell_len, chop_cells)


def test_words_stay_whole_and_spaces_as_they_were():
    assert lines("a feature  file of --grid native", 14) == ["a feature ", "file of --grid", "native"]


def test_what_is_wider_than_a_line_is_chopped():
    assert lines("abcdefgh ij", 5) == ["abcde", "fgh", "ij"]


def test_chinese_fills_the_line():
    assert lines("预计算在这里不省时间", 8) == ["预计算在", "这里不省", "时间"]


def test_a_line_begins_with_no_closing_mark_and_ends_with_no_opening_one():
    assert lines("磁盘够用，继续", 8) == ["磁盘够", "用，继续"]
    assert lines("磁盘够（约八）", 8) == ["磁盘够", "（约八）"]


def test_latin_words_stay_whole_in_chinese():
    assert lines("约占 37.1 GB显存", 10) == ["约占 37.1", "GB显存"]
    assert lines("请用--grid选择", 10) == ["请用--grid", "选择"]


@pytest.mark.parametrize("path", ["/数据/特征/coco.hdf5", "特征/某个文件.hdf5", "~/数据/图像", "../特征"])
def test_a_path_stays_whole(path):
    assert any(path in line for line in lines(f"请看文件 {path}，然后再试一次", 22))


def test_every_character_is_kept():
    text = "使用“预计算”方式：/数据/a.hdf5（约 9.28 GB），见 [1]。100%的图像/秒"
    for room in range(2, 40):
        assert "".join(lines(text, room)).replace(" ", "") == text.replace(" ", "")


def test_cells_as_the_terminal_counts_them():
    for text in ("plan", "规划 plan，", "１２（）"):
        assert wrapping.cells(text) == cell_len(text)
