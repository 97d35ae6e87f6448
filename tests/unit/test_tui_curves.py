"""Curves: the plot itself, and the screen that draws a job's numbers."""

from __future__ import annotations

import msgspec
import pytest
from rich.cells import cell_len

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.units import format_bytes
from fsgr_tui.service.curves import Curve
from fsgr_tui.tui.plain import to_ascii
from fsgr_tui.tui.seen import JobsSeen
from fsgr_tui.tui.widgets.plot import LABEL_CELLS, Line, legend, plot
from tests.fakes import screen as fakes
from tests.fakes.piloting import opened, press_until, shown
from tests.fakes.screen import World

SEEN = JobsSeen((fakes.RUNNING, fakes.FAILED, fakes.DONE), fakes.COURSE)


def rows(text):
    return text.plain.split("\n")


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right():
    *drawn, ends = rows(plot([Line("a", [(0, 0.0), (10, 5.0)])], 29, 6))
    assert len(drawn) == 5
    assert drawn[-1][LABEL_CELLS] != " "
    assert drawn[0].rstrip()[-1] != "5"
    assert drawn[0].startswith("       5 ")
    assert drawn[-1].startswith("       0 ")
    assert ends.split() == ["0", "10"]


def test_a_value_that_was_not_finite_leaves_a_gap():
    flat = [(float(x), None if 4 <= x <= 6 else 1.0) for x in range(11)]
    middle = rows(plot([Line("a", flat)], LABEL_CELLS + 22, 4))
    line = next(row for row in middle if any(char > "\u2800" for char in row))
    assert line[LABEL_CELLS] > "\u2800"
    assert line[LABEL_CELLS + 10] == " "


def test_a_logarithmic_axis_spreads_small_values_and_leaves_out_what_has_no_logarithm():
    points = [(0.0, 100.0), (1.0, 10.0), (2.0, 1.0), (3.0, -1.0)]
    half = [
        number
        for number, row in enumerate(rows(plot([Line("a", points[1:2] + points)], 29, 8, log=True)))
        if row.startswith("     100")
    ]
    assert half == [0]
    assert "no values" in plot([Line("a", [(0.0, -1.0)])], 29, 8, log=True).plain


@pytest.mark.parametrize("points", [[], [(0.0, None)]])
def test_without_values_it_says_so(points):
    assert plot([Line("a", points)], 29, 8).plain == "no values to draw"


def test_a_single_value_and_a_constant_are_drawn():
    for points in ([(3.0, 2.0)], [(0.0, 2.0), (9.0, 2.0)]):
        assert any(char > "\u2800" for char in plot([Line("a", points)], 29, 8).plain)


def test_the_legend_tells_the_last_finite_value():
    assert legend([Line("loss", [(0, 2.0), (1, 1.5), (2, None)])]).plain == "━ loss 1.5"


def test_dots_become_stars_where_only_ascii_arrives():
    assert to_ascii("\u28ff\u2801 x") == "** x"


async def test_the_charts_of_a_job_are_turned_through_and_other_runs_laid_over():
    async with World(seen=SEEN).app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "512 images/s")
        await press_until(pilot, "m", "loss, by step, linear")
        await press_until(pilot, "g", "loss, by step, logarithmic")
        await press_until(pilot, "o", f"C {fakes.DONE.name} ")
        await press_until(pilot, "right", "CIDEr, by step")
        await press_until(pilot, "right", "loss, by step")
        await press_until(pilot, "escape", "512 images/s")


async def test_numbers_that_cannot_be_read_say_why():
    world = World(seen=SEEN)
    async with world.app().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "512 images/s")
        world.fault = MachineCannot("/runs: Stale file handle.", "Look again when it is back.")
        await press_until(pilot, "m", "Stale file handle")


def test_several_curves_are_told_apart_by_letters():
    """Without colour, and where dots become stars, nothing else does."""
    lines = [Line("first", [(0, 0.0), (9, 9.0)]), Line("second", [(0, 9.0), (9, 0.0)])]
    drawn = plot(lines, LABEL_CELLS + 40, 9).plain
    assert drawn.count("A") > 1
    assert drawn.count("B") > 1
    assert legend(lines).plain == "A first 9   B second 0"
    lone = plot(lines[:1], LABEL_CELLS + 40, 9).plain
    assert "A" not in lone


def test_curves_that_lie_on_each_other_keep_their_letters():
    same = [(float(x), 1.0) for x in range(50)]
    drawn = plot([Line(name, same) for name in "abc"], LABEL_CELLS + 40, 6).plain
    assert all(letter in drawn for letter in "ABC")


def test_the_axis_tells_values_between_its_ends():
    labels = [row[:LABEL_CELLS].strip() for row in rows(plot([Line("a", [(0, 1.0), (9, 100.0)])], 40, 14, log=True))]
    assert [label for label in labels if label] == ["100", "10", "1"]


def test_an_axis_of_bytes_is_written_as_such_and_begins_at_zero():
    drawn = plot([Line("a", [(0, 2e9), (9, 4e9)])], 40, 8, from_zero=True, write=format_bytes)
    labels = [row[:LABEL_CELLS].strip() for row in rows(drawn)]
    assert [label for label in labels if label] == ["4.00 GB", "0 B"]


def test_the_legend_keeps_names_whole_in_its_rows():
    lines = [Line(f"train-1124-10150{number}-ab12", [(0, 2.0)]) for number in range(4)]
    drawn = rows(legend(lines, 59))
    assert [row.count("train-1124") for row in drawn] == [2, 2]
    assert all(cell_len(row) <= 59 for row in drawn)


async def test_at_the_least_size_everything_of_four_runs_is_in_sight():
    seen = JobsSeen(
        (fakes.RUNNING, fakes.FAILED, fakes.DONE, fakes.renamed(fakes.DONE, "extract-1121-080000-beef")), fakes.COURSE
    )
    async with World(seen=seen).app().run_test(size=(60, 15)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "41,200")
        await press_until(pilot, "m", "loss, by step, linear")
        await press_until(pilot, "o", "D extract-1121-080000-beef")
        for words in ("A extract-1124", "B extract-1123", "C extract-1122", "o alone", "? help"):
            assert words in shown(pilot.app)


async def test_a_run_that_is_gone_does_not_take_the_others_away():
    world = World(seen=SEEN)
    async with world.app().run_test(size=(120, 40)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "512 images/s")
        await press_until(pilot, "m", "loss, by step, linear")
        world.curves_lost = (fakes.FAILED.name,)
        await press_until(pilot, "o", "1 run cannot be read")
        assert f"A {fakes.RUNNING.name}" in shown(pilot.app)


async def test_of_runs_with_several_curves_only_what_tells_them_apart_is_named():
    world = World(seen=SEEN)
    curves = world.curves

    def with_validation(name):
        loss, *others = curves(name)
        validation = Curve("val_loss", tuple((x, y and y * 1.1) for x, y in loss.curves[0].points))
        return (msgspec.structs.replace(loss, curves=(*loss.curves, validation)), *others)

    world.curves = with_validation
    async with world.app().run_test(size=(60, 15)) as pilot:
        await opened(pilot)
        await press_until(pilot, "3", "41,200")
        await press_until(pilot, "m", "B val_loss")
        await press_until(pilot, "o", "F 1122-093000-0c0d val_loss")
        assert "A 1124-101500-ab12 loss" in shown(pilot.app)
