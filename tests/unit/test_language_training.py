"""No text of a training, an extraction or a calibration goes past the catalogue: what children tell on their way."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from fsgr_tui.calibrate.meter import Meter  # noqa: E402
from fsgr_tui.core import language  # noqa: E402
from fsgr_tui.core.errors import FoundFaults, Problem  # noqa: E402
from fsgr_tui.core.training import Adapters, SelfCritical, TrainSpec  # noqa: E402
from fsgr_tui.demo.dataset import DemoParameters, _claimed, write_dataset  # noqa: E402
from fsgr_tui.extract.pipeline import bottleneck  # noqa: E402
from fsgr_tui.train import checkpoint, java, metrics, run, told  # noqa: E402
from fsgr_tui.train.guard import BAD_STEPS_IN_A_ROW, LossGuard  # noqa: E402
from fsgr_tui.train.ranks import ALONE  # noqa: E402
from tests.unit.test_language_jobs import outside  # noqa: E402
from tests.unit.test_language_plan import Bracketed  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def bracketed():
    language.speak(Bracketed())
    yield
    language.use("en")


def refused(act) -> Problem:
    """The problem that an act ends in, none of whose words goes past the catalogue."""
    with pytest.raises(Problem) as problem:
        act()
    assert outside(problem.value.what) == []
    assert problem.value.fix
    assert outside(problem.value.fix) == []
    return problem.value


def spec(**changes) -> TrainSpec:
    given = {"mode": "precomputed", "annotation_folder": "a", "output": "o", "exp_name": "x", "features": "f"}
    return TrainSpec(**{**given, **changes})


@pytest.mark.parametrize("stage", ["decode", "encode", "write"])
@pytest.mark.parametrize("on_gpu", [True, False])
def test_what_holds_an_extraction_down(stage, on_gpu):
    shares = {"decode": 0.1, "encode": 0.1, "write": 0.1, stage: 0.9}
    sentence = bottleneck(shares, 4, on_gpu)
    assert sentence
    assert outside(sentence) == []


@pytest.mark.parametrize("waiting", [0.1, 0.9])
@pytest.mark.parametrize("mode", ["precomputed", "realtime"])
def test_what_holds_a_training_down(waiting, mode):
    sentence = told.bottleneck(waiting, mode)
    assert sentence
    assert outside(sentence) == []


def test_what_a_training_tells_of_itself():
    of_run = {"pairs": 9, "steps": 3, "words": 7, "parameters": 5, "arithmetic": "float32", "device": "cpu"}
    for sentence in (
        told.sizes(**of_run, processes=1),
        told.sizes(**of_run, processes=2),
        told.patience_ends(3, 40, 3),
        told.critical_begins(2, 9, None),
        told.critical_begins(2, 9, 40),
        told.warmup_too_long(100, 50, 1e-4),
    ):
        assert sentence
        assert outside(sentence) == []


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (2.0, math.inf)])
@pytest.mark.parametrize("before", [[], [2.5]])
def test_steps_that_are_not_finite(loss, norm, before):
    guard = LossGuard()
    for number, good in enumerate(before, 1):
        guard.see(number, good, 1.0)
    warnings = [guard.see(5 + number, loss, norm) for number in range(BAD_STEPS_IN_A_ROW - 1)]
    assert warnings[0]
    assert outside(" ".join(warnings)) == []
    assert isinstance(refused(lambda: guard.see(20, loss, norm)), FoundFaults)


@pytest.mark.parametrize(
    ("scores", "captions"),
    [
        ({"cider": 1.0}, {1: "", 2: "a cat"}),
        ({"cider": 0.0}, {1: "a cat"}),
        ({"cider": 0.0}, {1: "a cat", 2: "a dog"}),
        ({"cider": 1.0, "bleu_4": 0.0}, {1: "a cat", 2: "a dog"}),
        ({"cider": 1.0, "bleu_3": 0.0, "bleu_4": 0.0}, {1: "a cat", 2: "a dog"}),
        ({"cider": 1.0}, dict.fromkeys(range(10), "a cat")),
    ],
)
def test_doubts(scores, captions):
    (doubt,) = metrics.doubts(scores, captions)
    assert outside(doubt) == []


def test_checkpoints(tmp_path):
    path = tmp_path / "x_last.pth"
    path.write_bytes(b"no zip")
    refused(lambda: checkpoint.load(path))
    torch.save({"format": 0}, path)
    refused(lambda: checkpoint.load(path))
    refused(lambda: checkpoint.save(tmp_path / "none" / "x.pth", {}))
    content = {"identity": {"words": 3, "batch_size": 4}, "words": ["a"]}
    refused(lambda: checkpoint.refuse_another_run(path, content, {"words": 4, "batch_size": 5}, ("a",)))
    refused(lambda: checkpoint.refuse_another_run(path, content, content["identity"], ("b",)))


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "odd"},
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"exp_name": "a/b"},
        {"batch_size": 7, "processes": 2},
        {"adapters": Adapters(first=6, last=11, bottleneck=64)},
        {"critical": SelfCritical(epochs=1, baseline="mean", samples=1)},
        {"critical": SelfCritical(epochs=1), "best_by": "loss"},
    ],
    ids=" ".join,
)
def test_settings(changes):
    refused(lambda: run.check(spec(**changes)))


class _Tried:
    """A run of which no batch above `fits` goes through."""

    def __init__(self, fits: int) -> None:
        self._fits = fits

    def try_step(self, size: int) -> None:
        if size > self._fits:
            raise torch.OutOfMemoryError


@pytest.mark.parametrize("tried", [None, _Tried(0), _Tried(8)])
def test_a_memory_that_is_too_small(tried):
    problem = run._out_of_memory(spec(batch_size=32), "cuda:0", tried, ALONE)
    assert outside(f"{problem.what} {problem.fix}") == []


def test_java():
    refused(lambda: java._lines("a\nb", 3, "METEOR"))
    refused(lambda: java._run(["/does/not/exist"], "METEOR"))
    refused(lambda: java._run(["false"], "METEOR"))


def test_a_rate_for_which_there_was_no_time():
    meter = Meter("images", 0.0, lambda: False, lambda _count, _rate: None)
    assert outside(meter.rate().reason) == []


@pytest.mark.parametrize("asked", [{"train": 0}, {"val": 3}, {"train": 10**9}, {"seed": -1}])
def test_a_demo_that_cannot_be(tmp_path, asked):
    refused(lambda: write_dataset(tmp_path / "demo", **asked))


def test_a_folder_that_is_not_free_for_a_demo(tmp_path):
    wanted = DemoParameters(5, 4, 0)
    (tmp_path / "file").write_text("")
    refused(lambda: _claimed(tmp_path / "file", wanted))
    refused(lambda: _claimed(tmp_path, wanted))
