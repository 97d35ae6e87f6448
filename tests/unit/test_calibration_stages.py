"""The stages of a measurement, with a clock of the test's own and with small real pieces."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fsgr_tui.calibrate import images, pictures, store  # noqa: E402 - after the look for torch
from fsgr_tui.calibrate.cache import evict  # noqa: E402
from fsgr_tui.calibrate.gpu_memory import outside_bytes  # noqa: E402
from fsgr_tui.calibrate.meter import LEAST_PATIENCE_S, MOST_OVERRUN, Meter, Stopped  # noqa: E402
from fsgr_tui.calibrate.steps import SYNTHETIC_LENGTHS, SYNTHETIC_WORDS, Captions  # noqa: E402
from fsgr_tui.core.coco import AVERAGE_JPEG_BYTES  # noqa: E402
from fsgr_tui.core.errors import FoundFaults, MachineCannot  # noqa: E402
from fsgr_tui.core.extraction import ModelChoice  # noqa: E402
from fsgr_tui.core.units import Estimate, Unknown  # noqa: E402
from fsgr_tui.features.build import FeatureBuild  # noqa: E402
from fsgr_tui.features.images import Image  # noqa: E402
from fsgr_tui.train.vocabulary import BOS, EOS, PAD  # noqa: E402
from tests.conftest import make_manifest, smooth_rows  # noqa: E402
from tests.fakes.calibration import rate  # noqa: E402

pytestmark = pytest.mark.torch

CHOICE = ModelChoice(clip_model="fsgr-demo-16", weights="random:0")


class FakeClock:
    """Time that goes on by itself with every look, or only when it is told to."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 100.0
        self._step = step

    def __call__(self) -> float:
        self.now += self._step
        return self.now


def make_meter(clock, *, unit="images", budget_s=10.0, stopping=lambda: False, told=None) -> Meter:
    return Meter(unit, budget_s, stopping, lambda *news: told.append(news) if told is not None else None, clock)


def test_a_stage_is_open_until_its_time_is_over():
    clock = FakeClock()
    meter = make_meter(clock)
    for _ in range(4):
        assert meter.open
        clock.now += 2.5
        meter.add(5, 2.5)

    assert not meter.open
    assert meter.rate() == rate(2, 2, 2)


def test_a_stage_with_too_few_stretches_goes_on_and_is_given_up_in_the_end():
    clock = FakeClock()
    meter = make_meter(clock)
    clock.now += 11.0
    meter.add(1, 11.0)
    assert meter.open

    clock.now += MOST_OVERRUN * 10.0
    assert not meter.open
    found = meter.rate()
    assert isinstance(found, Unknown)
    assert "1 of at least 3" in found.reason
    assert "give more --seconds" in found.reason


def test_a_short_stage_has_patience_with_a_slow_start():
    clock = FakeClock()
    meter = make_meter(clock, budget_s=0.5)
    clock.now += 0.9 * LEAST_PATIENCE_S
    assert meter.open
    clock.now += LEAST_PATIENCE_S
    assert not meter.open


def test_warm_up_does_not_count_against_the_time():
    clock = FakeClock()
    meter = make_meter(clock)
    clock.now += 9.9
    meter.begin()
    clock.now += 9.9
    assert meter.open


def test_a_stopped_stage_has_no_rate():
    meter = make_meter(FakeClock(), stopping=lambda: True)
    for _ in range(5):
        meter.add(1, 1.0)

    assert not meter.open
    with pytest.raises(Stopped):
        meter.rate()


def test_progress_is_told_now_and_then_with_the_rate_so_far():
    clock, told = FakeClock(), []
    meter = make_meter(clock, told=told)
    for _ in range(10):
        clock.now += 0.2
        meter.add(3, 0.2)

    assert len(told) == 3
    assert told[-1] == (27, pytest.approx(15.0))


def test_generated_pictures_are_of_cocos_usual_size(tmp_path):
    made = pictures.generate(tmp_path, count=6)

    sizes = [os.path.getsize(image.path) for image in made]
    assert 0.9 * AVERAGE_JPEG_BYTES < sum(sizes) / len(sizes) < 1.1 * AVERAGE_JPEG_BYTES
    assert len({Path(image.path).read_bytes() for image in made}) == 6


def test_decoding_hands_on_what_could_be_read_and_tells_the_rest(tmp_path):
    made = pictures.generate(tmp_path, count=2)
    (tmp_path / "bad.jpg").write_bytes(b"")

    found = images.decode([*made, Image(9, str(tmp_path / "bad.jpg"))], 224, CHOICE, 2, 3, make_meter(FakeClock(0.2)))

    assert isinstance(found.rate, Estimate)
    assert {image.id for image in found.readable} == {1, 2}
    assert found.refused == [(str(tmp_path / "bad.jpg"), "empty (0 bytes)")]
    assert found.pixels.shape == (3, 224, 224, 3)


def test_decoding_nothing_but_damaged_pictures_is_a_fault(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"")

    with pytest.raises(FoundFaults, match="None of the 1 images"):
        images.decode([Image(9, str(tmp_path / "bad.jpg"))], 224, CHOICE, 1, 3, make_meter(FakeClock(0.2)))


def test_a_few_images_pass_for_many():
    cycle = images.Cycle([Image(1, "a"), Image(2, "b")], 5)

    assert [image.id for image in cycle] == [1, 2, 1, 2, 1]
    assert [image.id for image in cycle[3:9]] == [2, 1]
    with pytest.raises(IndexError):
        cycle[5]


def test_writing_and_reading_go_through_a_real_feature_file(tmp_path):
    build = FeatureBuild.start(tmp_path / "rows.hdf5", make_manifest(), range(1, 41))
    written = store.write(build, smooth_rows(3), make_meter(FakeClock(0.5), unit="bytes", budget_s=4.0))
    file = store.publish(build)
    build.close()
    read, _ = store.read(file, 8, make_meter(FakeClock(0.5), unit="rows"))

    # Five rows at a time, and half a second between two looks at the clock.
    assert written == rate(7840, 7840, 7840, "bytes/s")
    assert read == rate(16, 16, 16, "rows/s")
    # The time was over before the last rows were written; they are left out of the file.
    assert 0 < len(file) < 40
    assert np.array_equal(file[2], smooth_rows(3)[1])


def test_a_scratch_folder_goes_however_the_work_ends(tmp_path):
    def fail() -> None:
        with store.scratch(tmp_path, "node7") as folder:
            (folder / "rows.hdf5.part").write_bytes(b"x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_takes_no_scratch_is_told(tmp_path):
    with pytest.raises(MachineCannot, match="cannot be made"), store.scratch(tmp_path / "gone", "node7"):
        pass


def test_synthetic_captions_are_of_cocos_vocabulary_and_length():
    captions = Captions("")
    batch = captions.batch(200)

    lengths = (batch != PAD).sum(1)
    assert captions.words == SYNTHETIC_WORDS
    assert int(lengths.min()) - 2 == SYNTHETIC_LENGTHS[0]
    assert int(lengths.max()) - 2 == SYNTHETIC_LENGTHS[1]
    assert bool((batch[:, 0] == BOS).all())
    assert bool(((batch == EOS).sum(1) == 1).all())
    assert int(batch.max()) < SYNTHETIC_WORDS


def test_real_captions_bring_their_own_vocabulary(demo_root):
    captions = Captions(str(demo_root / "m2_annotations"))

    assert 20 < captions.words < SYNTHETIC_WORDS
    assert captions.batch(16).shape[0] == 16


def test_cold_is_claimed_only_where_the_kernel_confirms_it(tmp_path):
    # Data that is not on the disk yet cannot be forgotten.
    (tmp_path / "dirty").write_bytes(b"x" * 8192)
    assert evict([tmp_path / "dirty"]) is False
    assert evict([tmp_path / "gone"]) is False


def test_a_cpu_has_no_gpu_memory_to_tell():
    assert outside_bytes(torch.device("cpu"), {"GPU-1": 5}) == 0
