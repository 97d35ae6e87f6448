"""A disk that does not take what is to be written is refused with the true reason, before any work."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.machine import Disk
from fsgr_tui.core.preflight import disk_findings
from fsgr_tui.core.units import GB, Unknown
from fsgr_tui.probes.disk import LocalDisks, probe_disk
from fsgr_tui.service.diagnosis import _disk_words
from fsgr_tui.service.extraction import require_space
from fsgr_tui.service.space import require_writable, reserve_bytes


class Hanging(LocalDisks):
    """The disks of this machine, whose file system does not answer until the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def statvfs(self, directory: str) -> os.statvfs_result:
        self.over.wait(20)
        return super().statvfs(directory)


@pytest.fixture
def hung(tmp_path):
    system = Hanging()
    yield probe_disk(tmp_path / "f", system, timeout_s=0.1)
    system.over.set()


def disk(*, writable: bool = True, free: int | Unknown = 100 * GB, total: int | Unknown = 200 * GB) -> Disk:
    return Disk("/d", "/d", "ext4", "/dev/vda", total, free, Unknown("none"), 10**6, writable)


def test_a_hung_disk_is_told_as_one_that_did_not_answer_and_not_as_read_only(hung, tmp_path):
    assert not hung.writable
    with pytest.raises(MachineCannot) as refusal:
        require_space(tmp_path / "f.hdf5", 10, hung)
    assert refusal.value.what == f"The disk of {tmp_path} did not answer (no answer within 0.1 s)."
    assert "Choose another --output-path." in refusal.value.fix
    (finding,) = disk_findings(hung, 10, 1, "features")
    assert finding.needed == "a disk that answers"
    assert "NOT WRITABLE" not in _disk_words(hung)


def test_a_folder_without_the_right_to_write_is_told_as_that():
    with pytest.raises(MachineCannot, match=r"^/d is not writable\."):
        require_writable(disk(writable=False), Path("/d"), "Choose another.")
    assert "NOT WRITABLE" in _disk_words(disk(writable=False))


def test_a_file_system_that_reports_no_size_did_answer(tmp_path):
    sizeless = disk(free=Unknown("this file system reports no size"), total=Unknown("this file system reports no size"))
    assert sizeless.silence is None
    assert require_space(tmp_path / "f.hdf5", 10, sizeless) is None


def test_the_reserve_of_a_small_file_is_small():
    assert reserve_bytes(10 * GB) == round(0.07 * 10 * GB)
    assert reserve_bytes(1000 * GB) == 25 * GB


def test_nothing_else_asks_a_hung_disk_first(monkeypatch, tmp_path, demo_root):
    from fsgr_tui.core.extraction import ModelChoice
    from fsgr_tui.service import extraction

    system = Hanging()
    monkeypatch.setattr(extraction, "probe_disk", lambda path: probe_disk(path, system, timeout_s=0.1))
    monkeypatch.setattr(extraction, "require_free_name", lambda *_: pytest.fail("the hung disk was asked for a name"))
    began = time.monotonic()
    request = extraction.ExtractRequest(
        image_root=str(demo_root / "images"), splits=("train2014",), output=str(tmp_path / "f.hdf5"),
        model=ModelChoice(clip_model="ViT-B/16", weights="random:0"),
    )  # fmt: skip
    with pytest.raises(MachineCannot, match="did not answer"):
        extraction.prepare(request)
    system.over.set()
    assert time.monotonic() - began < 10
