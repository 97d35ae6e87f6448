"""The paper estimate of scaling: its page is fresh, and it behaves as rates and queues do."""

from __future__ import annotations

import msgspec

from tests.bench.scaling import IMAGES, PAGE, SHARDS, Assumptions, page, scaled

GIVEN = Assumptions()


def test_the_page_holds_the_tables_that_the_assumptions_give():
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text


def test_a_rate_is_that_of_the_tightest_stage():
    assert scaled(10**6, 1, GIVEN).limit == "GPU"
    assert scaled(10**6, 8, GIVEN).rate == 8 * GIVEN.gpu_images_s
    narrow = msgspec.structs.replace(GIVEN, share_read_bytes_s=160e6)
    assert (scaled(10**6, 8, narrow).limit, scaled(10**6, 8, narrow).rate) == ("shared reads", 1000)


def test_more_images_never_take_less_and_more_shards_never_extract_slower():
    for shards in SHARDS:
        times = [scaled(images, shards, GIVEN).whole_s for images in IMAGES]
        assert times == sorted(times)
    for images in IMAGES:
        rates = [scaled(images, shards, GIVEN).rate for shards in SHARDS]
        assert rates == sorted(rates)


def test_work_that_is_longer_than_a_limit_takes_several_turns():
    assert scaled(10**9, 1, GIVEN).turns == 11
    assert scaled(10**5, 1, GIVEN).turns == 1
