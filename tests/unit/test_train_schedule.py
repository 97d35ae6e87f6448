import pytest

from fsgr_tui.train.schedule import learning_rate


def test_the_rate_climbs_straight_to_its_peak():
    rates = [learning_rate(step, peak=1e-3, warmup=10) for step in range(10)]
    assert rates == pytest.approx([1e-4 * number for number in range(1, 11)])


def test_the_rate_falls_with_the_inverse_square_root_after_the_warm_up():
    assert learning_rate(39, peak=1e-3, warmup=10) == pytest.approx(0.5e-3)
    assert learning_rate(3999, peak=1e-3, warmup=10) == pytest.approx(0.05e-3)


def test_the_rate_is_never_zero():
    assert learning_rate(0, peak=1e-4, warmup=10_000) > 0


def test_without_a_warm_up_the_first_step_has_the_peak():
    assert learning_rate(0, peak=1e-3, warmup=0) == 1e-3
