"""The remembered counts: used while a folder stays as it is, and never otherwise."""

from __future__ import annotations

import os
import time

import pytest

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.probes import counts, dataset
from fsgr_tui.probes.counts import CountMemory
from fsgr_tui.probes.dataset import probe_dataset, probe_split


@pytest.fixture
def memory(tmp_path):
    return CountMemory(tmp_path / "cache" / "counts")


@pytest.fixture
def images(tmp_path):
    """A folder that has been at rest for an hour."""
    folder = tmp_path / "images" / "train2014"
    folder.mkdir(parents=True)
    for number in range(20):
        (folder / f"COCO_train2014_{number:012d}.jpg").write_bytes(b"12345")
    (folder / "Thumbs.db").touch()
    (folder / "cover.jpg").touch()
    rest(folder)
    return folder


def rest(folder, seconds=3600):
    at = time.time() - seconds
    os.utime(folder, (at, at))


@pytest.fixture
def listings(monkeypatch):
    """Every folder that is listed from here on."""
    listed = []
    real = dataset.count_folder
    monkeypatch.setattr(dataset, "count_folder", lambda folder: listed.append(folder.name) or real(folder))
    return listed


def test_an_unchanged_folder_is_listed_once(images, memory, listings):
    first = probe_split(images.parent, "train2014", memory)
    second = probe_split(images.parent, "train2014", memory)
    assert listings == ["train2014"]
    assert (first.remembered, second.remembered) == (False, True)
    for facts in (first, second):
        assert (facts.found, facts.bytes, facts.ignored, facts.unnamed, facts.unnamed_example) == (
            21,
            100,
            1,
            1,
            "cover.jpg",
        )


@pytest.mark.parametrize("change", ["added", "deleted", "renamed"])
def test_a_changed_folder_is_listed_again(images, memory, listings, change):
    probe_split(images.parent, "train2014", memory)
    some = next(images.glob("COCO*"))
    {
        "added": (images / "COCO_train2014_000000000999.jpg").touch,
        "deleted": some.unlink,
        "renamed": lambda: some.rename(images / "COCO_train2014_000000000998.jpg"),
    }[change]()
    again = probe_split(images.parent, "train2014", memory)
    assert listings == ["train2014"] * 2
    assert again.found == {"added": 22, "deleted": 20, "renamed": 21}[change]


def test_another_folder_under_the_same_path_is_listed_again(images, memory, listings):
    probe_split(images.parent, "train2014", memory)
    before = images.stat()
    images.rename(images.with_name("old"))
    images.mkdir()
    os.utime(images, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert probe_split(images.parent, "train2014", memory).found == 0
    assert len(listings) == 2


def test_a_folder_that_changed_a_moment_ago_is_not_remembered(images, memory, listings):
    rest(images, seconds=1)
    for _ in range(2):
        assert not probe_split(images.parent, "train2014", memory).remembered
    assert len(listings) == 2


def test_a_folder_that_changes_while_it_is_listed_is_not_remembered(images, memory, monkeypatch):
    real = dataset.count_folder

    def disturbed(folder):
        count = real(folder)
        (folder / "COCO_train2014_000000000777.jpg").touch()
        rest(folder, seconds=1800)
        return count

    monkeypatch.setattr(dataset, "count_folder", disturbed)
    probe_split(images.parent, "train2014", memory)
    monkeypatch.undo()
    assert probe_split(images.parent, "train2014", memory).found == 22


def test_a_recount_lists_and_is_remembered_in_its_turn(images, memory, listings):
    probe_split(images.parent, "train2014", memory)
    assert not probe_split(images.parent, "train2014", memory, recount=True).remembered
    assert probe_split(images.parent, "train2014", memory).remembered
    assert len(listings) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema":"fsgr-tui/count/9"}', b"\xff\xfe"])
def test_a_damaged_entry_counts_as_none(images, memory, tmp_path, listings, damage):
    probe_split(images.parent, "train2014", memory)
    (entry,) = (tmp_path / "cache" / "counts").glob("*.json")
    entry.write_bytes(damage)
    assert probe_split(images.parent, "train2014", memory).found == 21
    assert len(listings) == 2


def test_a_cache_that_cannot_be_written_is_left_out(images, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    assert probe_split(images.parent, "train2014", CountMemory(in_the_way / "counts")).found == 21


def test_no_draft_stays_behind(images, memory, tmp_path):
    probe_split(images.parent, "train2014", memory)
    assert [path.suffix for path in (tmp_path / "cache" / "counts").iterdir()] == [".json"]


def test_the_oldest_entries_go(tmp_path, memory, monkeypatch):
    monkeypatch.setattr(counts, "MOST_ENTRIES", 2)
    for number in range(4):
        folder = tmp_path / f"images{number}" / "train2014"
        folder.mkdir(parents=True)
        rest(folder)
        probe_split(folder.parent, "train2014", memory)
    assert len(list((tmp_path / "cache" / "counts").glob("*.json"))) == 2
    assert probe_split(folder.parent, "train2014", memory).remembered


def test_a_file_name_that_is_no_utf8_is_remembered(images, memory):
    folder = images.parent / os.fsdecode(b"tr\xe9")
    folder.mkdir()
    (folder / "9.jpg").touch()
    rest(folder)
    for remembered in (False, True):
        facts = probe_split(images.parent, folder.name, memory)
        assert (facts.found, facts.remembered) == (1, remembered)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_named(images):
    images.chmod(0)
    with pytest.raises(MachineCannot, match="cannot be read"):
        probe_dataset(str(images.parent), ("train2014",))


@pytest.mark.slow
def test_all_images_of_the_karpathy_split_are_counted_within_two_seconds(tmp_path):
    folder = tmp_path / "train2014"
    folder.mkdir()
    for number in range(123_287):
        os.close(os.open(f"{folder}/COCO_train2014_{number:012d}.jpg", os.O_CREAT, 0o600))
    # The processor's time, since other programs may run beside the tests.
    best = min(_counting_s(folder) for _ in range(3))
    assert best < 2


def _counting_s(folder) -> float:
    began = time.process_time()
    assert dataset.count_folder(folder).found == 123_287
    return time.process_time() - began
