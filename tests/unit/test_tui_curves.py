"""Curves: the plot itself, and the screen that draws a job's numbers."""

from __future__ import annotations

import pytest

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.tui.plain import to_ascii
from fsgr_tui.tui.seen import JobsSeen
from fsgr_tui.tui.widgets.plot import LABEL_CELLS, Line, legend, plot
from tests.fakes import screen as fakes
from tests.fakes.piloting import opened, press_until
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
        await press_until(pilot, "o", f"{fakes.DONE.name} loss")
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
