"""Run folders and the runner: jobs are found again, followed, stopped, and never taken for something they are not."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.event import EventReader, EventWriter, RateWindow
from fsgr_tui.core.job import JobStatus
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import all_runs, find_run, new_run, runner_pid
from fsgr_tui.jobs.processes import process_start


def wait_for(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def started(code: str):
    run = new_run("command")
    control.start(run, "command", (sys.executable, "-c", code), ("python", "-c", "..."))
    return run


def finished(code: str) -> JobStatus:
    run = started(code)
    assert wait_for(lambda: run.read_status().ended_for_good)
    return run.read_status()


def test_a_job_ends_with_its_exit_code_and_keeps_its_output():
    status = finished("print('héllo [run]1'); raise SystemExit(0)")
    assert (status.state, status.exit_code) == ("done", 0)
    assert "héllo [run]1" in find_run(status.name).log.read_text("utf-8")


def test_a_failing_job_is_failed():
    status = finished("raise SystemExit(3)")
    assert (status.state, status.exit_code) == ("failed", 3)


def test_a_program_that_is_not_there_is_told_by_name():
    run = new_run("command")
    control.start(run, "command", ("/no/such/program",))
    assert wait_for(lambda: run.read_status().ended_for_good)
    status = run.read_status()
    assert (status.state, status.exit_code) == ("failed", 127)
    assert "/no/such/program" in status.cause.text


def test_output_is_in_the_log_before_the_child_ends():
    run = started("import time; print('a'); time.sleep(20)")
    assert wait_for(lambda: run.log.exists() and b"a" in run.log.read_bytes(), 5)
    control.stop(run, 5)


def test_a_line_that_has_no_end_yet_is_in_the_log():
    run = started("import sys, time; sys.stdout.write('half a l'); time.sleep(20)")
    assert wait_for(lambda: run.log.exists() and run.log.read_bytes() == b"half a l", 5)
    control.stop(run, 0)


def test_events_of_the_child_become_the_status():
    code = (
        "from fsgr_tui.core.event import EventWriter\n"
        "w = EventWriter(); w.phase('extract', 10, 'images'); w.progress(4, 10, 2.0, {'decode': 0.5})\n"
        "w.refused('/x.jpg', 9, 'empty'); w.metric(4, loss=float('nan')); w.result('extract', {'images': 9}); raise SystemExit(1)"
    )
    status = finished(code)
    assert (status.progress.step, status.progress.total, status.progress.eta_s) == (4, 10, 3.0)
    assert status.refused == 1
    assert status.metrics == {"loss": None}
    assert (status.state, status.exit_code, status.result) == ("done", 1, {"images": 9})


def test_a_gentle_stop_lets_the_child_finish():
    code = (
        "import signal, sys, time\n"
        "def stop(*_):\n    print('finishing'); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop); print('ready')\n"
        "time.sleep(60)"
    )
    run = started(code)
    assert wait_for(lambda: run.log.exists() and b"ready" in run.log.read_bytes())
    status = control.stop(run, 10)
    assert (status.state, status.exit_code) == ("stopped", 143)
    assert b"finishing" in run.log.read_bytes()


def test_a_child_that_does_not_listen_is_killed_with_its_children():
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)'])\n"
        "print(child.pid); time.sleep(120)"
    )
    run = started(code)
    assert wait_for(lambda: run.log.exists() and run.log.read_bytes().strip())
    grandchild = int(run.log.read_text().split()[0])
    status = control.stop(run, 0.5)
    assert status.state == "stopped"
    assert wait_for(lambda: process_start(grandchild) == "" or "Z" in stat_of(grandchild), 5)


def stat_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_a_job_lives_on_when_the_process_that_started_it_dies(own_runs):
    code = (
        "import os, sys, time; from fsgr_tui.jobs import control; from fsgr_tui.jobs.folder import new_run\n"
        "run = new_run('command'); control.start(run, 'command', (sys.executable, '-c', 'import time; time.sleep(2); print(1)'))\n"
        "os.kill(os.getpid(), 9)"
    )
    os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code])
    run = find_run("last")
    assert wait_for(lambda: run.read_status().ended_for_good)
    assert run.read_status().state == "done"


def test_a_job_whose_runner_was_killed_is_interrupted_not_running():
    run = started("import time; time.sleep(3)")
    assert wait_for(lambda: runner_pid(run) is not None and run.read_status().state == "running")
    os.kill(runner_pid(run), signal.SIGKILL)
    assert wait_for(lambda: run.read_status().state == "interrupted")
    assert f"fsgr-tui resume {run.name}" in run.read_status().cause.advice


def test_a_lock_file_with_another_process_start_is_no_life():
    run = started("print(1)")
    assert wait_for(lambda: run.read_status().ended_for_good)
    run.lock.write_text(f"{os.getpid()} 12345\n")
    assert runner_pid(run) is None


def test_a_child_that_was_killed_is_told_by_its_signal():
    status = finished("import os; os.kill(os.getpid(), 9)")
    assert (status.state, status.exit_code) == ("failed", 137)
    assert "SIGKILL" in status.cause.text


def test_stopping_what_does_not_run_is_refused():
    run = started("print(1)")
    assert wait_for(lambda: run.read_status().ended_for_good)
    with pytest.raises(BadRequest, match="does not run"):
        control.stop(run)


def test_jobs_are_found_by_the_beginning_of_their_name():
    run = started("print(1)")
    assert find_run(run.name[:-2]).folder == run.folder
    assert [each.name for each in all_runs()] == [run.name]
    with pytest.raises(BadRequest):
        find_run("nothing-like-that")


def test_status_is_a_whole_document_at_every_moment():
    run = started(
        "from fsgr_tui.core.event import EventWriter\nw = EventWriter()\nfor i in range(3000): w.progress(i, 3000)"
    )
    read = 0
    while not run.read_status().ended_for_good:
        json.loads(run.status.read_bytes())
        read += 1
    assert read > 5


def test_a_cut_event_line_waits_for_its_rest(tmp_path):
    path = tmp_path / "events"
    reader = EventReader(path)
    assert list(reader.new()) == []
    writer = EventWriter(str(path))
    writer.notice("one")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"type":"not')
    assert [event.text for event in reader.new()] == ["one"]
    with path.open("ab") as file:
        file.write(b'ice","at":1.0,"level":"info","text":"two"}\nrubbish\xff\n{"type":"unknown"}\n')
    writer.notice("three")
    assert [event.text for event in reader.new()] == ["two", "three"]


def test_a_full_disk_under_the_events_does_not_end_the_work(capsys):
    writer = EventWriter("/dev/full")
    writer.notice("one")
    writer.notice("two")
    assert capsys.readouterr().err.count("events cannot be written") == 1


def test_a_file_name_that_is_no_utf8_passes_through_events(tmp_path):
    writer = EventWriter(str(tmp_path / "events"))
    writer.refused(os.fsdecode(b"/caf\xe9.jpg"), 1, "empty")
    event = next(iter(EventReader(tmp_path / "events").new()))
    assert os.fsencode(event.path) == b"/caf\xe9.jpg"


def test_a_rate_is_that_of_the_recent_past():
    window = RateWindow(10)
    for second in range(30):
        window.add(second * 100 if second < 20 else 2000, at=second)
    assert window.rate(at=40) == pytest.approx(0, abs=1)
    fast = RateWindow(10)
    for second in range(30):
        fast.add(second * 100, at=second)
    assert fast.rate(at=29) == pytest.approx(100)
