"""What holds for every plan, whatever the numbers."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsgr_tui.core import jsontext, memory, planfile, timing
from fsgr_tui.core.dataset import DatasetFacts, SplitFacts
from fsgr_tui.core.decision import decide
from fsgr_tui.core.plan import Step
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.units import GB, GIB, Unknown
from tests.fakes.planning import B16, disk, gpu, plan, situation

gpus = st.sampled_from([(), (gpu(),), (gpu(free=6 * GIB),), (gpu("NVIDIA H100 80GB HBM3", 80 * GIB, 80 * GIB),)])
intents = st.fixed_dictionaries({
    "quick_check": st.booleans(),
    "paper": st.booleans(),
    "adapters": st.booleans(),
    "labels": st.booleans(),
    "experiments": st.sampled_from([None, 1, 4, 30]),
    "batch_size": st.sampled_from([None, 8, 64, 200]),
    "clip_swaps": st.sampled_from([0, 1, 10, 300]),
    "epochs": st.integers(1, 100),
    "grid": st.sampled_from(["7x7", "native", "8x8"]),
})  # fmt: skip
WAYS = {"none": 0, "realtime": 1, "precomputed": 2}


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), gpus, intents)
def test_more_space_never_turns_precomputed_into_realtime(some, more, cards, intent):
    less, larger = sorted((some, more))
    small, large = (decide(situation(free * GB, *cards, **intent)) for free in (less, larger))
    assert WAYS[small.mode] <= WAYS[large.mode]
    if small.mode == "precomputed":
        assert large.facts.chosen.feature_bytes >= small.facts.chosen.feature_bytes


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 200), gpus, intents)
def test_more_epochs_never_turn_precomputed_into_realtime(some, more, free, cards, intent):
    few, many = (
        decide(situation(free * GB, *cards, **{**intent, "epochs": count})).mode for count in sorted((some, more))
    )
    assert WAYS[few] <= WAYS[many]


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), gpus, intents)
def test_more_experiments_never_turn_precomputed_into_realtime(some, more, cards, intent):
    few, many = (
        decide(situation(90 * GB, *cards, **{**intent, "experiments": count})).mode for count in sorted((some, more))
    )
    assert WAYS[few] <= WAYS[many]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 120), gpus, intents)
def test_what_would_change_it_really_changes_it_and_one_less_does_not(free, cards, intent):
    now = situation(free * GB, *cards, **intent)
    before = decide(now).outcome
    for threshold in plan(free * GB, *cards, **intent).recommendation.thresholds:
        at = int(threshold.at)
        if threshold.quantity == "free space" and threshold.becomes.startswith(("precomputed", "realtime", "neither")):
            assert decide(now.with_free(at)).outcome == threshold.becomes
        elif threshold.quantity in ("epochs", "experiments", "CLIP changes"):
            field = {"CLIP changes": "clip_swaps"}.get(threshold.quantity, threshold.quantity)
            assert decide(now.with_intent(**{field: at})).outcome == threshold.becomes != before
            toward = 1 if at < _value(now, field) else -1
            assert decide(now.with_intent(**{field: at + toward})).outcome == before
        elif threshold.quantity == "GPU memory":
            assert decide(now.with_gpu_memory(at)).outcome == threshold.becomes


def _value(now: Situation, field: str) -> int:
    return {
        "epochs": now.intent.epochs,
        "experiments": now.intent.runs,
        "clip_swaps": now.intent.model_count - 1,
    }[field]


@given(st.integers(1, 512), st.integers(1, 512), st.booleans())
def test_memory_grows_with_the_batch(one, other, labels):
    small, large = sorted((one, other))
    assert (
        memory.realtime_bytes(B16, small, labels=labels).likely
        <= memory.realtime_bytes(B16, large, labels=labels).likely
    )
    assert (
        memory.precomputed_bytes(small, B16, labels=labels).likely
        <= memory.precomputed_bytes(large, B16, labels=labels).likely
    )


@given(st.integers(1, 200), st.booleans(), st.booleans())
def test_the_largest_batch_fits_and_one_more_does_not(free_gib, labels, realtime):
    def need(batch: int) -> float:
        if realtime:
            return memory.realtime_bytes(B16, batch, labels=labels).likely
        return memory.precomputed_bytes(batch, B16, labels=labels).likely

    free = free_gib * GIB
    batch = memory.largest_batch(B16, free, realtime=realtime, labels=labels)
    assert not batch or need(batch) <= free
    assert batch == 4096 or need(batch + 1) > free


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 10**6), gpus)
def test_times_and_bytes_grow_with_the_images(some, more, cards):
    few, many = (
        plan(
            10**15, *cards, facts=DatasetFacts("/d", (SplitFacts("train", "/d/train", count, count * 1000),), 5 * count)
        )
        for count in sorted((some, more))
    )
    for small, large in (
        (few.time.extraction, many.time.extraction),
        (few.time.realtime_epoch, many.time.realtime_epoch),
        (few.time.precomputed_total, many.time.precomputed_total),
    ):
        assert small.low <= large.low
        assert small.likely <= large.likely
        assert small.high <= large.high
    assert few.recommendation.choice.feature_bytes <= many.recommendation.choice.feature_bytes


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.integers(0, 300).map(lambda gb: gb * GB), st.just(Unknown("no answer within 2 s"))), gpus, intents)
def test_every_estimate_of_every_plan_is_in_order_and_the_plan_survives_json(free, cards, intent):
    made = plan(free, *cards, **intent)
    for way in made.ways:
        for estimate in (way.preparation, way.epoch, way.total, way.memory):
            assert 0 <= estimate.low <= estimate.likely <= estimate.high
    document = jsontext.encode(made)
    # Strict: json.loads would take NaN and infinity, which no other reader does.
    read = json.loads(document, parse_constant=pytest.fail)
    assert jsontext.encode(read) == document


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), gpus)
def test_totals_and_savings_grow_with_the_epochs(some, more, cards):
    few, many = (plan(500 * GB, *cards, epochs=count).time for count in sorted((some, more)))
    assert few.realtime_total.likely <= many.realtime_total.likely
    assert few.precomputed_total.likely <= many.precomputed_total.likely
    assert few.net_saving.likely <= many.net_saving.likely
    assert few.break_even_epochs == many.break_even_epochs


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.binary(min_size=1, max_size=20).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)


@settings(max_examples=150, deadline=None)
@given(st.lists(names, min_size=1, max_size=5))
def test_every_path_survives_the_way_through_toml(words):
    made = msgspec.structs.replace(
        plan(500 * GB, gpu()),
        commands=(Step("one", ("fsgr-tui", *words), (), tuple(words)), Step("two", ("x",), ("one",))),
    )
    steps = planfile.read(planfile.write(made)).steps
    assert steps[0].argv == ("fsgr-tui", *words)
    assert steps[0].outputs == tuple(words)
    assert steps[1].needs == ("one",)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), gpus, intents)
def test_the_steps_of_every_plan_survive_the_way_through_toml(free, cards, intent):
    made = plan(free * GB, *cards, **intent)
    if made.commands:
        steps = planfile.read(planfile.write(made)).steps
        assert [(step.name, step.argv, step.needs) for step in steps] == [
            (step.what, step.argv, step.needs) for step in made.commands
        ]


@given(st.floats(1, 1e6), st.floats(1, 1e6), st.floats(1, 1e6))
def test_a_break_even_is_a_span_around_its_likely_value(extraction, realtime, precomputed):
    spans = [timing.Estimate.around(value, 0.4, "s", "guess") for value in (extraction, realtime, precomputed)]
    point = timing.break_even_epochs(*spans)
    assert (point is None) == (realtime <= precomputed)
    if point:
        assert 0 <= point.low <= point.likely <= point.high


def test_two_folders_on_one_device_share_their_space():
    images = msgspec.structs.replace(disk(30 * GB), path="/data/images", mount="/mnt/bound")
    made = plan(0, gpu(), images=images, features=disk(30 * GB))
    assert len(made.storage.filesystems) == 1
