"""The sentences of a measurement: what holds the rate down, and what to do about it."""

from __future__ import annotations

import pytest

from fsgr_tui.core.bottleneck import bottleneck, remarks, scaling, write_images_per_s
from fsgr_tui.core.units import Unknown
from tests.fakes.calibration import make_calibration, rate

SLOW_DECODE = {"decode": rate(600, 620, 630), "decode_one": rate(300, 310, 320), "workers": 2}


@pytest.mark.parametrize(
    ("name", "changes", "cpus", "told"),
    [
        ("a GPU that is kept busy", {}, 16, ["The GPU holds the extraction at 1,400 images/s", "as it should be"]),
        ("a GPU with small batches", {"batch_size": 8}, 16, ["The GPU holds", "batches of 8", "--batch-size 64"]),
        ("free cores", SLOW_DECODE, 16, ["Decoding holds the extraction at 620 images/s", "could take 1,400", "--workers 5"]),
        ("fewer cores than would be enough", SLOW_DECODE, 4, ["cores are free", "--workers 4"]),
        ("all cores busy", SLOW_DECODE, 2, ["all 2 CPUs decode", "--decoder torchvision"]),
        (
            "workers that do not help",
            {"decode": rate(600, 620, 630), "decode_one": rate(300, 310, 320), "workers": 15}, 16,
            ["15 workers are only 2.0 times as fast as one", "faster (local) disk"],
        ),
        ("one worker alone", {"decode": rate(300, 310, 320), "workers": 0}, 8, ["cores are free", "--workers 5"]),
        (
            "a slow disk for features",
            {"write_bytes_per_s": rate(1e7, 2e7, 3e7, "bytes/s"), "filesystem": "nfs4"}, 16,
            ["Writing holds the extraction at 266 images/s (20.0 MB/s)", "faster disk than /data/features (nfs4)"],
        ),
        (
            "a slow disk for large features",
            {"write_bytes_per_s": rate(1e7, 2e7, 3e7, "bytes/s"), "dtype": "float32"}, 16, ["--dtype float16, --grid 7x7"],
        ),
        ("no GPU", {"device": "cpu", "encode": rate(20, 22, 23)}, 2, ["The tower on the CPU holds the extraction at 22 images/s", "a GPU"]),
        ("a small tower on the CPU", {"device": "cpu", **SLOW_DECODE}, 2, ["Decoding holds", "while the tower could take 1,400"]),
        ("a rate that is missing", {"encode": Unknown("too little time")}, 16, ["cannot be told", "encode is unknown (too little time)"]),
        ("several missing", {"decode": Unknown("x"), "write_bytes_per_s": Unknown("y")}, 16, ["the rate of decode"]),
    ],
)  # fmt: skip
def test_the_bottleneck_is_named_with_what_to_do_about_it(name, changes, cpus, told):
    sentence = bottleneck(make_calibration(**changes), cpus)

    for words in told:
        assert words in sentence, name
    assert sentence.endswith(".")
    assert sentence.count(". ") == 0, "one sentence"


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("a batch of one", {"batch_size": 1}, "A batch of 1 leaves the GPU idle"),
        ("a GPU as slow as a CPU", {"extract": rate(20, 29, 31)}, "29 images/s with a GPU is suspicious: below 50"),
        ("reading that is too slow", {"read": rate(90, 100, 110, "rows/s")}, "Reading features (100 rows/s) holds precomputed training down"),
        ("a captioner that takes all the time", {"precomputed": rate(300, 330, 340, "pairs/s")}, "hardly speeds up"),
    ],
)  # fmt: skip
def test_what_else_is_worth_knowing_is_told(name, changes, told):
    assert any(told in remark for remark in remarks(make_calibration(**changes))), name


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"extract": Unknown("too little time"), "read": Unknown("x"), "realtime": Unknown("y")},
        # A CPU is as slow as it is, and small batches cost it nothing.
        {"device": "cpu", "extract": rate(20, 22, 23), "batch_size": 1},
    ],
)
def test_nothing_is_told_without_a_ground(changes):
    assert remarks(make_calibration(**changes)) == ()


def test_write_speed_is_told_in_images_too():
    assert write_images_per_s(make_calibration(write_bytes_per_s=rate(75_264, 150_528, 150_528, "bytes/s"))) == rate(
        1, 2, 2
    )
    assert isinstance(write_images_per_s(make_calibration(row_bytes=0)), Unknown)


def test_scaling_is_unknown_while_one_rate_is():
    assert scaling(make_calibration(decode=rate(600, 600, 600), decode_one=rate(300, 300, 300))) == 2.0
    assert scaling(make_calibration(decode_one=Unknown("x"))) is None
