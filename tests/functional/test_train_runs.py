"""What a run keeps, when it ends, and what it loses when it is killed."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import msgspec
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pycocoevalcap.cider.cider")

from fsgr_tui.core.errors import BadRequest, MachineCannot  # noqa: E402
from fsgr_tui.core.event import EventReader, Metric  # noqa: E402
from fsgr_tui.core.training import METRICS, SelfCritical  # noqa: E402
from fsgr_tui.train import data as data_module  # noqa: E402
from fsgr_tui.train.vocabulary import EOS  # noqa: E402
from tests.functional.training import BATCH, PER_EPOCH, StopAfter, Told, image_ids, run, start_child  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

# 38 training images, a batch of them a step.
CRITICAL = {"critical": SelfCritical(epochs=2, samples=3, learning_rate=1e-3), "epochs": 1, "max_steps": None}
IMAGE_STEPS = 38 // BATCH


@pytest.fixture(scope="module")
def critical(data):
    return run(data.spec(**CRITICAL))


def kept(spec) -> list[str]:
    return sorted(path.name for path in Path(spec.output).iterdir())


def test_captions_are_scored_after_every_epoch_and_in_the_result(data):
    told = run(data.spec(max_steps=None, epochs=2))
    assert list(told.metric("cider")) == [PER_EPOCH, 2 * PER_EPOCH]
    assert tuple(told.result["metrics"]) == METRICS
    assert told.result["metrics"]["cider"] == told.metric("cider")[2 * PER_EPOCH]
    assert [point["step"] for point in told.result["curve"]] == [PER_EPOCH, 2 * PER_EPOCH]
    best = told.result["best"]
    assert best["by"] == "cider"
    assert best["value"] == max(told.metric("cider").values())
    content = torch.load(Path(told.result["checkpoint"]).with_name("demo_best.pth"), weights_only=True)
    assert content["state"]["step"] == best["step"]


def test_the_sample_captions_are_of_the_best_weights(data):
    spec = data.spec(max_steps=None, epochs=2, learning_rate=1e-2)
    told = run(spec)
    # Weights that say nothing but the end, in place of the best ones.
    best = Path(spec.output) / "demo_best.pth"
    content = torch.load(best, weights_only=True)
    weights = content["learner"]["captioner"]
    weights["decoder.norm.weight"].zero_()
    weights["decoder.norm.bias"].copy_(weights["output.weight"][EOS] * 100)
    torch.save(content, best)
    again = run(msgspec.structs.replace(spec, resume=True))
    assert [sample["caption"] for sample in again.result["samples"]] == ["", "", ""]
    assert all(sample["caption"] for sample in told.result["samples"])


def test_the_best_may_be_chosen_by_the_loss_and_scoring_be_left_out(data):
    told = run(data.spec(evaluate=False))
    assert told.result["best"] == {"by": "loss", "value": told.result["val_loss"], "step": 4}
    assert told.result["metrics"] == {}
    assert told.result["samples"] == []
    assert run(data.spec(best_by="loss")).result["best"]["by"] == "loss"


def test_scoring_and_its_width_change_no_step_of_the_training(data):
    specs = [
        data.spec(max_steps=PER_EPOCH + 2, **changes) for changes in ({"evaluate": False}, {"beam": 1}, {"beam": 3})
    ]
    one, *others = [run(spec).losses for spec in specs]
    assert all(losses == one for losses in others)


def test_a_metric_that_is_zero_is_warned_of(data, tmp_path):
    annotations = Path(shutil.copytree(data.annotations, tmp_path / "m2_annotations"))
    held_out = set(image_ids(data, "dev"))
    path = annotations / "captions_val2014.json"
    content = json.loads(path.read_text())
    for entry in content["annotations"]:
        if entry["image_id"] in held_out:
            entry["caption"] = "Nothing that anybody trained with."
    path.write_text(json.dumps(content))
    told = run(data.spec(annotation_folder=str(annotations)))
    assert told.result["metrics"]["cider"] == 0.0
    assert any(line.startswith("cider is 0: no caption") for line in told.warnings)


def test_epochs_end_when_none_was_better_for_long_enough(data):
    # A rate that never leaves its warm-up: nothing is learned, and no epoch is better than the first.
    told = run(data.spec(max_steps=None, epochs=50, patience=2, warmup=10**9, learning_rate=1e-9, evaluate=False))
    assert told.result["epochs_done"] < 50
    assert any("--patience 2 ends them" in line for line in told.notices)
    assert told.result["epochs_done"] - told.result["best"]["step"] // PER_EPOCH == 2


def test_a_run_that_ran_out_of_patience_stays_ended_when_it_is_resumed(data):
    spec = data.spec(max_steps=None, epochs=50, patience=1, warmup=10**9, learning_rate=1e-9, evaluate=False)
    first = run(spec)
    again = run(msgspec.structs.replace(spec, resume=True))
    assert again.result["steps"] == first.result["steps"]
    assert not again.losses


def test_only_so_many_epochs_are_kept_beside_the_last_and_the_best(data):
    spec = data.spec(max_steps=None, epochs=4, keep=2, logs="")
    told = run(spec)
    assert kept(spec) == ["demo_best.pth", "demo_epoch003.pth", "demo_epoch004.pth", "demo_last.pth"]
    sizes = sum(path.stat().st_size for path in Path(spec.output).iterdir())
    assert told.result["checkpoint_bytes"] == sizes
    run(msgspec.structs.replace(spec, keep=0, epochs=1, overwrite=True))
    assert kept(spec) == ["demo_best.pth", "demo_last.pth"]


def test_the_epochs_of_a_namesake_are_left_alone(data):
    spec = data.spec(keep=1, max_steps=None, epochs=2)
    other = Path(spec.output) / "demo2_epoch001.pth"
    other.parent.mkdir(parents=True)
    other.touch()
    run(spec)
    assert other.exists()


def test_drafts_of_a_killed_run_are_swept_away(data):
    spec = data.spec(max_steps=1)
    draft = Path(spec.output) / ".demo_last.pth.12345.tmp"
    draft.parent.mkdir(parents=True)
    draft.touch()
    run(spec)
    assert not draft.exists()


def test_self_critical_epochs_follow_from_the_best_weights(data, critical):
    assert critical.code == 0
    steps = PER_EPOCH + 2 * IMAGE_STEPS
    assert critical.result["steps"] == steps
    assert critical.result["epochs_done"] == 3
    assert list(critical.metric("reward")) == list(range(PER_EPOCH + 1, steps + 1))
    assert any("Self-critical training begins: 2 epochs over 38 images" in line for line in critical.notices)
    # Advantages sum to zero within an image, so losses have both signs or are small; none of that is an alarm.
    assert not any("loss" in line for line in critical.warnings)
    assert list(critical.metric("cider")) == [PER_EPOCH, PER_EPOCH + IMAGE_STEPS, steps]


# Within an epoch of cross-entropy a run that ends by --max-steps validates, and may find its best weights there.
@pytest.mark.parametrize("stopped_after", [PER_EPOCH, PER_EPOCH + 1, PER_EPOCH + IMAGE_STEPS + 1])
def test_a_self_critical_run_goes_on_to_the_bit(data, critical, stopped_after):
    spec = data.spec(**{**CRITICAL, "max_steps": stopped_after})
    begun = run(spec)
    went_on = run(msgspec.structs.replace(spec, max_steps=None, resume=True))
    assert {**begun.losses, **went_on.losses} == critical.losses
    assert went_on.result["metrics"] == critical.result["metrics"]


def test_a_self_critical_run_that_is_told_to_stop_goes_on_to_the_bit(data, critical):
    spec = data.spec(**CRITICAL)
    # Asked before every step and before every batch of the two kinds of validation.
    begun = run(spec, StopAfter(PER_EPOCH + 1 + 2 + 1 + 1))
    assert begun.code == 143
    went_on = run(msgspec.structs.replace(spec, resume=True))
    assert {**begun.losses, **went_on.losses} == critical.losses


def test_the_greedy_baseline_is_another_run(data, critical):
    asked = {**CRITICAL, "critical": msgspec.structs.replace(CRITICAL["critical"], baseline="greedy")}
    told = run(data.spec(**asked))
    first = PER_EPOCH + 1
    assert told.metric("reward")[first] == critical.metric("reward")[first]
    assert told.losses[first] != critical.losses[first]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"best_by": "loss"}, "cannot name the best checkpoint"),
        ({"evaluate": False}, "cannot name the best checkpoint"),
        ({"critical": SelfCritical(epochs=1, samples=1)}, "no others to be held against"),
        ({"batch_size": 60}, "38 training images do not fill one batch of 60"),
    ],
)
def test_self_critical_training_that_cannot_work_is_refused(data, changes, told):
    with pytest.raises(BadRequest, match=told):
        run(data.spec(**{**CRITICAL, **changes}))


def test_curves_are_written_for_tensorboard_and_those_of_an_overwritten_run_go(data, tmp_path):
    spec = data.spec(logs=str(tmp_path / "logs"))
    run(spec)
    (first,) = (tmp_path / "logs").iterdir()
    assert b"train/loss" in first.read_bytes()
    assert b"val/cider" in first.read_bytes()
    run(msgspec.structs.replace(spec, max_steps=5, resume=True))
    assert len(list((tmp_path / "logs").iterdir())) == 2
    run(msgspec.structs.replace(spec, overwrite=True))
    assert len(list((tmp_path / "logs").iterdir())) == 1


def test_a_rehearsal_goes_through_every_part_and_keeps_nothing(data, tmp_path):
    spec = data.spec(rehearsal=True, critical=SelfCritical(epochs=1), logs=str(tmp_path / "logs"))
    told = run(spec)
    assert told.code == 0
    parts = [part["part"] for part in told.result["parts"]]
    assert parts == [
        "first training step", "training step", "self-critical step", "validation", "captions, beam 2", "scores", "checkpoint",
    ]  # fmt: skip
    assert all(part["seconds"] > 0 for part in told.result["parts"])
    assert told.result["pairs_per_s"] == pytest.approx(BATCH / told.result["step_s"])
    assert told.result["steps_an_epoch"] == PER_EPOCH
    assert told.result["checkpoint_bytes"] > 100_000
    assert kept(spec) == []
    assert not (tmp_path / "logs").exists()


def test_memory_that_runs_out_is_told_with_the_batch_that_fits(data, monkeypatch):
    whole = data_module.PrecomputedGrids.grids

    def small(self, batch):
        if len(batch) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, batch)

    monkeypatch.setattr(data_module.PrecomputedGrids, "grids", small)
    with pytest.raises(MachineCannot, match="does not hold a step with batch size 16; 5 fit") as fault:
        run(data.spec())
    assert "--batch-size 5" in fault.value.fix


def test_kills_at_random_points_lose_no_more_than_the_steps_since_the_last_checkpoint(data):
    chance = random.Random(0)
    steps = 2 * PER_EPOCH
    expected = run(data.spec(max_steps=steps, evaluate=False))
    # Saved before every step: a kill may cost the step at hand, and no other.
    spec = data.spec(max_steps=steps, evaluate=False, save_s=0.0)
    reached, code, kills = 0, None, 0
    while code != 0:
        assert kills < 12
        child, events = start_child("fsgr_tui.train", spec, data.root)
        reader, seen = EventReader(events), []
        wanted = reached + chance.randint(1, 5)
        until = time.monotonic() + 120
        while (code := child.poll()) is None and kills < 3:
            assert time.monotonic() < until
            seen += [event for event in reader.new() if isinstance(event, Metric)]
            last = Path(spec.output) / "demo_last.pth"
            if last.exists() and _step_of(last) >= wanted:
                time.sleep(chance.random() * 0.05)
                os.killpg(child.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        child.wait(120)
        code = child.returncode
        seen += [event for event in reader.new() if isinstance(event, Metric)]
        told = max((event.step for event in seen), default=reached)
        now = _step_of(Path(spec.output) / "demo_last.pth")
        assert now >= told - 1
        reached = now
        spec = msgspec.structs.replace(spec, resume=True)
        final = Told(code, list(EventReader(events).new()))
    assert kills >= 1
    assert final.result["first_loss"] == expected.result["first_loss"]
    assert final.result["last_loss"] == expected.result["last_loss"]
    assert final.result["val_loss"] == expected.result["val_loss"]


def _step_of(path: Path) -> int:
    """Which step a checkpoint is of; its file is replaced whole, so it can be read at any moment."""
    return torch.load(path, weights_only=True)["state"]["step"] if path.exists() else 0
