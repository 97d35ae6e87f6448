"""Every number of the guide, and what the audit says of it."""

from __future__ import annotations

import pytest

from fsgr_tui.core import coco
from fsgr_tui.core.audit import guide_rows
from fsgr_tui.core.tower import KNOWN, FeatureShape
from fsgr_tui.core.units import GB, Unknown
from tests.fakes.planning import calibration, gpu, plan, situation

# The guide's statement, the value that arithmetic gives, and a word of the note that says why they differ.
AUDIT = [
    ("speed-up", "3-5x", "7.3x by pairs/s", "3.0x"),
    ("disk, way A", "20 GB", "20.2 GB", "both splits"),
    ("disk, way B", "50 GB", "38.7 GB / 94.4 GB", "20 + 50"),
    ("disk that decides", "100 GB", "9.28 GB", "not defined"),
    ("images of train2014", "118,287", "82,783", "train2017"),
    ("extracting train2014", "2-3 h", "7.7-11.5 images/s", "V100"),
    ("extracting val2014", "10-15 min", "59 min to 88 min", "0.489"),
    ("extracting all", "3-4 h", "3.0-4.5 h", "its own rate"),
    ("train2014, ViT-B/16", "18 GB", "12.5 GB / 49.8 GB", "restval"),
    ("val2014, ViT-B/16", "2 GB", "6.10 GB / 24.4 GB", "0.489"),
    ("gzip", "15-20 GB", "2-6 % saved", "levers"),
    ("values", "-0.5 to 0.5", "no such bound", "LayerNorm"),
    ("what check compares", "encode_image", "same tokens", "cannot be compared"),
    ("step A, batch 64", "2.5 s", "26 pairs/s", ""),
    ("step B, batch 150", "0.8 s", "188 pairs/s", ""),
    ("realtime epoch", "2 h", "6.1 h", "8,855 steps"),
    ("precomputed epoch", "40 min", "50 min", "3,778 steps"),
    ("20 epochs", "40 h / 13 h", "5.1 d / 16.8 h", "step times"),
    ("time saved", "27 h", "106 h - extraction", "leaves out"),
    ("GPU memory, A", "22 GB", "15.1 GB", "40 %"),
    ("GPU memory, B", "16 GB", "7.60 GB", "17.3 GB"),
    ("images", "13 + 6 GB", "13.5 GB + 6.65 GB", ""),
    ("train2014, ViT-L/14", "30 GB", "21.7 GB (64)", "train2017"),
    ("features in all", "50 GB", "40.3 GB", "float32"),
    ("annotations", "1 GB", "1.00 GB", "taken over"),
    ("checkpoints", "10 GB", "4.24 GB to 25.4 GB", "capped"),
    ("in all", "100 GB", "66.7 GB", "19 GB"),
]


@pytest.mark.parametrize(("what", "said", "computed", "note"), AUDIT, ids=[row[0] for row in AUDIT])
def test_the_guides_number_stands_beside_the_computed_one(what, said, computed, note):
    row = next(row for row in guide_rows() if row.what == what)
    assert (row.guide, row.computed, row.measured) == (said, computed, "")
    assert note.lower() in row.note.lower()


def test_no_row_of_the_guide_goes_untested():
    assert {row.what for row in guide_rows()} == {row[0] for row in AUDIT}


# What the third column says after a bench: 1400 images/s, 300 and 1500 pairs/s, and the two memory lines.
MEASURED = [
    ("speed-up", "5.0x"),
    ("images of train2014", "82,783"),
    ("images", "13.5 GB + 6.62 GB"),
    ("extracting train2014", "59 s"),
    ("extracting val2014", "29 s"),
    ("extracting all", "88 s"),
    ("step A, batch 64", "213 ms"),
    ("step B, batch 150", "100 ms"),
    ("realtime epoch", "31 min"),
    ("precomputed epoch", "6 min"),
    ("20 epochs", "10.5 h / 2.1 h"),
    ("time saved", "8.4 h"),
    ("GPU memory, A", "8.40 GB"),
    ("GPU memory, B", "4.00 GB"),
]


@pytest.mark.parametrize(("what", "measured"), MEASURED, ids=[row[0] for row in MEASURED])
def test_what_was_measured_stands_beside_both(what, measured):
    rows = guide_rows(situation(500 * GB, gpu(), measured=(calibration(),)))
    assert next(row for row in rows if row.what == what).measured == measured


def test_a_measurement_that_failed_leaves_its_places_empty():
    nothing = Unknown("no GPU")
    failed = calibration(realtime=nothing, extract=nothing, realtime_memory=nothing)
    rows = {row.what: row.measured for row in guide_rows(situation(500 * GB, gpu(), measured=(failed,)))}
    for what in ("speed-up", "realtime epoch", "extracting train2014", "20 epochs", "time saved", "GPU memory, A"):
        assert rows[what] == ""
    assert rows["precomputed epoch"] == "6 min"


# The exact bytes of the audit's table, float32: tower, grid, and images of train2014, val2014, Karpathy, train2017.
BYTES = [
    ("ViT-B-32", "native", 12_461_159_424, 6_096_986_112, 18_558_145_536, 17_805_505_536),
    ("ViT-B-16", "7x7", 12_461_159_424, 6_096_986_112, 18_558_145_536, 17_805_505_536),
    ("ViT-B-16", "native", 49_844_637_696, 24_387_944_448, 74_232_582_144, 71_222_022_144),
    ("ViT-L-14", "native", 86_804_267_008, 42_471_522_304, 129_275_789_312, 124_032_909_312),
    ("ViT-L-14", "8x8", 21_701_066_752, 10_617_880_576, 32_318_947_328, 31_008_227_328),
    ("ViT-L-14", "7x7", 16_614_879_232, 8_129_314_816, 24_744_194_048, 23_740_674_048),
    ("ViT-L-14-336", "native", 195_309_600_768, 95_560_925_184, 290_870_525_952, 279_074_045_952),
    ("RN101", "native", 33_229_758_464, 16_258_629_632, 49_488_388_096, 47_481_348_096),
]


@pytest.mark.parametrize(("model", "grid", "train", "val", "karpathy", "train17"), BYTES)
def test_the_exact_bytes_of_every_grid(model, grid, train, val, karpathy, train17):
    counts = [coco.SPLITS[name].images for name in ("train2014", "val2014", "train2017")]
    full, half = (FeatureShape(KNOWN[model], grid, dtype) for dtype in ("float32", "float16"))
    sizes = [full.feature_bytes(count) for count in (*counts[:2], coco.KARPATHY_IMAGES, counts[2])]
    assert sizes == [train, val, karpathy, train17]
    assert half.feature_bytes(counts[0]) * 2 == train


# Where the guide's rules conflict: what is given, and the answer of a good engineer.
def test_80_gb_and_many_runs_are_precomputed_at_196_tokens_beside_the_images():
    made = plan(80 * GB, gpu(), experiments=20, grid="native")
    choice = made.recommendation.choice
    assert (made.recommendation.mode, choice.tokens, choice.dtype, choice.feature_bytes) == (
        "precomputed", 196, "float16", 37_116_291_072,
    )  # fmt: skip


def test_a_small_gpu_and_a_small_disk_are_precomputed_at_49_tokens_in_float16():
    made = plan(22 * GB, gpu(free=6 * 2**30, total=6 * 2**30), grid="native")
    assert made.recommendation.mode == "precomputed"
    assert (made.recommendation.choice.tokens, made.recommendation.choice.dtype) == (49, "float16")


def test_a_small_gpu_and_a_disk_that_holds_nothing_are_realtime_with_a_smaller_batch():
    made = plan(10 * GB, gpu(free=6 * 2**30, total=6 * 2**30))
    assert made.recommendation.mode == "realtime"
    argv = made.commands[0].argv
    assert 0 < int(argv[argv.index("--batch-size") + 1]) < 64


def test_frequent_swaps_and_many_runs_are_precomputed_one_model_at_a_time():
    made = plan(500 * GB, gpu(), clip_swaps=5, experiments=30)
    assert made.recommendation.mode == "precomputed"
    row = next(row for row in made.recommendation.criteria if row.name == "CLIP changes")
    assert "One model's file at a time" in row.why


def test_a_small_batch_never_decides():
    made = plan(500 * GB, gpu(), batch_size=16)
    assert made.recommendation.mode == "precomputed"
    assert next(row for row in made.recommendation.criteria if row.name == "batch size").weight == 0.5


def test_after_a_week_of_realtime_a_new_baseline_is_asked_for():
    warnings = plan(5 * GB, gpu(), experiments=5).recommendation.warnings
    assert any("start a new baseline" in warning for warning in warnings)


def test_the_training_split_alone_is_told_to_miss_restval():
    made = plan(20 * GB, gpu())
    assert made.recommendation.choice.splits == ("train2014",)
    assert any("restval" in warning for warning in made.recommendation.warnings)
