"""The planner's arithmetic and its verdicts, row by row."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsgr_tui.core import coco, guide, memory, timing
from fsgr_tui.core.dataset import DatasetFacts, SplitFacts, training_captions
from fsgr_tui.core.machine import CpuBudget, Disk, Gpu, GpuReport, Host, Machine, MemoryBudget
from fsgr_tui.core.plan import Intent, Plan
from fsgr_tui.core.planner import make_plan
from fsgr_tui.core.tower import KNOWN
from fsgr_tui.core.units import GB, GIB, Estimate, Unknown

B16 = KNOWN["ViT-B-16"]


def split(name: str, *, found: bool = True) -> SplitFacts:
    published = coco.SPLITS[name]
    images = published.images if found else 0
    return SplitFacts(name, f"/data/{name}", images, images * coco.AVERAGE_JPEG_BYTES, published.images)


def karpathy(*, found: bool = True) -> DatasetFacts:
    splits = (split("train2014", found=found), split("val2014", found=found))
    return DatasetFacts("/data", splits, training_captions(splits), assumed=not found)


def disk(free: int | Unknown = 500 * GB, path: str = "/data", mount: str = "/data", *, writable: bool = True) -> Disk:
    return Disk(path, mount, "ext4", f"dev{mount}", 2000 * GB, free, Unknown("no quota command"), 10**9, writable)


def gpu(name: str = "NVIDIA GeForce RTX 3090", free: int | Unknown = 24 * GIB) -> Gpu:
    return Gpu(0, "GPU-0", name, 24 * GIB, free, 0, 0)


def machine(*gpus: Gpu, cpus: int = 16) -> Machine:
    report = GpuReport("ok", gpus, "555.42") if gpus else GpuReport("no_driver", message="no NVIDIA driver here")
    host = Host(
        "node", "Linux 6", "3.11", "AMD EPYC", CpuBudget(cpus, "host", cpus), MemoryBudget(64 * GIB, 60 * GIB, "host")
    )
    return Machine((disk(),), report, host)


def plan(free: int | Unknown = 500 * GB, *gpus: Gpu, found: bool = True, writable: bool = True, **intent) -> Plan:
    target = disk(free, writable=writable)
    return make_plan(machine(*gpus), karpathy(found=found), Intent(**intent), B16, target, target, workers=15)


def votes(made: Plan) -> dict[str, str]:
    return {row.name: row.vote for row in made.recommendation.criteria}


# The guide's criteria: what is given, the row it concerns, how that row votes, and the verdict.
CASES = [
    ("only to see that the code runs", {"quick_check": True}, "quick check", "A", "realtime"),
    ("many experiments", {"experiments": 10}, "experiments", "B", "precomputed"),
    ("one experiment decides nothing", {"experiments": 1}, "experiments", "neutral", "precomputed"),
    ("the paper is reproduced", {"paper": True}, "paper reproduction", "B", "precomputed"),
    ("a small batch is a weak hint", {"batch_size": 16}, "batch size", "A", "precomputed"),
    ("a large batch", {"batch_size": 150}, "batch size", "B", "precomputed"),
    ("few CLIP changes", {"clip_swaps": 1}, "CLIP changes", "neutral", "precomputed"),
    ("many CLIP changes, briefly trained", {"clip_swaps": 200, "epochs": 1}, "CLIP changes", "A", "realtime"),
    (
        "many CLIP changes, long trained",
        {"clip_swaps": 5, "epochs": 20, "experiments": 20},
        "CLIP changes",
        "neutral",
        "precomputed",
    ),
]


@pytest.mark.parametrize(("_", "intent", "row", "vote", "verdict"), CASES, ids=[case[0] for case in CASES])
def test_the_guides_criteria(_, intent, row, vote, verdict):
    made = plan(500 * GB, gpu(), **intent)
    assert votes(made)[row] == vote
    assert made.recommendation.mode == verdict


def test_enough_space_is_measured_against_the_need_not_against_100_gb():
    made = plan(80 * GB, gpu(), experiments=20)
    assert made.recommendation.mode == "precomputed"
    assert votes(made)["disk for features"] == "B"
    native = next(rung for rung in made.ladder if (rung.grid, rung.dtype) == ("native", "float16"))
    assert native.fits
    assert native.feature_bytes == 37_116_291_072


def test_the_ladder_goes_from_the_largest_to_the_training_split_alone():
    made = plan(500 * GB, gpu())
    assert [(rung.grid, rung.dtype, rung.splits) for rung in made.ladder] == [
        ("native", "float32", ("train2014", "val2014")),
        ("native", "float16", ("train2014", "val2014")),
        ("7x7", "float32", ("train2014", "val2014")),
        ("7x7", "float16", ("train2014", "val2014")),
        ("7x7", "float16", ("train2014",)),
    ]
    sizes = [rung.feature_bytes for rung in made.ladder]
    assert sizes == sorted(sizes, reverse=True)


def test_a_disk_that_holds_less_gets_a_smaller_choice_and_is_told_so():
    made = plan(20 * GB, gpu(), dtype="float32")
    assert (made.recommendation.choice.grid, made.recommendation.choice.dtype) == ("7x7", "float16")
    assert any("does not fit" in warning for warning in made.recommendation.warnings)
    assert any("more free" in flip for flip in made.recommendation.flips)


def test_a_full_disk_blocks_precomputing_and_realtime_is_left():
    made = plan(5 * GB, gpu())
    assert votes(made)["disk for features"] == "blocks"
    assert made.recommendation.mode == "realtime"
    assert made.commands[0].argv[:4] == ("fsgr-tui", "train", "--mode", "realtime")


def test_neither_way_is_an_answer_with_the_shortest_way_out():
    made = plan(5 * GB)
    assert made.recommendation.mode == "none"
    assert "free disk" in made.recommendation.reason
    assert made.commands == ()


def test_a_folder_that_cannot_be_written_blocks():
    assert votes(plan(500 * GB, gpu(), writable=False))["disk for features"] == "blocks"


def test_unknown_free_space_neither_blocks_nor_votes():
    made = plan(Unknown("no answer within 2 s"), gpu())
    assert votes(made)["disk for features"] == "neutral"
    assert made.recommendation.mode == "precomputed"
    assert made.storage.filesystems[0].fits is None


def test_little_gpu_memory_votes_for_precomputing():
    made = plan(500 * GB, gpu(free=10 * GIB))
    assert votes(made)["GPU memory"] == "B"
    assert made.memory.largest_realtime_batch < made.memory.largest_precomputed_batch


def test_no_gpu_votes_for_precomputing_and_says_why():
    row = next(row for row in plan().recommendation.criteria if row.name == "GPU memory")
    assert (row.vote, row.observed) == ("B", "no NVIDIA driver here")


def test_adapters_inside_clip_bring_the_honest_warning():
    made = plan(500 * GB, gpu(), paper=True, adapters=True)
    assert votes(made)["paper reproduction"] == "neutral"
    assert any("approximation" in warning for warning in made.recommendation.warnings)


def test_images_that_are_not_here_are_counted_on_their_disk():
    here, absent = plan(500 * GB, gpu()), plan(500 * GB, gpu(), found=False)
    more = absent.storage.filesystems[0].need_bytes - here.storage.filesystems[0].need_bytes
    assert more == pytest.approx(coco.KARPATHY_IMAGES * coco.AVERAGE_JPEG_BYTES)


def test_images_and_features_on_different_disks_are_both_judged():
    images, features = disk(500 * GB, "/nfs", "/nfs"), disk(5 * GB, "/home", "/home")
    made = make_plan(machine(gpu()), karpathy(), Intent(), B16, images, features, 8)
    assert {need.mount for need in made.storage.filesystems} == {"/nfs", "/home"}
    assert made.recommendation.mode == "realtime"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 300),
    st.integers(0, 300),
    st.sampled_from([(), (gpu(),)]),
    st.booleans(),
    st.sampled_from([None, 1, 10]),
)
def test_more_space_never_turns_precomputed_into_realtime(some, more, gpus, quick, experiments):
    less, larger = sorted((some, more))
    small = plan(less * GB, *gpus, quick_check=quick, experiments=experiments).recommendation
    large = plan(larger * GB, *gpus, quick_check=quick, experiments=experiments).recommendation
    if small.mode == "precomputed":
        assert large.mode == "precomputed"
        assert large.choice.feature_bytes >= small.choice.feature_bytes


@given(st.integers(1, 512), st.integers(1, 512))
def test_memory_grows_with_the_batch(one, other):
    small, large = sorted((one, other))
    for need in (lambda batch: memory.realtime_bytes(B16, batch), memory.precomputed_bytes):
        assert need(small).likely <= need(large).likely


@given(st.integers(1, 200))
def test_the_largest_batch_fits_and_one_more_does_not(free_gib):
    free = free_gib * GIB
    batch = memory.largest_batch(B16, free, realtime=True)
    if batch:
        assert memory.realtime_bytes(B16, batch).likely <= free
    assert memory.realtime_bytes(B16, batch + 1).likely > free


def test_a_plan_survives_the_way_through_json():
    made = plan(500 * GB, gpu())
    document = msgspec.json.encode(made)
    assert b"NaN" not in document
    assert msgspec.json.encode(msgspec.json.decode(document)) == document


def test_rates_of_published_gpus_come_from_the_table_and_others_are_guesses():
    assert timing.encode_rate(B16, gpu("NVIDIA A100-SXM4-40GB"), 8).basis == "table"
    assert timing.encode_rate(B16, gpu("NVIDIA A100-SXM4-40GB"), 8).likely == 1100
    assert timing.encode_rate(B16, gpu("Frobnicator 9"), 8).basis == "guess"
    assert timing.encode_rate(B16, None, 2).likely == pytest.approx(5.5)


def test_an_extraction_is_no_faster_than_its_decoding():
    slow = timing.extraction_rate(B16, machine(gpu("NVIDIA GeForce RTX 4090"), cpus=2), workers=2)
    assert slow.likely == pytest.approx(660)


def test_break_even_agrees_with_the_guides_own_hours():
    hours = [Estimate.exact(value * 3600, "s") for value in (3.5, 2.0, 40 / 60)]
    point = timing.break_even_epochs(*hours)
    assert point is not None
    assert point.likely == pytest.approx(2.625)
    assert timing.break_even_epochs(hours[0], hours[2], hours[1]) is None


# The audit: the guide's statement and the value that arithmetic gives.
AUDIT = [
    ("images of train2014", "118,287", "82,783"),
    ("features of train2014, ViT-B/16", "18 GB", "12.5 GB (49 tokens), 49.8 GB (196)"),
    ("features of val2014, ViT-B/16", "2 GB", "6.10 GB (49 tokens), 24.4 GB (196)"),
    ("features of train2014, ViT-L/14", "30 GB", "21.7 GB (64 tokens)"),
    ("realtime epoch", "2 h", "6.1 h"),
    ("precomputed epoch", "40 min", "50 min"),
    ("20 epochs", "40 h against 13 h", "5.1 d against 16.8 h"),
    ("speed-up", "3-5x", "7.3x by pairs a second"),
]


@pytest.mark.parametrize(("what", "said", "computed"), AUDIT)
def test_the_guides_numbers_stand_beside_the_computed_ones(what, said, computed):
    row = next(row for row in guide.guide_rows() if row.what == what)
    assert (row.guide, row.computed) == (said, computed)
    assert row.note


def test_captions_of_both_splits_of_2014_are_karpathys():
    assert karpathy().captions == 566_747
    assert training_captions((split("train2017"),)) == 591_753
    assert training_captions((SplitFacts("mine", "/x", 10, 1000),)) == 50
