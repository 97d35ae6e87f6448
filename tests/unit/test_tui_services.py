"""The screen's own use cases: which feature files there are."""

import pytest

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.tui.services import real_services


def test_feature_files_of_the_folder_and_of_jobs_are_listed_once(tmp_path):
    features = tmp_path / "features"
    features.mkdir()
    (features / "a.hdf5").write_bytes(b"12")
    (features / "b.h5.part").write_bytes(b"1")
    (features / "notes.txt").write_bytes(b"")
    elsewhere = tmp_path / "c.hdf5"
    elsewhere.write_bytes(b"123")
    further = (str(elsewhere), str(features / "a.hdf5"), str(tmp_path / "deleted.hdf5"))
    found = {file.path: file for file in real_services().files(str(features), further)}
    assert set(found) == {str(features / "a.hdf5"), str(features / "b.h5.part"), str(elsewhere)}
    assert found[str(features / "b.h5.part")].unfinished
    assert found[str(elsewhere)].bytes == 3


def test_a_folder_that_is_not_there_yet_holds_nothing(tmp_path):
    assert real_services().files(str(tmp_path / "none"), ()) == ()


def test_a_folder_that_may_not_be_read_is_a_fault_with_its_name(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(MachineCannot, match="loop"):
        real_services().files(str(loop), ())


def test_a_fault_of_the_file_system_is_a_problem_with_its_name_and_not_a_crash(tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    runs.write_text("no folder")
    monkeypatch.setenv("FSGR_TUI_RUNS", str(runs))
    with pytest.raises(MachineCannot, match="runs: Not a directory"):
        real_services().jobs("")
