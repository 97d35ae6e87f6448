"""What a measurement refuses, and what it takes its pictures from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsgr_tui.core.bench import scratch_name
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.probes.host import probe_host
from fsgr_tui.service import bench
from tests.unit.test_probe_disk import FakeDisks, counts

MODEL = ModelChoice(clip_model="fsgr-demo-16", weights="random:0")


def request(folder: Path, **changes) -> bench.BenchRequest:
    return bench.BenchRequest(**{"model": MODEL, "features_dir": str(folder / "new" / "features"), **changes})


def test_a_disk_without_room_is_refused_with_what_is_needed(tmp_path):
    # 66,000 blocks of 4096 bytes: room for the file, none to leave for others.
    full = FakeDisks(space=counts(blocks=10**6, bavail=66_000))

    with pytest.raises(MachineCannot, match="Not enough space") as refusal:
        bench.prepare(request(tmp_path), full)

    assert "the temporary file takes" in refusal.value.what
    assert "--features-dir" in refusal.value.fix


def test_a_folder_that_may_not_be_written_is_refused(tmp_path):
    with pytest.raises(MachineCannot, match="is not writable"):
        bench.prepare(request(tmp_path), FakeDisks(writable=False))


@pytest.fixture
def installed(monkeypatch):
    """The packages count as installed: nothing of them is used before the child starts."""
    monkeypatch.setattr(bench, "require_packages", lambda _command: None)


@pytest.mark.usefixtures("installed")
def test_the_temporary_file_lies_on_the_file_system_of_features_that_are_not_there_yet(tmp_path):
    prepared = bench.prepare(request(tmp_path))

    assert prepared.parent == tmp_path
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("installed")
def test_large_rows_are_fewer_so_that_the_file_stays_small(tmp_path):
    large = ModelChoice(clip_model="ViT-L-14-336", weights="random:0", grid="native", dtype="float32")
    prepared = bench.prepare(request(tmp_path, model=large))

    assert prepared.rows == 108
    assert prepared.need_bytes < 300_000_000


@pytest.mark.usefixtures("installed")
def test_without_images_pictures_are_generated_and_the_published_counts_are_planned_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepared = bench.prepare(request(tmp_path))

    assert prepared.images == ()
    assert prepared.dataset_images == 123_287


@pytest.mark.usefixtures("installed")
def test_the_pictures_of_all_splits_are_sampled(tmp_path):
    for split, count in (("train2014", 3), ("val2014", 2)):
        (tmp_path / split).mkdir()
        for number in range(count):
            (tmp_path / split / f"COCO_{split}_{number:012d}.jpg").write_bytes(b"x")

    prepared = bench.prepare(request(tmp_path, image_root=str(tmp_path)))

    assert len({image.path for image in prepared.images}) == prepared.dataset_images == 5
    assert [image.id for image in prepared.images] == [1, 2, 3, 4, 5]
    assert prepared.dataset == "train2014, val2014"


@pytest.mark.usefixtures("installed")
def test_a_folder_of_pictures_without_splits_or_ids_will_do(tmp_path):
    for name in ("holiday.jpg", "dog.png"):
        (tmp_path / name).write_bytes(b"x")

    prepared = bench.prepare(request(tmp_path, image_root=str(tmp_path)))

    assert {os.path.basename(image.path) for image in prepared.images} == {"holiday.jpg", "dog.png"}
    assert prepared.dataset_images == 2


def test_a_folder_without_pictures_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(BadRequest, match="There are no images in") as refusal:
        bench.prepare(request(tmp_path, image_root=str(tmp_path)))
    assert "leave --image-root out" in refusal.value.fix


@pytest.mark.usefixtures("installed")
def test_what_a_kill_left_is_swept_and_nothing_else(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = probe_host().name
    dead, alive = tmp_path / scratch_name(host, ended.pid), tmp_path / scratch_name(host, os.getpid())
    elsewhere = tmp_path / scratch_name("node8", ended.pid)
    for folder in (dead, alive, elsewhere):
        folder.mkdir()
        (folder / "rows.hdf5").write_bytes(b"x")
    (tmp_path / "coco.hdf5").write_bytes(b"x")

    bench.sweep(bench.prepare(request(tmp_path)))

    assert sorted(os.listdir(tmp_path)) == sorted([alive.name, elsewhere.name, "coco.hdf5"])
