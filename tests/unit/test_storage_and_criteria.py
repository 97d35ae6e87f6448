"""The planner's arithmetic and its verdicts, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsgr_tui.core import coco, memory, timing
from fsgr_tui.core.calibration import MemoryLine
from fsgr_tui.core.dataset import SplitFacts, training_captions
from fsgr_tui.core.units import GB, GIB, Estimate, Unknown
from tests.fakes.planning import B16, calibration, dataset, disk, gpu, host, plan, rows, situation, split, votes

# The guide's criteria: what is given, the row it concerns, how that row votes, and the verdict.
CASES = [
    ("nothing said: B is the usual way", {}, "experiments", "neutral", "precomputed"),
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
    made = plan(22 * GB, gpu(), dtype="float32")
    assert (made.recommendation.choice.grid, made.recommendation.choice.dtype) == ("7x7", "float16")
    assert any("does not fit" in warning for warning in made.recommendation.warnings)
    assert (
        "With 8.46 GB more free, 49 x 768 float32 (18.6 GB) would fit: --grid 7x7 --dtype float32."
        in made.recommendation.flips
    )


def test_a_full_disk_blocks_precomputing_and_realtime_is_left():
    made = plan(5 * GB, gpu())
    assert votes(made)["disk for features"] == "blocks"
    assert made.recommendation.mode == "realtime"
    assert made.commands[0].argv[:4] == ("fsgr-tui", "train", "--mode", "realtime")


def test_neither_way_is_an_answer_with_the_shortest_way_out():
    made = plan(5 * GB)
    assert made.recommendation.mode == "none"
    assert "The shortest way out: free " in made.recommendation.reason
    assert "or use a GPU with " in made.recommendation.reason
    assert made.commands == ()


def test_a_folder_that_cannot_be_written_blocks():
    assert votes(plan(500 * GB, gpu(), features=disk(writable=False)))["disk for features"] == "blocks"


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


def test_adapters_inside_clip_make_cached_pixels_the_way_and_bring_the_honest_warning():
    made = plan(500 * GB, gpu(), paper=True, adapters=True)
    assert votes(made)["paper reproduction"] == "neutral"
    assert (made.recommendation.mode, made.recommendation.cache) == ("realtime", "pixels")
    assert any("approximation" in warning for warning in made.recommendation.warnings)
    ways = {way.name: way for way in made.ways}
    assert ways["pixels"].stored_bytes == 18_558_145_536
    assert [ways[name].exact for name in ("realtime", "precomputed", "pixels")] == [True, False, True]
    assert made.commands[0].argv[-3:] == ("--stage", "pixels", "--resume")


def test_adapters_without_a_gpu_leave_the_approximation_and_say_so():
    made = plan(500 * GB, adapters=True)
    assert (made.recommendation.mode, made.recommendation.cache) == ("precomputed", "")
    assert any("approximation" in warning for warning in made.recommendation.warnings)


def test_images_that_are_not_here_are_counted_on_their_disk():
    here, absent = plan(500 * GB, gpu()), plan(500 * GB, gpu(), facts=dataset(found=False))
    more = absent.storage.filesystems[0].need_bytes - here.storage.filesystems[0].need_bytes
    assert more == pytest.approx(coco.KARPATHY_IMAGES * coco.AVERAGE_JPEG_BYTES)


def test_images_and_features_on_different_disks_are_both_judged():
    images, features = disk(500 * GB, "/nfs"), disk(5 * GB, "/home")
    made = plan(0, gpu(), images=images, features=features)
    assert {need.mount for need in made.storage.filesystems} == {"/nfs", "/home"}
    assert made.recommendation.mode == "realtime"


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


def test_rates_of_published_gpus_come_from_the_table_and_others_are_guesses():
    assert timing.encode_rate(B16, gpu("NVIDIA A100-SXM4-40GB"), 8).basis == "table"
    assert timing.encode_rate(B16, gpu("NVIDIA A100-SXM4-40GB"), 8).likely == 1100
    assert timing.encode_rate(B16, gpu("Frobnicator 9"), 8).basis == "guess"
    assert timing.encode_rate(B16, None, 2).likely == pytest.approx(5.5)


def test_an_extraction_is_no_faster_than_its_decoding():
    slow = timing.extraction_rate(B16, gpu("NVIDIA GeForce RTX 4090"), cpus=2, workers=2)
    assert slow.likely == pytest.approx(660)


def test_break_even_agrees_with_the_guides_own_hours():
    hours = [Estimate.exact(value * 3600, "s") for value in (3.5, 2.0, 40 / 60)]
    point = timing.break_even_epochs(*hours)
    assert point is not None
    assert point.likely == pytest.approx(2.625)
    assert timing.break_even_epochs(hours[0], hours[2], hours[1]) is None


def test_captions_of_both_splits_of_2014_are_karpathys():
    assert dataset().captions == 566_747
    assert training_captions((split("train2017"),)) == 591_753
    assert training_captions((SplitFacts("mine", "/x", 10, 1000),)) == 50


def test_an_incomplete_karpathy_set_counts_both_splits_and_a_2017_set_only_what_is_trained_on():
    some = (SplitFacts("train2014", "/x", 100, 1000, 82_783), SplitFacts("val2014", "/x", 20, 100, 40_504))
    assert training_captions(some) == 600
    assert training_captions((split("train2017"), split("val2017"))) == 591_753
    assert training_captions((split("train2014"), split("val2014")), karpathy=False) == 414_113


# Where a full disk, a missing quota, too few inodes or a read-only folder stand in the way.
def test_a_file_system_without_inodes_blocks_and_names_the_count():
    made = plan(500 * GB, gpu(), features=disk(inodes=5))
    row = rows(made)["disk for features"]
    assert (row.vote, row.observed) == ("blocks", "5 inodes free")
    assert made.storage.filesystems[0].fits is True  # realtime writes nothing there that the reserve would miss
    assert made.recommendation.mode == "realtime"


def test_one_feature_file_needs_few_inodes_and_absent_images_one_each():
    here, absent = plan(500 * GB, gpu()), plan(500 * GB, gpu(), facts=dataset(found=False))
    files = [made.storage.filesystems[0].files_needed for made in (here, absent)]
    assert files[0] < 50
    assert files[1] - files[0] == coco.KARPATHY_IMAGES + 1  # and the zip


def test_images_that_find_no_inodes_block_both_ways():
    made = plan(500 * GB, gpu(), facts=dataset(found=False), features=disk(inodes=1000))
    assert made.recommendation.mode == "none"
    assert "every image is one" in made.recommendation.reason


def test_unknown_inodes_are_unknown_not_zero():
    made = plan(500 * GB, gpu(), features=disk(inodes=Unknown("this file system reports no inode count")))
    need = made.storage.filesystems[0]
    assert need.fits is True
    assert isinstance(need.inodes_free, Unknown)
    assert made.recommendation.mode == "precomputed"


def test_a_full_read_only_share_of_images_is_no_hindrance_when_they_are_there():
    made = plan(0, gpu(), images=disk(0, "/share", writable=False), features=disk(100 * GB, "/home"))
    assert made.recommendation.mode == "precomputed"
    assert {need.mount: need.fits for need in made.storage.filesystems} == {"/share": True, "/home": True}


def test_images_that_do_not_fit_block_both_ways():
    made = plan(0, gpu(), facts=dataset(found=False), images=disk(10 * GB, "/nfs"), features=disk(500 * GB, "/home"))
    assert made.recommendation.mode == "none"
    assert rows(made)["disk for images"].blocks == ("realtime", "precomputed")


def test_a_disk_without_room_for_a_checkpoint_keeps_no_training():
    made = plan(GB, gpu())
    assert made.recommendation.mode == "none"
    assert "checkpoint" in made.recommendation.reason


def test_checkpoints_of_many_runs_are_capped_and_that_is_said():
    made = plan(80 * GB, gpu(), experiments=20, grid="native")
    assert made.recommendation.choice.feature_bytes == 37_116_291_072
    row = rows(made)["disk for checkpoints"]
    assert "keep last and best" in row.why
    assert row.threshold == "5.30 GB capped, 509 GB not"


def test_the_storage_tree_adds_up():
    made = plan(500 * GB, gpu(), facts=dataset(found=False))
    (need,) = made.storage.filesystems
    lasting = [item for item in made.storage.items if item.kind not in ("temporary", "reserve")]
    publishing = next(item for item in made.storage.items if item.name == "while publishing")
    assert need.need_bytes == round(sum(item.bytes.likely for item in lasting) + publishing.bytes.likely)
    (reserve,) = [item for item in made.storage.items if item.kind == "reserve"]
    assert reserve.bytes.likely == need.reserve_bytes == round(0.02 * need.need_bytes) + 5 * GB


def test_the_largest_zip_counts_while_it_is_unpacked():
    alone = plan(0, gpu(), facts=dataset(found=False), images=disk(25 * GB, "/nfs"), features=disk(500 * GB, "/home"))
    need = next(each for each in alone.storage.filesystems if each.mount == "/nfs")
    assert need.need_bytes == coco.KARPATHY_IMAGES * coco.AVERAGE_JPEG_BYTES + 13_510_573_713
    assert need.fits is False


# Time.
def test_realtime_encodes_every_image_once_for_each_caption():
    assert plan(500 * GB, gpu()).time.encodes_per_image == pytest.approx(566_747 / 113_287)


def test_break_even_in_experiments_is_that_in_epochs_over_the_epochs_of_one():
    time = plan(500 * GB, gpu(), epochs=10).time
    assert time.break_even_experiments.likely == pytest.approx(time.break_even_epochs.likely / 10)


def test_the_net_saving_counts_the_extraction():
    time = plan(500 * GB, gpu(), epochs=10, experiments=3).time
    assert time.net_saving.likely == pytest.approx(
        30 * (time.realtime_epoch.likely - time.precomputed_epoch.likely) - time.extraction.likely
    )


def test_a_first_look_saves_no_time_by_extracting():
    assert votes(plan(500 * GB, gpu(), quick_check=True))["time"] == "neutral"


# GPU memory.
def test_every_gpu_has_its_row():
    made = plan(500 * GB, gpu(free=3 * GIB), gpu(index=1))
    assert [(row.index, row.realtime_fits) for row in made.memory.gpus] == [(0, False), (1, True)]
    assert made.memory.free_bytes == 24 * GIB


def test_unified_memory_is_what_the_host_has_available():
    shared = Unknown("the driver reports no memory size")
    made = plan(500 * GB, gpu("NVIDIA GB10", shared, shared, shared=True), on=host(20, 128 * GIB))
    assert made.memory.free_bytes == 124 * GIB
    assert "unified memory" in made.memory.gpus[0].note


def test_a_mig_slice_has_its_own_memory_and_its_share_of_the_rate():
    slice_ = gpu("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 10 * GIB, 10 * GIB, mig=True)
    whole = gpu("NVIDIA H100 80GB HBM3", 80 * GIB, 80 * GIB)
    assert timing.encode_rate(B16, slice_, 8).likely == pytest.approx(timing.encode_rate(B16, whole, 8).likely / 7)
    assert plan(500 * GB, slice_).memory.gpus[0].note == "MIG slice"


def test_memory_that_others_use_is_named_and_not_counted_as_free():
    made = plan(500 * GB, gpu(free=4 * GIB, elsewhere=20 * GIB))
    assert made.memory.gpus[0].note == "20.0 GiB used by processes not visible from here"
    assert made.memory.gpus[0].realtime_fits is False


def test_a_gpu_without_room_for_one_image_blocks_both_ways():
    assert plan(500 * GB, gpu(free=GIB)).recommendation.mode == "none"


def test_the_patch_label_contrast_grows_with_the_square_of_the_batch():
    assert memory.contrast_bytes(B16, 150) == 17_287_200_000
    without, with_it = plan(500 * GB, gpu()).memory, plan(500 * GB, gpu(), labels=True, grid="native").memory
    assert with_it.precomputed.likely - without.precomputed.likely == pytest.approx(17_287_200_000)
    assert with_it.largest_precomputed_batch < without.largest_precomputed_batch


# Measured values.
def test_measured_rates_replace_priors_and_say_so():
    made = plan(500 * GB, gpu(), measured=(calibration(),))
    assert (
        made.time.extraction.basis == made.time.realtime_epoch.basis == made.time.precomputed_epoch.basis == "measured"
    )
    assert made.time.extraction.likely == pytest.approx(123_287 / 1400)
    assert made.time.realtime_epoch.likely == pytest.approx(566_747 / 300)
    assert made.memory.realtime.basis == "measured"
    assert made.memory.realtime.likely == 2 * GB + 64 * 100_000_000
    assert made.calibrated == "2026-11-24T10:00:00Z"
    assert "measured" in rows(made)["time"].why


def test_what_was_measured_with_another_model_is_not_taken():
    made = plan(500 * GB, gpu(), measured=(calibration(clip_model="ViT-L-14"),))
    assert made.time.extraction.basis == "table"
    assert made.calibrated == ""


def test_a_frozen_measurement_says_nothing_about_trained_adapters():
    made = plan(500 * GB, gpu(), adapters=True, measured=(calibration(),))
    assert made.time.realtime_epoch.basis == "guess"
    assert made.memory.realtime.basis == "table"
    assert made.time.precomputed_epoch.basis == "measured"


def test_a_slow_measured_extraction_on_a_gpu_is_called_out():
    slow = calibration(
        extract=Estimate.around(31, 0.05, "images/s", "measured"), bottleneck="decode-bound: one worker."
    )
    warnings = plan(500 * GB, gpu(), measured=(slow,)).recommendation.warnings
    assert any("31 images/s on a GPU, is below 50" in warning for warning in warnings)
    assert "Measured: decode-bound: one worker." in warnings
    assert not any(
        "is below 50" in warning for warning in plan(500 * GB, gpu(), measured=(calibration(),)).recommendation.warnings
    )


def test_a_measured_memory_line_sets_the_largest_batch():
    batch = memory.largest_batch(B16, 12 * GB, realtime=True, measured=MemoryLine(2 * GB, 100_000_000))
    assert batch == 100


# Several models.
def test_models_have_a_row_each_and_their_own_break_even():
    made = plan(500 * GB, gpu(), models=("ViT-B/16", "ViT-L/14"), clip_model="ViT-B/16", epochs=10)
    assert [(row.clip_model, row.feature_bytes) for row in made.models] == [
        ("ViT-B-16", 9_279_072_768),
        ("ViT-L-14", 12_372_097_024),
    ]
    assert all(row.pays and row.epochs == 10 for row in made.models)
    assert made.keep_all_models is True
    assert [step.what for step in made.commands] == [
        f"{what}-{name}" for name in ("vit-b-16", "vit-l-14") for what in ("extract", "check", "train")
    ]


def test_models_that_do_not_fit_together_are_kept_one_at_a_time():
    made = plan(30 * GB, gpu(), models=("ViT-B/16", "ViT-L/14"), clip_model="ViT-B/16")
    assert made.keep_all_models is False
    assert [step.what for step in made.commands] == ["extract", "check", "train"]
    assert "delete it, then plan ViT-L-14" in made.commands[0].note
    assert "one model's file at a time" in rows(made)["CLIP changes"].why


# Grids that the ladder does not have by itself.
@pytest.mark.parametrize(
    ("model", "grid", "tokens"), [("ViT-L/14", "8x8", 64), ("ViT-B/16", "7x7-112px", 49), ("ViT-B/32", "7x7", 49)]
)
def test_the_grid_that_was_asked_for_is_planned(model, grid, tokens):
    choice = plan(900 * GB, gpu(), clip_model=model, grid=grid).recommendation.choice
    assert choice.tokens == tokens
    assert choice.grid == ("native" if model == "ViT-B/32" else grid)


def test_the_staged_strategy_is_offered_where_both_ways_work_and_the_training_is_long():
    made = plan(500 * GB, gpu(), epochs=20)
    assert [step.what for step in made.staged] == ["first-look", "extract", "check", "train"]
    assert made.staged[1].needs == ("first-look",)
    assert plan(500 * GB, gpu(), epochs=20, staged=True).commands == made.staged
    for short in (
        plan(500 * GB, gpu(), epochs=3),
        plan(500 * GB),
        plan(5 * GB, gpu()),
        plan(500 * GB, gpu(), adapters=True),
    ):
        assert short.staged == ()


def test_a_batch_that_does_not_fit_is_not_put_into_the_commands():
    made = plan(5 * GB, gpu(free=8 * GIB))
    argv = made.commands[0].argv
    batch = int(argv[argv.index("--batch-size") + 1])
    assert batch == made.memory.largest_realtime_batch < 64


# What would change it, in words that a person can act on.
def flips(made) -> str:
    return "\n".join(made.recommendation.flips)


def test_more_space_is_said_to_the_gigabyte_with_the_flags_that_ask_for_it():
    made = plan(60 * GB, gpu(), experiments=5, grid="native", dtype="float32")
    assert made.recommendation.choice.feature_bytes == 37_116_291_072
    short = made.ladder[0].need_bytes - 60 * GB
    assert f"With {short / GB:.1f} GB more free, 196 x 768 float32 (74.2 GB) would fit" in flips(made)
    assert "--grid native --dtype float32" in flips(made)


def test_less_space_is_said_where_the_choice_and_where_the_way_changes():
    made = plan(500 * GB, gpu())
    assert "Below 21.0 GB free: precomputed, 49 x 768 float16 of train2014." in flips(made)
    assert "Below 17.9 GB free: realtime." in flips(made)


def test_a_gpu_that_would_make_realtime_possible_is_named_by_its_memory():
    made = plan(500 * GB, adapters=True)
    assert "free on a GPU: realtime from cached pixels." in flips(made)
    assert "0.0 GiB" not in flips(made)


def test_the_epochs_at_which_an_extraction_pays_are_found():
    made = plan(500 * GB, gpu(), epochs=1, clip_swaps=9)
    assert made.recommendation.mode == "realtime"
    assert made.time.break_even_epochs.likely == pytest.approx(0.217, abs=0.01)
    assert "From 3 epochs on: precomputed, 49 x 768 float16." in flips(made)


def test_the_verdict_says_when_it_hangs_on_the_estimates():
    sure, close = plan(500 * GB, gpu(), epochs=20), plan(500 * GB, gpu(), epochs=1, clip_swaps=3)
    assert "It holds over the whole span" in sure.recommendation.certainty
    assert "At an end of the time estimates it would be" in close.recommendation.certainty


def test_what_is_not_known_is_named_beside_the_verdict():
    made = plan(Unknown("no answer within 2 s"), gpu())
    assert "Not known: disk for features" in made.recommendation.certainty
    assert any("no answer within 2 s" in warning for warning in made.recommendation.warnings)


@pytest.mark.parametrize("free", [GB, 5 * GB, 12 * GB])
def test_the_shortest_way_out_really_leads_out(free):
    from fsgr_tui.core.decision import decide

    now = situation(free)
    made = plan(free)
    assert made.recommendation.mode == "none"
    out = next(each for each in made.recommendation.thresholds if each.quantity == "free space")
    assert decide(now.with_free(int(out.at))).mode == "precomputed"
    assert decide(now.with_free(int(out.at) - 1)).mode == "none"
    assert f"free {(out.at - free) / GB:.3g}"[:8] in made.recommendation.reason


@pytest.mark.parametrize(
    ("model", "blocks"), [("ViT-B/16", ("6", "11")), ("ViT-L/14", ("12", "23")), ("fsgr-demo-16", ("1", "2"))]
)
def test_adapters_are_trained_in_the_second_half_of_the_tower(model, blocks):
    argv = plan(500 * GB, gpu(), adapters=True, clip_model=model).commands[-1].argv
    assert (argv[argv.index("--adapter-b") + 1], argv[argv.index("--adapter-e") + 1]) == blocks


def test_the_weights_that_were_named_are_in_every_command_that_loads_the_tower():
    for made in (plan(500 * GB, gpu(), weights="a b.pt"), plan(500 * GB, gpu(), weights="a b.pt", adapters=True)):
        for step in made.commands:
            if "--clip-model" in step.argv:
                assert step.argv[step.argv.index("--weights") + 1] == "a b.pt"
    assert "--weights" in plan(5 * GB, gpu(), weights="a b.pt").commands[0].argv
