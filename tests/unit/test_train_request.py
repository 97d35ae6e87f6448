"""A training request: from a plan, to a command line and back, and what is refused before anything starts."""

from __future__ import annotations

import sys

import click
import msgspec
import pytest

from fsgr_tui.cli import train as train_command
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.plan import Intent
from fsgr_tui.core.training import Adapters, CaptionerSize, SelfCritical, TrainSpec
from fsgr_tui.service import training
from fsgr_tui.service.training_request import TrainRequest, command_line, request_for_plan
from tests.fakes.screen import BLIND, plan


def parsed(argv: tuple[str, ...], monkeypatch) -> TrainRequest:
    """The request that the command makes of a command line."""
    made: list[TrainRequest] = []

    def prepare(request: TrainRequest) -> None:
        made.append(request)
        raise click.Abort

    monkeypatch.setattr(training, "prepare", prepare)
    monkeypatch.setattr(sys, "argv", list(argv))
    with pytest.raises(click.Abort):
        train_command.command.main(list(argv[2:]), standalone_mode=False)
    return made[0]


def test_a_plan_fills_in_its_own_training():
    made = plan(Intent(epochs=12, splits=("karpathy",)))
    request = request_for_plan(made)
    step = next(step for step in made.commands if step.what == "train")
    assert request.spec.mode == made.recommendation.mode == "precomputed"
    assert request.spec.features == step.argv[step.argv.index("--features-path") + 1]
    assert (request.spec.epochs, request.spec.annotation_folder) == (12, "m2_annotations")
    assert request.image_root == made.dataset.root
    assert request.shown == command_line(request)


def test_a_realtime_plan_fills_in_images_tower_and_adapters():
    made = plan(Intent(epochs=3, adapters=True, splits=("karpathy",)))
    request = request_for_plan(made, "captions")
    assert request.spec.mode == made.recommendation.mode == "realtime"
    assert (request.spec.adapters.first, request.spec.adapters.last) == (6, 11)
    assert (request.spec.annotation_folder, request.splits) == ("captions", ("karpathy",))


def test_a_plan_of_neither_way_gives_the_defaults():
    request = request_for_plan(msgspec.structs.replace(plan(), commands=()))
    assert (request.spec.mode, request.spec.features, request.spec.batch_size) == ("precomputed", "", 64)


@pytest.mark.parametrize(
    ("intent", "place"),
    [
        (Intent(epochs=12, splits=("karpathy",)), None),
        (Intent(epochs=3, adapters=True, splits=("karpathy",)), None),
        (Intent(quick_check=True, splits=("train2014",)), BLIND),
    ],
)
def test_the_command_line_of_a_plans_training_asks_for_the_same(intent, place, monkeypatch):
    request = request_for_plan(plan(intent, place))
    again = parsed(request.shown, monkeypatch)
    assert command_line(again) == request.shown
    assert (again.spec.epochs, again.spec.batch_size) == (request.spec.epochs, request.spec.batch_size)


def test_everything_that_differs_stands_in_the_command_line(monkeypatch):
    spec = TrainSpec(
        mode="realtime", annotation_folder="m2", output="out", exp_name="e", epochs=7, max_steps=9, batch_size=10,
        model=ModelChoice(clip_model="ViT-L/14", weights="random:0", grid="native", resize="crop", activation="gelu"),
        adapters=Adapters(first=1, last=2, bottleneck=8, learning_rate=2e-4), size=CaptionerSize(d_model=128, heads=4, layers=2, feed_forward=512),
        critical=SelfCritical(epochs=2, learning_rate=1e-6, samples=3, baseline="greedy"), learning_rate=3e-4, warmup=5,
        evaluate=False, beam=2, best_by="loss", patience=4, keep=3, save_s=60.0, workers=0, seed=5, processes=2,
        logs="curves", overwrite=True, rehearsal=True,
    )  # fmt: skip
    request = TrainRequest(spec=spec, image_root="images", splits=("karpathy",), java="never")
    again = parsed(command_line(request), monkeypatch)
    assert msgspec.structs.replace(again, shown=()) == request


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"exp_name": "a b"}, "--exp-name 'a b' is no plain name."),
        ({"batch_size": 10, "processes": 4}, "--batch-size 10 does not divide among 4 processes."),
        ({"size": CaptionerSize(d_model=100, heads=8)}, "--d-model 100 is no multiple of --heads 8."),
        ({"annotation_folder": "/nowhere/at/all"}, "/nowhere/at/all"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(fields, said, own_runs):
    plain = {"mode": "precomputed", "annotation_folder": "m2", "output": "out", "exp_name": "e", "evaluate": False}
    with pytest.raises(BadRequest) as refused:
        training.prepare(TrainRequest(spec=TrainSpec(**{**plain, **fields})))
    assert said in refused.value.what
    assert list(own_runs.iterdir()) == []


def test_realtime_without_a_tower_is_refused(demo_root, tmp_path):
    spec = TrainSpec(
        mode="realtime", annotation_folder=str(demo_root / "m2_annotations"), output=str(tmp_path), exp_name="e"
    )
    with pytest.raises(BadRequest, match="--clip-model"):
        training.prepare(TrainRequest(spec=spec, image_root=str(demo_root / "images")))
