"""The screen's own use cases: which feature files there are, and starting what the run form asks for."""

import time

import pytest

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import find_run, new_run
from fsgr_tui.tui.order import order_for
from fsgr_tui.tui.run_fields import AFTER, IN_TURN, PRECOMPUTED, texts_for
from fsgr_tui.tui.services import real_services
from fsgr_tui.tui.widgets.queue import waiting_jobs
from tests.fakes import screen as fakes

TEXTS = {**texts_for(fakes.plan(), fakes.FEATURES, 2), "what": PRECOMPUTED, "features": "/nowhere/f.hdf5"}


@pytest.fixture
def sleeping(tmp_path, monkeypatch):
    """A job that would take long."""
    monkeypatch.setenv("FSGR_TUI_RUNS", str(tmp_path / "runs"))
    run = new_run("command")
    control.start(run, "command", ("sleep", "60"))
    yield run
    control.stop(run, 0)


def soon(holds):
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_waits_for_a_job_may_miss_what_that_one_makes_and_can_be_taken_out(sleeping):
    services = real_services()
    texts = {**TEXTS, "start": AFTER, "after": sleeping.name}
    ready = services.prepare(order_for(texts))
    assert ready.prepared is None
    assert ready.missing is not None
    name = services.start(ready)
    assert find_run(name).read_spec().needs == (sleeping.name,)
    soon(lambda: [job.note for job in waiting_jobs(services.jobs(""))] == [f"waits for {sleeping.name}"])
    (job,) = waiting_jobs(services.jobs(""))
    assert (job.name, job.waiting, job.command) == (name, "jobs", order_for(texts).request.shown)
    services.stop(name)
    soon(lambda: waiting_jobs(services.jobs("")) == ())
    assert services.jobs("").find(name).state == "stopped"


def test_without_a_job_to_wait_for_what_is_missing_stops_it(sleeping):
    services = real_services()
    for start in ("now", IN_TURN):
        with pytest.raises(BadRequest):
            services.prepare(order_for({**TEXTS, "start": start}))
    with pytest.raises(BadRequest, match="no job"):
        services.prepare(order_for({**TEXTS, "start": AFTER, "after": "nobody"}))


def test_a_preflight_speaks_the_language_of_the_screen(monkeypatch):
    asked = ("train", "--mode", "precomputed", "--features-path", "/nowhere/f.hdf5", "--annotation-folder", "/nowhere")
    monkeypatch.delenv("FSGR_TUI_LANG", raising=False)
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    report = real_services().preflight(asked)
    assert report.stops
    assert not any(finding.found.isascii() for finding in report.stops)


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
