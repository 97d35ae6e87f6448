"""The arithmetic of a measurement: windows, batches that fit, memory lines, speed-ups, names."""

from __future__ import annotations

import pytest

from fsgr_tui.core.bench import (
    SHARES,
    Span,
    fitting_batch,
    memory_line,
    rate_of,
    rate_words,
    scratch_name,
    scratch_pid,
    speed_up,
)
from fsgr_tui.core.calibration import MemoryLine
from fsgr_tui.core.timing import pair_rates
from fsgr_tui.core.tower import find_tower
from fsgr_tui.core.units import Estimate, Unknown
from tests.fakes.calibration import make_calibration, rate


def test_a_rate_is_lowest_median_and_highest_of_five_windows():
    spans = [Span(10, 1.0), Span(20, 1.0), Span(30, 1.0), Span(40, 1.0), Span(50, 1.0)]

    assert rate_of(spans, "images/s") == Estimate(10, 30, 50, "images/s", "measured")


def test_short_stretches_are_joined_so_that_one_slow_image_is_not_the_lowest_rate():
    spans = [Span(1, 0.01)] * 999 + [Span(1, 0.5)]

    found = rate_of(spans, "images/s")

    assert isinstance(found, Estimate)
    assert 75 < found.low < 100
    assert found.likely == pytest.approx(100)


def test_a_rest_that_fills_no_window_joins_the_last_one():
    found = rate_of([Span(10, 1.0)] * 6, "rows/s")

    assert found == rate(10, 10, 10, "rows/s")


def test_few_long_stretches_each_count():
    assert rate_of([Span(8, 4.0), Span(8, 2.0), Span(8, 1.0)], "pairs/s") == rate(2, 4, 8, "pairs/s")


def test_two_stretches_tell_no_span():
    found = rate_of([Span(8, 1.0), Span(8, 1.0)], "pairs/s")

    assert isinstance(found, Unknown)
    assert "2 of at least 3" in found.reason


@pytest.mark.parametrize(
    ("wanted", "per_image_s", "budget_s", "fixed_s", "batch"),
    [
        (64, 0.001, 5.0, 0.0, 64),  # a GPU: what was asked for
        (64, 0.05, 3.0, 0.0, 20),  # a CPU: three batches of 20 take 3 s
        (64, 0.05, 3.0, 0.5, 10),  # half of each batch's second is taken whatever its size
        (64, 2.0, 3.0, 0.0, 1),
        (64, 0.05, 3.0, 3.0, 1),
        (64, 0.0, 3.0, 0.0, 64),
    ],
)
def test_the_batch_is_what_fits_three_times_into_the_time(wanted, per_image_s, budget_s, fixed_s, batch):
    assert fitting_batch(wanted, per_image_s, budget_s, fixed_s) == batch


def test_memory_is_a_line_through_two_peaks():
    assert memory_line(32, 3_600, 64, 5_200) == MemoryLine(2_000, 50)


@pytest.mark.parametrize(("small", "batch", "peaks"), [(1, 1, (5, 5)), (32, 64, (5, 5)), (32, 64, (6, 5))])
def test_no_line_is_drawn_where_there_is_none(small, batch, peaks):
    assert isinstance(memory_line(small, peaks[0], batch, peaks[1]), Unknown)


def test_the_speed_up_spans_from_the_worst_to_the_best_of_both_ways():
    assert speed_up(rate(90, 100, 110), rate(220, 300, 360)) == Estimate(2.0, 3.0, 4.0, "x", "measured")


def test_without_one_way_there_is_no_speed_up():
    missing = Unknown("too little time")

    assert speed_up(missing, rate(1, 2, 3)) == missing
    assert speed_up(rate(1, 2, 3), missing) == missing


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(1312.4, "images/s", "1,312 images/s"), (4.216, "pairs/s", "4.22 pairs/s"), (5.12e8, "bytes/s", "512 MB/s")],
)
def test_rates_read_well(value, unit, words):
    assert rate_words(value, unit) == words


def test_the_shares_of_the_stages_leave_three_tenths_for_warming_up():
    assert sum(SHARES.values()) == pytest.approx(0.7)


def test_a_scratch_folder_tells_its_host_and_process():
    name = scratch_name("gpu node/7", 4711)

    assert name == ".fsgr-tui-bench.gpu_node_7.4711"
    assert scratch_pid(name, "gpu node/7") == 4711
    assert scratch_pid(name, "node8") is None
    assert scratch_pid("coco.hdf5", "gpu node/7") is None
    assert scratch_pid(".fsgr-tui-bench.gpu_node_7.", "gpu node/7") is None


def test_a_rate_at_a_small_batch_is_scaled_to_the_batch_that_is_planned():
    # A step takes 0.6 s whatever its batch and 0.2 s a pair: at batch 3 that is 2.5 pairs/s, at batch 64 4.78.
    measured = make_calibration(realtime=rate(2.4, 2.5, 2.6, "pairs/s"), realtime_batch=3, step_fixed_s=0.6)
    scaled = measured.realtime_at(64)
    assert scaled.likely == pytest.approx(64 / (0.6 + 64 * 0.2))
    assert scaled.low == 2.4
    assert scaled.low <= scaled.likely <= scaled.high
    assert measured.realtime_at(3) == measured.realtime


def test_a_fixed_part_that_seems_larger_than_the_step_gives_no_endless_rate():
    measured = make_calibration(precomputed=rate(9, 10, 11, "pairs/s"), precomputed_batch=2, step_fixed_s=5.0)
    scaled = measured.precomputed_at(150)
    assert 0 < scaled.likely < 150 / 5.0
    assert scaled.low <= scaled.likely <= scaled.high


def test_a_rate_that_was_not_measured_stays_unknown_at_every_batch():
    assert make_calibration(realtime=Unknown("no time"), step_fixed_s=1.0).realtime_at(64) == Unknown("no time")


@pytest.mark.parametrize(("realtime", "gains"), [(2.1, False), (350.0, True)])
def test_cached_pictures_gain_only_where_decoding_held_realtime_up(realtime, gains):
    measured = make_calibration(
        decode=rate(370, 379, 390), encode=rate(9_000, 9_300, 9_500), precomputed=rate(900, 960, 1000, "pairs/s"),
        realtime=rate(realtime * 0.95, realtime, realtime * 1.05, "pairs/s"),
    )  # fmt: skip
    rates = pair_rates(find_tower("ViT-B-16"), None, 4, 4, adapters=False, measured=measured)
    assert (rates.pixels.likely > 1.2 * rates.realtime.likely) == gains
    assert rates.pixels.likely >= rates.realtime.likely
