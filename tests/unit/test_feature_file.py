"""The feature file: built, killed, resumed, published, read."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import signal
import time

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsgr_tui.core.errors import BadRequest, FoundFaults, MachineCannot
from fsgr_tui.features import ledger as ledgers
from fsgr_tui.features.build import BuildPaths, FeatureBuild
from fsgr_tui.features.images import Image, ids_digest, read_image_list, write_image_list
from fsgr_tui.features.ledger import Ledger
from fsgr_tui.features.opening import NotAFeatureFile, lock_holder, open_hdf5
from fsgr_tui.features.reader import FeatureFile, MissingIds
from tests.conftest import build_file, make_manifest, smooth_rows

IDS = (5, 3, 900, 7, 42, 11)


def started(path, ids=IDS, **options) -> FeatureBuild:
    return FeatureBuild.start(path, make_manifest(), ids, **options)


def test_any_h5py_code_reads_what_was_written(tmp_path):
    rows = smooth_rows(len(IDS))
    path = build_file(tmp_path / "f.hdf5", IDS, rows)
    with h5py.File(path) as file:
        for image_id, row in zip(IDS, rows, strict=True):
            assert (file[f"{image_id}_grids"][()] == row).all()
        assert len(file) == len(IDS)
        assert file.attrs["clip_model"] == "ViT-B-16"


def test_nothing_is_left_beside_a_published_file(tmp_path):
    build_file(tmp_path / "f.hdf5", IDS)
    assert os.listdir(tmp_path) == ["f.hdf5"]


def test_rows_lie_at_equal_distances_in_one_run(tmp_path):
    ids = tuple(range(1000))
    path = build_file(tmp_path / "f.hdf5", ids)
    with h5py.File(path) as file:
        offsets = [file[f"{image_id}_grids"].id.get_offset() for image_id in ids]
    assert set(np.diff(offsets)) == {49 * 8 * 2}


def test_the_manifest_comes_back_as_it_was(tmp_path):
    path = build_file(tmp_path / "f.hdf5", IDS, versions={"torch": "2.14"}, splits=("train2014", "val2014"))
    found = FeatureFile(path).manifest
    assert found is not None
    assert found.identity() == make_manifest().identity()
    assert (found.images, found.refused, found.splits, found.versions) == (
        6,
        0,
        ("train2014", "val2014"),
        {"torch": "2.14"},
    )
    assert found.ids_sha256 == ids_digest(IDS)


def test_refused_images_have_no_key_and_shift_nobody(tmp_path):
    rows = smooth_rows(len(IDS))
    build = started(tmp_path / "f.hdf5")
    build.refuse(2, "/data/caf\udce9.jpg", "empty (0 bytes)")
    build.write([0, 1], rows[:2])
    build.write([3, 4, 5], rows[3:])
    manifest = build.publish()
    build.close()
    file = FeatureFile(tmp_path / "f.hdf5")
    assert (manifest.images, manifest.refused) == (5, 1)
    assert file.ids.tolist() == [3, 5, 7, 11, 42]
    assert (file.read([5, 3, 7, 42, 11]) == rows[[0, 1, 3, 4, 5]]).all()
    with h5py.File(tmp_path / "f.hdf5") as raw:
        assert json.loads(raw.attrs["refused_images"]) == [[900, "/data/caf\udce9.jpg", "empty (0 bytes)"]]


def test_a_file_with_missing_rows_is_never_published(tmp_path):
    build = started(tmp_path / "f.hdf5")
    build.write([0], smooth_rows(1))
    with pytest.raises(FoundFaults, match="5 of 6 rows"):
        build.publish()
    assert not (tmp_path / "f.hdf5").exists()


def test_resuming_goes_on_where_the_ledger_ends(tmp_path):
    rows = smooth_rows(len(IDS))
    build = started(tmp_path / "f.hdf5")
    build.write([0, 1], rows[:2])
    build.commit()
    build.write([2], rows[2:3])
    build.close()
    again = started(tmp_path / "f.hdf5", resume=True)
    assert again.missing == [2, 3, 4, 5]
    again.write([2, 3, 4, 5], rows[2:])
    again.publish()
    assert (FeatureFile(tmp_path / "f.hdf5").read(IDS) == rows).all()


def test_a_row_that_changed_on_the_disk_is_extracted_again(tmp_path):
    build = started(tmp_path / "f.hdf5")
    build.write(range(6), smooth_rows(6))
    build.commit()
    build.close()
    part = tmp_path / "f.hdf5.part"
    with part.open("r+b") as file:
        file.seek(part.stat().st_size - 10)
        file.write(b"\xff\xff")
    again = started(tmp_path / "f.hdf5", resume=True)
    assert again.missing == [5]
    again.close()


def test_publishing_verifies_every_row_against_its_checksum(tmp_path):
    build = started(tmp_path / "f.hdf5")
    build.write(range(6), smooth_rows(6))
    build.commit()
    with (tmp_path / "f.hdf5.part").open("r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"\xff\xff")
    with pytest.raises(FoundFaults, match="changed on the disk"):
        build.publish()
    assert not (tmp_path / "f.hdf5").exists()
    assert build.missing == [5]


def test_a_publishing_step_that_was_cut_off_is_undone_on_resume(tmp_path, monkeypatch):
    rows = smooth_rows(len(IDS))
    build = started(tmp_path / "f.hdf5")
    build.refuse(5, "/x.jpg", "empty")
    build.write(range(5), rows[:5])
    monkeypatch.setattr("fsgr_tui.features.build.sync_path", fail_after(1))
    with pytest.raises(MachineCannot):
        build.publish()
    build.close()
    monkeypatch.undo()
    # The head is damaged on top, as a kill in the middle of HDF5's own writing leaves it.
    with (tmp_path / "f.hdf5.part").open("r+b") as file:
        file.write(b"\0" * 512)
    again = started(tmp_path / "f.hdf5", resume=True)
    assert again.missing == [5]
    again.write([5], rows[5:])
    again.publish()
    assert (FeatureFile(tmp_path / "f.hdf5").read(IDS) == rows).all()


def fail_after(calls: int):
    seen = []

    def sync(path):
        seen.append(path)
        if len(seen) > calls:
            raise OSError(errno.EIO, "I/O error")

    return sync


@pytest.mark.parametrize(
    "change", [{"precision": "bf16"}, {"activation": "quick-gelu"}, {"resize": "crop"}, {"weights_sha256": "1" * 64}]
)
def test_resuming_with_another_identity_is_refused_and_names_it(tmp_path, change):
    started(tmp_path / "f.hdf5").close()
    with pytest.raises(BadRequest, match=next(iter(change))):
        FeatureBuild.start(tmp_path / "f.hdf5", make_manifest(**change), IDS, resume=True)


def test_resuming_with_other_images_is_refused(tmp_path):
    started(tmp_path / "f.hdf5").close()
    with pytest.raises(BadRequest, match="other images"):
        started(tmp_path / "f.hdf5", ids=(*IDS[:-1], 12), resume=True)


def test_an_existing_file_is_only_replaced_when_asked_and_stays_until_the_end(tmp_path):
    path = build_file(tmp_path / "f.hdf5", IDS)
    with pytest.raises(BadRequest, match="exists already"):
        started(path)
    build = started(path, overwrite=True)
    assert (FeatureFile(path).read(IDS) == smooth_rows(6)).all()
    build.write(range(6), smooth_rows(6, seed=1))
    build.publish()
    build.close()
    assert (FeatureFile(path).read(IDS) == smooth_rows(6, seed=1)).all()


def test_unfinished_work_is_neither_resumed_nor_dropped_without_a_word(tmp_path):
    started(tmp_path / "f.hdf5").close()
    with pytest.raises(BadRequest, match="unfinished"):
        started(tmp_path / "f.hdf5")


def test_two_writers_cannot_work_on_one_file(tmp_path):
    build = started(tmp_path / "f.hdf5")
    with pytest.raises(MachineCannot, match=f"pid {os.getpid()}"):
        started(tmp_path / "f.hdf5", resume=True)
    build.close()
    started(tmp_path / "f.hdf5", resume=True).close()


def test_a_file_system_without_locks_is_told_apart_from_a_busy_file(tmp_path, monkeypatch):
    def no_locks(fd, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(ledgers.fcntl, "flock", no_locks)
    with pytest.raises(MachineCannot, match="no file locks") as caught:
        started(tmp_path / "f.hdf5")
    assert "HDF5_USE_FILE_LOCKING=FALSE" in caught.value.fix


@pytest.mark.parametrize(("number", "word"), [(errno.ENOSPC, "No space left"), (errno.EDQUOT, "quota is used up")])
def test_a_full_disk_and_a_full_quota_are_told_apart(tmp_path, monkeypatch, number, word):
    build = started(tmp_path / "f.hdf5")

    def full(fd, data, offset):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(MachineCannot, match=word) as caught:
        build.write([0], smooth_rows(1))
    assert caught.value.exit_code == 3
    assert "quota" in (caught.value.what + caught.value.fix)


def test_a_ledger_that_finds_no_space_is_told_as_a_full_disk(tmp_path, monkeypatch):
    build = started(tmp_path / "f.hdf5")
    build.refuse(0, "/a.jpg", "empty")
    build.write([1], smooth_rows(1))

    def full(fd, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fsgr_tui.features.ledger.os.write", full)
    for attempt in (lambda: build.refuse(2, "/b.jpg", "empty"), build.commit):
        with pytest.raises(MachineCannot, match="No space left"):
            attempt()
    build.close()
    with pytest.raises(MachineCannot, match="No space left"):
        started(tmp_path / "f.hdf5", resume=True)
    monkeypatch.undo()
    again = started(tmp_path / "f.hdf5", resume=True)
    assert again.missing == [0, 1, 2, 3, 4, 5]
    again.close()


def test_a_disk_that_is_full_while_hdf5_closes_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    real = FeatureBuild._create_datasets

    def full(build):
        real(build)
        raise RuntimeError(
            "Can't decrement id ref count (file write failed: errno = 28, error message = 'No space left')"
        )

    monkeypatch.setattr(FeatureBuild, "_create_datasets", full)
    with pytest.raises(MachineCannot, match="No space left"):
        started(tmp_path / "f.hdf5")
    assert os.listdir(tmp_path) == []


def test_a_short_write_is_finished_not_believed(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:100], offset))
    rows = smooth_rows(len(IDS))
    path = build_file(tmp_path / "f.hdf5", IDS, rows)
    assert (FeatureFile(path).read(IDS) == rows).all()


def test_no_image_at_all_gives_no_file(tmp_path):
    build = started(tmp_path / "f.hdf5", ids=(1, 2))
    build.refuse(0, "/a.jpg", "empty")
    build.refuse(1, "/b.jpg", "empty")
    with pytest.raises(FoundFaults, match=r"/a\.jpg: empty"):
        build.publish()
    build.close()
    assert os.listdir(tmp_path) == []


def test_the_same_id_twice_is_refused(tmp_path):
    with pytest.raises(BadRequest, match="twice"):
        started(tmp_path / "f.hdf5", ids=(1, 1))


@pytest.mark.parametrize("rows", [np.zeros((1, 49, 9), np.float16), np.zeros((1, 49, 8), np.float32)])
def test_rows_of_another_kind_are_not_written(tmp_path, rows):
    build = started(tmp_path / "f.hdf5")
    with pytest.raises(ValueError, match="expected"):
        build.write([0], rows)
    build.close()


def test_finished_rows_are_taken_over_into_a_larger_file(tmp_path):
    rows = smooth_rows(9)
    path = build_file(tmp_path / "f.hdf5", (1, 2, 3), rows[:3])
    old = FeatureFile(path)
    build = FeatureBuild.start(path, make_manifest(), tuple(range(1, 10)), overwrite=True)
    assert build.adopt(old) == 3
    assert build.missing == [3, 4, 5, 6, 7, 8]
    build.write(build.missing, rows[3:])
    build.publish()
    build.close()
    assert (FeatureFile(path).read(range(1, 10)) == rows).all()


def kill_while_writing(path, delay):
    build = started(path, ids=tuple(range(400)), resume=True)
    rows = smooth_rows(400)
    os.write(delay, b"x")
    for row in build.missing:
        build.write([row], rows[row : row + 1])
        if row % 7 == 0:
            build.commit()
            time.sleep(0.002)
    build.publish()
    os._exit(0)


@pytest.mark.slow
def test_no_kill_at_any_moment_loses_a_confirmed_row(tmp_path):
    """SIGKILL at random moments until the file is whole; every ledger row must hold its data each time."""
    path, generator = tmp_path / "f.hdf5", np.random.default_rng(0)
    context = multiprocessing.get_context("fork")
    rows, confirmed, kills = smooth_rows(400), 0, 0
    for _ in range(200):
        if path.exists():
            break
        ready, started_fd = os.pipe()
        child = context.Process(target=kill_while_writing, args=(path, started_fd))
        child.start()
        os.read(ready, 1)
        time.sleep(float(generator.uniform(0, 0.06)))
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.join()
        os.close(ready)
        os.close(started_fd)
        if path.exists():
            break
        open_hdf5(BuildPaths(path).part).close()
        book = Ledger(BuildPaths(path).ledger)
        assert len(book.done) >= confirmed
        confirmed = len(book.done)
        book.close()
    file = FeatureFile(path)
    assert (file.read(range(400)) == rows).all()
    assert kills >= 3
    assert confirmed > 0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 4000), st.binary(max_size=60))
def test_a_ledger_that_was_cut_anywhere_keeps_its_whole_lines(cut, rubbish):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.ledger"
        book = Ledger(path)
        for row in range(40):
            book.add_done([row], [row * 17])
        book.close()
        whole = path.read_bytes()
        cut = min(cut, len(whole))
        path.write_bytes(whole[:cut] + (rubbish if cut else b""))
        if cut:
            again = Ledger(path)
            assert again.done == {row: row * 17 for row in range(len(again.done))}
            # Whole lines before the cut survive; the first line is the note of who opened the ledger.
            assert len(again.done) >= whole[:cut].count(b"\n") - 1
            again.close()


def test_a_foreign_file_in_the_ledgers_place_is_left_alone(tmp_path):
    (tmp_path / "f.hdf5.ledger").write_text("my notes\n")
    with pytest.raises(BadRequest, match="not a ledger"):
        started(tmp_path / "f.hdf5")
    assert (tmp_path / "f.hdf5.ledger").read_text() == "my notes\n"


def read_many(file, seed, answers):
    generator = np.random.default_rng(seed)
    ids = generator.choice(file.ids, 1000)
    answers.put(bool((file.read(ids.tolist())[:, 0, 0] == ids).all()))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_every_kind_read_the_rows_of_their_ids(tmp_path, method):
    ids = tuple(range(0, 900, 3))
    rows = np.repeat(np.array(ids, np.float16), 49 * 8).reshape(len(ids), 49, 8)
    file = FeatureFile(build_file(tmp_path / "f.hdf5", ids, rows))
    file.read([0])
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    workers = [context.Process(target=read_many, args=(file, seed, answers)) for seed in range(2)]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=60) for _ in workers] == [True, True]
    for worker in workers:
        worker.join()


def test_a_reader_travels_without_its_handles(tmp_path):
    file = FeatureFile(build_file(tmp_path / "f.hdf5", IDS))
    before = file[900]
    again = pickle.loads(pickle.dumps(file))
    assert (again[900] == before).all()


def test_a_missing_id_is_named_and_the_buffer_stays_as_it_was(tmp_path):
    file = FeatureFile(build_file(tmp_path / "f.hdf5", IDS))
    out = np.full((2, 49, 8), 7, np.float16)
    with pytest.raises(MissingIds, match="12345"):
        file.read([900, 12345], out)
    assert (out == 7).all()


def test_a_file_that_was_replaced_is_not_read_with_old_offsets(tmp_path):
    path = build_file(tmp_path / "f.hdf5", IDS)
    file = FeatureFile(path)
    path.unlink()
    build_file(path, (1, 2, 3))
    with pytest.raises(FoundFaults, match="replaced or changed"):
        file.read([5])


def legacy(path, ids, *, key="{}_grids", shape=(49, 8), **options):
    with h5py.File(path, "w") as file:
        for number, image_id in enumerate(ids):
            file.create_dataset(key.format(image_id), data=np.full(shape, number, np.float32), **options)
    return path


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "gzip", "compression_opts": 6}, {"chunks": (7, 8)}, {"dtype": ">f4"}, {"fletcher32": True}],
    ids=["contiguous", "gzip", "chunked", "big-endian", "checksummed"],
)
def test_files_of_other_programs_are_read_through_h5py(tmp_path, options):
    file = FeatureFile(legacy(tmp_path / "old.hdf5", IDS, **options))
    assert file.manifest is None
    assert file.read(IDS)[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("key", ["{}_features", "{}_grids"])
def test_the_fields_key_names_are_recognised(tmp_path, key):
    path = legacy(tmp_path / "old.hdf5", IDS, key=key)
    with h5py.File(path, "a") as raw:
        raw["5_boxes"] = np.zeros((3, 4))
        raw["info"] = np.zeros(1)
    file = FeatureFile(path)
    assert file.layout.suffix == key.removeprefix("{}_")
    assert set(file.layout.other_keys) == {"5_boxes", "info"}


def test_a_half_download_is_told_with_its_missing_bytes(tmp_path):
    path = build_file(tmp_path / "f.hdf5", IDS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-4096])
    with pytest.raises(NotAFeatureFile, match=r"truncated.*4,096 are missing"):
        FeatureFile(path)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"<!DOCTYPE html><html>" + b"x" * 3000, "HTML page"),
        (b"", "empty file"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\0" * 5000, "begins with zeros"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 88, "damaged"),
        (b"hello there", "no known kind"),
    ],
)
def test_what_is_no_hdf5_is_told_for_what_it_is(tmp_path, content, word):
    path = tmp_path / "coco.hdf5"
    path.write_bytes(content)
    with pytest.raises(NotAFeatureFile, match=word) as caught:
        FeatureFile(path)
    assert str(path) in caught.value.what


def test_a_path_that_is_not_there_points_to_the_unfinished_file(tmp_path):
    started(tmp_path / "f.hdf5").close()
    with pytest.raises(BadRequest) as caught:
        FeatureFile(tmp_path / "f.hdf5")
    assert "--resume" in caught.value.fix


def test_a_file_that_somebody_writes_is_in_use_not_corrupt(tmp_path):
    path = build_file(tmp_path / "f.hdf5", IDS)
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=hold_open, args=(path, ready, done))
    holder.start()
    assert ready.wait(30)
    try:
        with pytest.raises(MachineCannot, match=r"in use: (process \d+|another process) has it open"):
            FeatureFile(path)
    finally:
        done.set()
        holder.join()


def test_the_process_that_holds_a_lock_is_named_where_the_kernel_knows_it(tmp_path):
    path, locks = build_file(tmp_path / "f.hdf5", IDS), tmp_path / "locks"
    inode = path.stat().st_ino
    locks.write_text(
        f"1: FLOCK  ADVISORY  WRITE 77 08:01:{inode + 1} 0 EOF\n2: FLOCK  ADVISORY  WRITE 4242 08:01:{inode} 0 EOF\n"
    )
    assert lock_holder(path, locks) == "process 4242"
    # On a network file system the holder is on another machine, and has the number -1 here.
    locks.write_text(f"1: FLOCK  ADVISORY  WRITE -1 00:2f:{inode} 0 EOF\n")
    assert lock_holder(path, locks) == "another process"
    assert lock_holder(path, tmp_path / "absent") == "another process"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, 524])
def test_reading_where_there_are_no_locks_names_the_variable_and_calls_nothing_corrupt(tmp_path, monkeypatch, number):
    path = build_file(tmp_path / "f.hdf5", IDS)

    def refuse(*_, **__):
        raise OSError(
            f"Unable to synchronously open file (unable to lock file, errno = {number}, error message = 'No locks')"
        )

    monkeypatch.setattr("fsgr_tui.features.reader.h5py.File", refuse)
    with pytest.raises(MachineCannot, match="no file locks") as caught:
        FeatureFile(path)
    assert "HDF5_USE_FILE_LOCKING=FALSE" in caught.value.fix


def hold_open(path, ready, done):
    with h5py.File(path, "a"):
        ready.set()
        done.wait(30)


def test_image_lists_carry_any_file_name(tmp_path):
    images = (Image(1, "/data/a b\t\n.jpg"), Image(2, os.fsdecode(b"/data/caf\xe9.jpg")), Image(3, "/data/图片.jpg"))
    write_image_list(tmp_path / "images", images)
    assert read_image_list(tmp_path / "images") == images


def test_the_digest_of_ids_does_not_depend_on_their_order():
    assert ids_digest([3, 1, 2]) == ids_digest([1, 2, 3]) != ids_digest([1, 2, 4])
