"""Training in several processes on one machine: gloo on the CPU, met through a file."""

import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

torch = pytest.importorskip("torch")

from fsgr_tui.core.errors import BadRequest  # noqa: E402
from fsgr_tui.core.event import EventReader, Fault, Metric  # noqa: E402
from fsgr_tui.core.training import CaptionerSize, SelfCritical  # noqa: E402
from tests.functional.training import Told, image_ids, run, start_child, write_foreign_features  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

# Dropout draws something else in every process.
STILL = CaptionerSize(d_model=64, layers=1, heads=4, feed_forward=128, dropout=0.0)


def together(data, spec) -> Told:
    child, events = start_child("fsgr_tui.train", spec, data.root)
    code = child.wait(120)
    return Told(code, list(EventReader(events).new()))


def weights(told: Told) -> dict:
    """What was learned. A bias of keys shifts all scores alike: its gradient is nothing but rounding, which the optimizer
    follows all the same, so it is left out.
    """
    found = torch.load(told.result["checkpoint"], weights_only=True)["learner"]["captioner"]
    biases = {name: value.view(3, -1)[[0, 2]] for name, value in found.items() if name.endswith("in_proj_bias")}
    return {**found, **biases}


def test_two_processes_give_the_curve_of_one_with_the_same_global_batch(data):
    asked = {"size": STILL, "max_steps": None, "epochs": 1, "critical": SelfCritical(epochs=1), "batch_size": 8}
    alone = run(data.spec(**asked, mode="realtime", pixels=str(data.pixels)))
    # The child tells twice a second; the checkpoint and the validation hold what all steps came to.
    both = together(data, data.spec(**asked, mode="realtime", pixels=str(data.pixels), processes=2))
    assert both.code == 0, both.events
    for name in ("first_loss", "val_loss", "steps"):
        assert both.result[name] == pytest.approx(alone.result[name], rel=1e-4)
    # From here on both draw their own captions.
    first = min(alone.metric("cider"))
    assert both.metric("val_loss")[first] == pytest.approx(alone.metric("val_loss")[first], rel=1e-4)
    assert both.metric("cider")[first] == pytest.approx(alone.metric("cider")[first], rel=1e-6)


def test_two_processes_end_with_the_weights_of_one_and_go_on_to_the_same(data):
    asked = {"size": STILL, "max_steps": 6}
    one = weights(run(data.spec(**asked)))
    spec = data.spec(**{**asked, "max_steps": 3}, processes=2)
    begun = together(data, spec)
    assert begun.code == 0, begun.events
    went_on = together(data, msgspec.structs.replace(spec, max_steps=6, resume=True))
    assert went_on.code == 0, went_on.events
    for name, value in weights(went_on).items():
        torch.testing.assert_close(value, one[name], rtol=1e-3, atol=1e-5)
    assert not list(data.root.glob(".ranks-*"))


def test_a_signal_to_the_launcher_stops_all_after_the_same_step(data):
    spec = data.spec(max_steps=None, epochs=10_000, processes=2)
    child, events = start_child("fsgr_tui.train", spec, data.root)
    reader, seen = EventReader(events), []
    try:
        until = time.monotonic() + 90
        while not any(isinstance(event, Metric) and event.step > 2 for event in seen):
            assert child.poll() is None
            assert time.monotonic() < until
            seen += reader.new()
            time.sleep(0.05)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 143
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    content = torch.load(Path(spec.output) / "demo_last.pth", weights_only=True)
    assert content["state"]["step"] > 2
    assert len(content["random"]["cpu"]) == 2


def test_a_fault_of_every_process_is_told_once_and_ends_the_run(data, tmp_path):
    ids = {*image_ids(data, "train"), *image_ids(data, "restval")}
    write_foreign_features(tmp_path / "some.hdf5", ids)
    told = together(data, data.spec(features=str(tmp_path / "some.hdf5"), processes=2))
    assert told.code == 1
    faults = told.all(Fault)
    assert faults
    assert all("has no features for 4 image ids" in fault.what for fault in faults)


def test_a_process_that_dies_takes_the_others_along(data):
    spec = data.spec(max_steps=None, epochs=10_000, processes=2)
    child, events = start_child("fsgr_tui.train", spec, data.root)
    reader, seen = EventReader(events), []
    try:
        until = time.monotonic() + 90
        while not any(isinstance(event, Metric) for event in seen):
            assert time.monotonic() < until
            seen += reader.new()
            time.sleep(0.05)
        second = next(
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and b"--rank\x001\x00" in _command(entry) and spec.output.encode() in _spec(entry)
        )
        os.kill(second, signal.SIGKILL)
        assert child.wait(60) not in (0, None)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def _spec(entry: Path) -> bytes:
    arguments = _command(entry).split(b"\0")
    return next(
        (Path(os.fsdecode(argument)).read_bytes() for argument in arguments if argument.endswith(b".json")), b""
    )


def test_a_batch_that_does_not_divide_is_refused(data):
    with pytest.raises(BadRequest, match="batch_size 16 does not divide among 3 processes"):
        run(data.spec(processes=3))
