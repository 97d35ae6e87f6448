"""Sizes, durations, estimates, printable text, JSON."""

from __future__ import annotations

import json
import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsgr_tui.core import jsontext
from fsgr_tui.core.errors import BadRequest, did_you_mean
from fsgr_tui.core.units import (
    Estimate,
    Unknown,
    few,
    format_bytes,
    format_duration,
    format_estimate,
    parse_size,
    printable,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("80GB", 80 * 10**9),
        ("74.5GiB", round(74.5 * 2**30)),
        ("500M", 500 * 10**6),
        ("1 TB", 10**12),
        ("12", 12),
        ("3kb", 3000),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-3GB", "3 parsecs", "1,5GB", "nan"])
def test_a_text_that_is_no_size_is_refused_with_examples(text):
    with pytest.raises(BadRequest) as caught:
        parse_size(text)
    assert "80GB" in caught.value.fix


@given(st.integers(min_value=0, max_value=10**15))
def test_formatted_sizes_are_within_a_percent_when_read_back(size):
    assert parse_size(format_bytes(size).replace(" ", "")) == pytest.approx(size, rel=0.011)


def test_durations_are_shown_in_the_unit_that_fits():
    shown = [format_duration(seconds) for seconds in (0.0123, 4.26, 42, 600, 3 * 3600, 4 * 86400)]
    assert shown == ["12 ms", "4.3 s", "42 s", "10 min", "3.0 h", "4.0 d"]


@given(st.floats(1, 1e6), st.floats(0, 0.9), st.floats(0.1, 1e4))
def test_spans_stay_ordered_through_arithmetic(value, share, factor):
    span = Estimate.around(value, share, "images/s", "table")
    for made in (span.times(factor), span.plus(span), span.seconds_for(1000)):
        assert made.low <= made.likely <= made.high


def test_a_sum_is_as_weak_as_its_weakest_part():
    assert Estimate.exact(1, "s").plus(Estimate.around(1, 0.1, "s", "guess")).basis == "guess"


def test_an_exact_estimate_is_shown_without_a_span():
    assert format_estimate(Estimate.exact(9.28e9, "bytes")) == "9.28 GB"
    assert format_estimate(Unknown("no GPU")) == "unknown (no GPU)"


def test_unknown_is_an_object_with_its_reason_in_json():
    assert msgspec.json.encode(Unknown("no answer")) == b'{"unknown":"no answer"}'


def test_text_of_users_cannot_move_the_cursor_and_shows_lone_bytes():
    assert printable("a\x1b[31mb\udce9\n训练") == "a\\x1b[31mb\\xe9\\x0a训练"


def test_json_with_a_name_that_is_no_utf8_gives_the_true_path_back():
    name = os.fsdecode(b"caf\xe9_1.jpg")
    document = jsontext.encode({"path": name, "loss": float("nan")})
    document.decode("utf-8")
    assert os.fsencode(json.loads(document)["path"]) == b"caf\xe9_1.jpg"
    assert json.loads(document)["loss"] is None
    assert jsontext.decode(document, dict[str, str | None])["path"] == name


def test_near_names_are_offered_whatever_their_case():
    assert "ViT-B-16" in did_you_mean("vit-b-17", ["ViT-B-16", "RN50"])
    assert did_you_mean("xyz", ["ViT-B-16"]) == ""
    assert did_you_mean("frob", ["jobs", "plan"]) == ""


def test_a_long_list_is_cut_with_a_mark_and_a_short_one_is_whole():
    assert few([3, 1]) == "3, 1"
    assert few(range(10)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert few(range(11)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."
