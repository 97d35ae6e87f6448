import os
import shutil
import signal
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fsgr_tui.core.errors import BadRequest, FoundFaults  # noqa: E402
from fsgr_tui.core.event import EventReader, Fault, Metric, Notice, Phase  # noqa: E402
from fsgr_tui.core.training import CaptionerSize  # noqa: E402
from fsgr_tui.extract.encoder import make_encoder  # noqa: E402
from fsgr_tui.features.images import Image, read_image_list, write_image_list  # noqa: E402
from fsgr_tui.features.reader import MissingIds  # noqa: E402
from fsgr_tui.train.data import PrecomputedGrids, RealtimeGrids  # noqa: E402
from tests.functional.training import (  # noqa: E402
    BATCH,
    MODEL,
    PER_EPOCH,
    StopAfter,
    Told,
    image_ids,
    run,
    start_child,
    write_foreign_features,
)

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def both(data) -> dict[str, Told]:
    """One run of each data path, a little longer than an epoch, alike in everything else."""
    return {mode: run(data.spec(mode=mode, max_steps=PER_EPOCH + 3)) for mode in ("precomputed", "realtime")}


@pytest.fixture
def annotations(data, tmp_path):
    return Path(shutil.copytree(data.annotations, tmp_path / "m2_annotations"))


@pytest.mark.parametrize("mode", ["precomputed", "realtime"])
def test_the_loss_falls(both, mode):
    told = both[mode]
    assert told.code == 0
    assert len(told.losses) == told.result["steps"] == PER_EPOCH + 3
    assert told.result["last_loss"] < 0.85 * told.result["first_loss"]
    assert told.result["val_loss"] < told.result["first_loss"]
    assert told.result["first_loss"] == pytest.approx(np.mean(list(told.losses.values())[:5]))
    assert told.result["last_loss"] == pytest.approx(np.mean(list(told.losses.values())[-5:]))


def test_both_data_paths_give_the_same_losses(both):
    one, other = both["precomputed"], both["realtime"]
    assert list(one.losses.values()) == pytest.approx(list(other.losses.values()), rel=1e-3)
    assert one.result["val_loss"] == pytest.approx(other.result["val_loss"], rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_both_data_paths_give_the_same_features(data, dtype):
    choice = msgspec.structs.replace(MODEL, dtype=str(dtype).removeprefix("torch."))
    realtime = RealtimeGrids(read_image_list(data.images_file), make_encoder(choice), choice, workers=2)
    precomputed = PrecomputedGrids(data.features, torch.device("cpu"), workers=2)
    ids = image_ids(data, "dev")[::3]
    (one,), (other,) = ([source.grids(batch) for batch in source.batches([ids])] for source in (precomputed, realtime))
    assert one.dtype == other.dtype == torch.float32
    assert one.shape == other.shape == (len(ids), 49, 96)
    torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-3)
    assert torch.equal(other.half().float(), other) == (dtype == torch.float16)


def test_other_features_give_other_losses(data, both, tmp_path):
    write_foreign_features(
        tmp_path / "other.hdf5", set(image_ids(data, "train") + image_ids(data, "restval") + image_ids(data, "dev"))
    )
    told = run(data.spec(features=str(tmp_path / "other.hdf5")))
    known = list(both["precomputed"].losses.values())[:4]
    assert list(told.losses.values()) != pytest.approx(known, rel=1e-3)


@pytest.mark.parametrize("mode", ["precomputed", "realtime"])
def test_loading_ahead_changes_no_loss(data, both, mode):
    told = run(data.spec(mode=mode, workers=2))
    assert list(told.losses.values()) == list(both[mode].losses.values())[:4]


def test_the_result_tells_times_memory_and_captions(both):
    for mode, told in both.items():
        result = told.result
        assert result["mode"] == mode
        assert result["epochs_done"] == 1
        assert result["steps_timed"] == PER_EPOCH + 1
        assert result["step_s"] > 0
        assert 0 <= result["data_wait_share"] <= 1
        assert result["pairs_per_s"] > 0
        assert result["memory_kind"] == "process RSS"
        assert result["peak_memory_bytes"] >= result["baseline_memory_bytes"] > 0
        assert Path(result["checkpoint"]).exists()
        assert [set(sample) for sample in result["samples"]] == [{"image_id", "caption", "reference"}] * 3
        assert len({sample["image_id"] for sample in result["samples"]}) == 3
        assert all(sample["caption"] for sample in result["samples"])
    assert both["realtime"].result["step_s"] > both["precomputed"].result["step_s"]


def test_phases_and_validations_are_told_for_every_epoch(both):
    phases = [event.name for event in both["precomputed"].all(Phase)]
    each = ["validate", "caption"]
    # The last one is of the samples in the result.
    assert phases == ["epoch 1 of 20", *each, "epoch 2 of 20", *each, "caption"]
    validated = [event.step for event in both["precomputed"].all(Metric) if "val_loss" in event.values]
    assert validated == [PER_EPOCH, PER_EPOCH + 3]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("first", [3, PER_EPOCH, PER_EPOCH + 1])
def test_a_resumed_run_gives_the_losses_of_an_uninterrupted_one_to_the_bit(data, both, first, workers):
    spec = data.spec(max_steps=first, workers=workers)
    begun = run(spec)
    went_on = run(msgspec.structs.replace(spec, max_steps=PER_EPOCH + 3, resume=True))
    assert min(went_on.losses) == first + 1
    assert {**begun.losses, **went_on.losses} == both["precomputed"].losses
    assert went_on.result["val_loss"] == both["precomputed"].result["val_loss"]
    assert went_on.result["first_loss"] == both["precomputed"].result["first_loss"]


def test_a_run_that_was_stopped_goes_on_to_the_bit(data, both):
    spec = data.spec(max_steps=PER_EPOCH + 3)
    begun = run(spec, StopAfter(5))
    assert begun.code == 143
    assert max(begun.losses) == 5
    went_on = run(msgspec.structs.replace(spec, resume=True))
    assert {**begun.losses, **went_on.losses} == both["precomputed"].losses


def test_a_run_that_was_stopped_while_validating_validates_when_it_goes_on(data, both):
    spec = data.spec(max_steps=PER_EPOCH)
    # Asked before each step, after the last one, and before each batch of the validation.
    begun = run(spec, StopAfter(PER_EPOCH + 2))
    assert begun.code == 143
    assert max(begun.losses) == PER_EPOCH
    went_on = run(msgspec.structs.replace(spec, resume=True))
    assert went_on.code == 0
    validated = [event.values["val_loss"] for event in both["precomputed"].all(Metric) if "val_loss" in event.values]
    assert went_on.result["val_loss"] == validated[0]
    assert not went_on.losses


def test_a_finished_run_that_is_resumed_says_its_result_again(data):
    spec = data.spec()
    first = run(spec)
    again = run(msgspec.structs.replace(spec, resume=True))
    assert again.code == 0
    assert not again.losses
    assert again.result["last_loss"] == first.result["last_loss"]
    assert again.result["samples"] == first.result["samples"]
    assert again.result["step_s"] is None


def test_to_resume_what_never_began_starts_it(data, both):
    told = run(data.spec(resume=True))
    assert list(told.losses.values()) == list(both["precomputed"].losses.values())[:4]


def test_an_earlier_run_is_not_overwritten_unless_asked(data):
    spec = data.spec(max_steps=1)
    run(spec)
    with pytest.raises(BadRequest, match="is there already"):
        run(spec)
    assert run(msgspec.structs.replace(spec, overwrite=True)).code == 0


def test_a_checkpoint_of_other_settings_is_not_resumed(data):
    spec = data.spec(max_steps=1)
    run(spec)
    with pytest.raises(BadRequest, match=r"learning_rate: 0.003 there, 0.001 now"):
        run(msgspec.structs.replace(spec, resume=True, learning_rate=1e-3))


def test_a_checkpoint_of_another_data_path_is_not_resumed(data):
    spec = data.spec(max_steps=1)
    run(spec)
    with pytest.raises(BadRequest, match="mode: precomputed there, realtime now"):
        run(msgspec.structs.replace(spec, resume=True, mode="realtime"))


def test_a_checkpoint_of_another_vocabulary_is_not_resumed(data, annotations):
    spec = data.spec(max_steps=1, annotation_folder=str(annotations))
    run(spec)
    for captions in annotations.glob("captions_*.json"):
        captions.write_text(captions.read_text().replace("circle", "disk").replace("Circle", "Disk"))
    with pytest.raises(BadRequest, match="other words"):
        run(msgspec.structs.replace(spec, resume=True))


def test_a_damaged_checkpoint_is_named(data):
    spec = data.spec(max_steps=1)
    last = Path(run(spec).result["checkpoint"])
    last.write_bytes(last.read_bytes()[:5000])
    with pytest.raises(FoundFaults, match=r"demo_last.pth is damaged"):
        run(msgspec.structs.replace(spec, resume=True))


def test_last_and_best_checkpoints_load_without_running_code(data):
    spec = data.spec()
    run(spec)
    for name in ("demo_last.pth", "demo_best.pth"):
        content = torch.load(Path(spec.output) / name, weights_only=True)
        assert content["state"]["step"] == 4
        assert content["words"][:2] == ["<pad>", "<bos>"]
        assert content["spec"]["batch_size"] == BATCH
        assert content["identity"]["features: clip_model"] == "fsgr-demo-16"
    assert {path.name for path in Path(spec.output).iterdir()} == {"demo_last.pth", "demo_best.pth"}


def test_the_best_checkpoint_stays_when_a_later_epoch_is_worse(data):
    spec = data.spec(max_steps=1)
    run(spec)
    best = Path(spec.output) / "demo_best.pth"
    before = best.read_bytes()
    content = torch.load(Path(spec.output) / "demo_last.pth", weights_only=True)
    # A validation loss that no second step reaches.
    content["state"]["best"] = 0.01
    torch.save(content, Path(spec.output) / "demo_last.pth")
    run(msgspec.structs.replace(spec, resume=True, max_steps=2))
    assert best.read_bytes() == before


@pytest.mark.parametrize("workers", [0, 2])
def test_features_that_are_missing_are_refused_by_id_before_a_step(data, tmp_path, workers):
    ids = sorted(set(image_ids(data, "train") + image_ids(data, "restval") + image_ids(data, "dev")))
    lost = [ids[0], image_ids(data, "dev")[0]]
    write_foreign_features(tmp_path / "some.hdf5", set(ids) - set(lost))
    with pytest.raises(MissingIds, match=f"2 image ids: {lost[0]}, {lost[1]}") as fault:
        run(data.spec(features=str(tmp_path / "some.hdf5"), workers=workers))
    assert fault.value.exit_code == 1


def test_pictures_that_are_missing_are_refused_by_id(data, tmp_path):
    dev = set(image_ids(data, "dev"))
    write_image_list(tmp_path / "list", [image for image in read_image_list(data.images_file) if image.id not in dev])
    with pytest.raises(BadRequest, match=f"4 images .* not among the pictures: {min(dev)}"):
        run(data.spec(mode="realtime", images_file=str(tmp_path / "list")))


def test_image_ids_in_the_id_files_are_told_apart(data, annotations):
    np.save(annotations / "coco_train_ids.npy", np.unique(image_ids(data, "train")))
    with pytest.raises(BadRequest, match="holds image ids, and M2's files hold annotation ids"):
        run(data.spec(annotation_folder=str(annotations)))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_cannot_be_read_ends_realtime_training_and_is_named(data, tmp_path, workers):
    images = read_image_list(data.images_file)
    (tmp_path / "broken.jpg").write_bytes(Path(images[0].path).read_bytes()[:2000])
    write_image_list(tmp_path / "list", [Image(image.id, str(tmp_path / "broken.jpg")) for image in images])
    with pytest.raises(FoundFaults, match=r"broken.jpg cannot be read as a picture: damaged or cut off"):
        run(data.spec(mode="realtime", images_file=str(tmp_path / "list"), workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_feature_file_that_was_cut_after_the_start_ends_training_with_its_name(data, tmp_path, workers):
    features = tmp_path / "features.hdf5"
    shutil.copy(data.features, features)

    class CutsFile(StopAfter):
        def __call__(self) -> bool:
            os.truncate(features, 4096)
            return False

    with pytest.raises(FoundFaults, match=r"features.hdf5 (ends within|was replaced or changed)"):
        run(data.spec(features=str(features), workers=workers, max_steps=None, epochs=30), CutsFile())


def test_features_that_are_no_numbers_are_passed_over_with_a_warning(data, tmp_path):
    ids = set(image_ids(data, "train") + image_ids(data, "restval") + image_ids(data, "dev"))
    # One picture has five captions: at most five of the epoch's batches are spoilt.
    write_foreign_features(tmp_path / "some.hdf5", ids, poisoned={image_ids(data, "train")[0]})
    told = run(data.spec(features=str(tmp_path / "some.hdf5"), max_steps=PER_EPOCH))
    bad = [step for step, loss in told.losses.items() if loss is None]
    assert 1 <= len(bad) <= 5
    assert f"Step {bad[0]}: the loss is nan" in told.warnings[0]
    assert told.code == 0
    assert told.result["last_loss"] < told.result["first_loss"]
    content = torch.load(told.result["checkpoint"], weights_only=True)
    assert all(weight.isfinite().all() for weight in content["learner"]["captioner"].values())


def test_a_loss_that_stays_no_number_ends_the_run(data, tmp_path):
    ids = set(image_ids(data, "train") + image_ids(data, "restval") + image_ids(data, "dev"))
    write_foreign_features(tmp_path / "none.hdf5", ids, poisoned=ids)
    with pytest.raises(FoundFaults, match="loss is nan since step 1, 10 steps in a row; no loss was finite"):
        run(data.spec(features=str(tmp_path / "none.hdf5"), max_steps=None))


def test_a_warm_up_that_outlasts_the_run_is_told(data):
    told = run(data.spec(max_steps=2, warmup=1000))
    assert any(
        "warm-up of 1,000 steps is no shorter than the run (2 steps)" in notice.text for notice in told.all(Notice)
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 1000}, "190 training captions do not fill one batch of 1000"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"features": ""}, "needs a feature file"),
        ({"mode": "realtime", "model": None}, "needs the pictures and a CLIP model"),
        ({"exp_name": "a/b"}, "cannot name checkpoints"),
        (
            {"size": CaptionerSize(d_model=64, heads=3)},
            "not a multiple of 3 heads",
        ),
        ({"annotation_folder": "nowhere"}, "no annotation folder nowhere"),
    ],
)
def test_a_request_that_cannot_work_is_refused(data, changes, told):
    with pytest.raises(BadRequest, match=told):
        run(data.spec(**changes))


def test_the_validation_can_be_cut_short(data):
    told = run(data.spec(max_steps=1, max_val_batches=1))
    (phase,) = [event for event in told.all(Phase) if event.name == "validate"]
    assert phase.total == BATCH


@pytest.mark.parametrize(("mode", "workers"), [("precomputed", 2), ("realtime", 2)])
def test_a_signal_to_the_group_in_the_middle_leaves_a_checkpoint_to_go_on_from(data, mode, workers):
    spec = data.spec(mode=mode, max_steps=None, epochs=10_000, workers=workers)
    child, path = start_child("fsgr_tui.train", spec, data.root)
    reader, events = EventReader(path), []
    try:
        until = time.monotonic() + 60
        while not any(isinstance(event, Metric) and event.step > 2 for event in events):
            assert child.poll() is None
            assert time.monotonic() < until
            events += reader.new()
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGTERM)
        assert child.wait(30) == 143
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    last = Path(spec.output) / "demo_last.pth"
    content = torch.load(last, weights_only=True)
    assert content["state"]["step"] > 2
    assert not list(Path(spec.output).glob("*.tmp"))
    events += reader.new()
    assert "Go on with --resume" in [event.text for event in events if isinstance(event, Notice)][-1]


def test_a_child_that_meets_a_fault_tells_it_and_its_exit_code(data, tmp_path):
    child, path = start_child("fsgr_tui.train", data.spec(annotation_folder=str(tmp_path)), tmp_path)
    assert child.wait(60) == 2
    events = list(EventReader(path).new())
    assert events[0].name == "load"
    assert isinstance(events[-1], Fault)
    assert "captions_train2014.json" in events[-1].what
