import math
import resource
import signal

import pytest

torch = pytest.importorskip("torch")

from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot  # noqa: E402
from fsgr_tui.core.training import TrainSpec  # noqa: E402
from fsgr_tui.extract.device import chosen_device  # noqa: E402
from fsgr_tui.train import checkpoint  # noqa: E402
from fsgr_tui.train.device import Memory, arithmetic  # noqa: E402
from fsgr_tui.train.guard import BAD_STEPS_IN_A_ROW, LossGuard  # noqa: E402
from fsgr_tui.train.timing import StepClock  # noqa: E402

pytestmark = pytest.mark.torch

CONTENT = {"learner": {"weight": torch.ones(2)}, "state": {}, "random": {}, "words": ["a"], "identity": {}, "spec": {}}


def test_one_bad_step_is_warned_of_and_forgotten():
    guard = LossGuard()
    for number in range(1, 200, 2):
        assert guard.see(number, 2.5, 1.0) == ""
        assert f"Step {number + 1:,}: the loss is nan" in guard.see(number + 1, math.nan, math.nan)


def test_a_row_of_bad_steps_ends_the_run_and_names_the_first_and_the_last_finite_loss():
    guard = LossGuard()
    guard.see(48, 2.345, 1.0)
    warnings = [guard.see(49 + number, math.nan, math.nan) for number in range(BAD_STEPS_IN_A_ROW - 1)]
    assert [bool(warning) for warning in warnings] == [True] + [False] * (BAD_STEPS_IN_A_ROW - 2)
    with pytest.raises(FoundFaults, match=r"since step 49, 10 steps in a row; the last finite loss was 2.345") as fault:
        guard.see(49 + BAD_STEPS_IN_A_ROW - 1, math.nan, math.nan)
    assert fault.value.exit_code == 1


def test_gradients_that_are_not_finite_are_bad_too():
    assert "gradients is inf" in LossGuard().see(1, 2.5, math.inf)


def test_the_first_steps_are_left_out_of_the_step_time():
    clock = StepClock(skip=2)
    clock.add(60.0, 50.0)
    clock.add(9.0, 8.0)
    assert clock.median_s is None
    assert clock.wait_share() is None
    for step_s in (1.0, 2.0, 6.0):
        clock.add(step_s, step_s / 4)
    assert (clock.counted, clock.median_s, clock.mean_s) == (3, 2.0, 3.0)
    assert clock.wait_share() == pytest.approx(0.25)


def test_the_share_of_waiting_can_be_asked_of_the_last_steps_only():
    clock = StepClock(skip=0)
    clock.add(10.0, 10.0)
    clock.add(1.0, 0.0)
    assert clock.wait_share(1) == 0.0
    assert clock.wait_share() == pytest.approx(10 / 11)


def test_a_checkpoint_is_read_without_running_code(tmp_path):
    checkpoint.save(tmp_path / "x_last.pth", CONTENT)
    assert torch.load(tmp_path / "x_last.pth", weights_only=True)["words"] == ["a"]
    torch.testing.assert_close(checkpoint.load(tmp_path / "x_last.pth")["learner"]["weight"], torch.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == ["x_last.pth"]


def test_a_checkpoint_that_breaks_off_leaves_the_older_one_and_no_draft(tmp_path):
    path = tmp_path / "x_last.pth"
    checkpoint.save(path, CONTENT)
    before = path.read_bytes()
    with pytest.raises(Exception, match="pickle"):
        checkpoint.save(path, {**CONTENT, "state": lambda: None})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x_last.pth"]


def test_a_checkpoint_that_a_full_disk_cuts_is_told_and_the_older_one_stays(tmp_path):
    path = tmp_path / "x_last.pth"
    checkpoint.save(path, CONTENT)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(MachineCannot, match=r"x_last.pth cannot be written"):
            checkpoint.save(path, {**CONTENT, "learner": {"weight": torch.ones(1_000_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x_last.pth"]


@pytest.mark.parametrize("cut", [0, 1, 100, -50])
def test_a_cut_off_checkpoint_is_named(tmp_path, cut):
    path = tmp_path / "x_last.pth"
    checkpoint.save(path, CONTENT)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FoundFaults, match=r"x_last.pth is damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("foreign", [{"state_dict": {}}, [1, 2], {"format": 99, **CONTENT}])
def test_a_checkpoint_of_another_program_is_told_apart(tmp_path, foreign):
    torch.save(foreign, tmp_path / "x_last.pth")
    with pytest.raises(FoundFaults, match="no checkpoint of this program"):
        checkpoint.load(tmp_path / "x_last.pth")


def spec(**changes) -> TrainSpec:
    given = {
        "mode": "precomputed",
        "annotation_folder": "a",
        "output": "o",
        "exp_name": "x",
        "features": "f",
        **changes,
    }
    return TrainSpec(**given)


def identity(spec_of_run: TrainSpec, **changes) -> dict:
    given = {"features": {"clip_model": "ViT-B-16"}, "captions": "0" * 64, "words": 99, **changes}
    return checkpoint.identity_of(spec_of_run, **given)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (identity(spec(batch_size=32)), "batch_size: 64 there, 32 now"),
        (identity(spec(), features={"clip_model": "RN50"}), "features: clip_model: ViT-B-16 there, RN50 now"),
        (identity(spec(), words=98), "words: 99 there, 98 now"),
        (identity(spec(), captions="1" * 64), "training captions"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_the_difference(tmp_path, changed, told):
    content = {"identity": identity(spec()), "words": ["a", "b"]}
    with pytest.raises(BadRequest, match=told):
        checkpoint.refuse_another_run(tmp_path / "x_last.pth", content, changed, ("a", "b"))


def test_a_checkpoint_with_other_words_is_refused(tmp_path):
    content = {"identity": identity(spec()), "words": ["a", "b"]}
    with pytest.raises(BadRequest, match="other words"):
        checkpoint.refuse_another_run(tmp_path / "x_last.pth", content, identity(spec()), ("a", "c"))


def test_a_run_may_go_on_longer_elsewhere_and_with_other_workers(tmp_path):
    content = {"identity": identity(spec()), "words": ["a"]}
    later = spec(epochs=99, max_steps=7, workers=0, device="cuda:1", output="elsewhere", resume=True, features="moved")
    checkpoint.refuse_another_run(tmp_path / "x_last.pth", content, identity(later), ("a",))


@pytest.mark.parametrize("name", ["", "gpu", "mps", "cuda:x", "cuda:-1", "cpu:3"])
def test_a_name_that_is_no_device_is_refused(name):
    with pytest.raises(BadRequest, match="is no device"):
        chosen_device(name)


def test_a_gpu_that_is_not_there_is_told():
    with pytest.raises(MachineCannot, match="cuda:99"):
        chosen_device("cuda:99")


def test_a_cpu_computes_in_full_precision_whatever_is_asked():
    assert {arithmetic(precision, torch.device("cpu")) for precision in ("auto", "fp16", "bf16")} == {torch.float32}


def test_the_memory_of_a_cpu_run_is_the_process_and_its_peak_is_no_less_than_its_baseline():
    gauge = Memory(torch.device("cpu"))
    held = torch.ones(20_000_000)
    assert gauge.kind == "process RSS"
    assert gauge.peak_bytes() >= gauge.baseline_bytes > 10_000_000
    assert len(held) == 20_000_000
