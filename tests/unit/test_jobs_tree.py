"""A job's processes: all of them, wherever they hide, and nobody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from fsgr_tui.jobs import control, tree
from fsgr_tui.jobs.folder import mark_of, runner_pid
from fsgr_tui.jobs.processes import JOB_VARIABLE, process_start
from tests.fakes.jobs import end_all, ended, is_gone, printed, started, started_argv, wait_for

HIDING = (
    "import os, signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "for env in (None, {}):\n"
    "    code = 'import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork() and os._exit(0); os.setsid(); print(os.getpid(), flush=True); time.sleep(120)'\n"
    "    subprocess.run([sys.executable, '-c', code], env=env)\n"
    "print('hidden', flush=True); time.sleep(120)"
)


@pytest.fixture(autouse=True)
def _no_job_stays(own_runs):
    yield
    end_all()


def hidden(run) -> list[int]:
    """Pids of the two daemons of `HIDING`: one with the job's mark, one with an empty environment."""
    assert wait_for(lambda: sum(word.isdecimal() for word in run.log.read_text().split()) == 2)
    return [int(word) for word in printed(run, "hidden").split() if word.isdecimal()]


def test_a_stop_reaches_daemons_that_left_the_session_and_dropped_their_environment():
    run = started(HIDING)
    pids = hidden(run)
    assert control.stop(run, 0.3).state == "stopped"
    assert all(is_gone(pid) for pid in pids)


def test_a_stop_without_the_runner_reaches_them_too():
    run = started(HIDING)
    pids = hidden(run)
    assert wait_for(lambda: {pid for pid, _ in tree.read_noted(run.processes)} >= set(pids))
    os.kill(runner_pid(run), signal.SIGKILL)
    assert wait_for(lambda: run.read_status().life == "orphaned")
    assert control.stop(run, 0.3).state == "stopped"
    assert all(is_gone(pid) for pid in pids)


def test_what_outlives_the_command_is_ended_and_told():
    run = started_argv("bash", "-c", "sleep 100 & echo $!; exit 0")
    status = ended(run)
    assert (status.state, status.exit_code) == ("done", 0)
    assert is_gone(int(run.log.read_text()))
    assert any("outlived the command" in notice for notice in status.notices)


def test_a_script_that_dies_of_the_stop_lets_its_program_finish_gently(tmp_path):
    program = (
        "import signal, sys, time\n"
        "def stop(*_):\n    print('saved', flush=True); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop); print('ready', flush=True); time.sleep(60)"
    )
    (tmp_path / "train.py").write_text(program)
    run = started_argv("bash", "-c", f"{sys.executable} train.py; echo never", cwd=tmp_path)
    printed(run, "ready")
    assert control.stop(run, 20).state == "stopped"
    assert "saved" in run.log.read_text()
    assert "never" not in run.log.read_text()


def test_a_stranger_with_the_same_pid_is_left_alone():
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        known = [(stranger.pid, "12345")]
        assert tree.members("job:none", known) == []
        assert [each.pid for each in tree.members("job:none", [(stranger.pid, process_start(stranger.pid))])] == [
            stranger.pid
        ]
    finally:
        stranger.kill()
        stranger.wait()


def test_a_job_that_was_started_by_a_job_is_not_ended_with_it():
    code = (
        "import sys; from fsgr_tui.jobs import control; from fsgr_tui.jobs.folder import new_run\n"
        "run = new_run('command', 'inner'); control.start(run, 'command', ('sleep', '60')); print('started', flush=True)\n"
        "import time; time.sleep(60)"
    )
    outer = started(code)
    printed(outer, "started")
    inner = outer.beside("inner")
    assert wait_for(lambda: inner.read_status().state == "running")
    control.stop(outer, 0)
    assert outer.read_status().state == "stopped"
    assert (inner.read_status().state, inner.read_status().life) == ("running", "here")


def test_the_runner_and_its_pump_are_no_members_of_the_job():
    run = started("import time; print('on', flush=True); time.sleep(60)")
    printed(run, "on")
    assert wait_for(lambda: run.read_status().child_pid is not None)
    found = {process.pid for process in tree.members(mark_of(run.read_spec()), root=runner_pid(run))}
    assert found == {run.read_status().child_pid}


def test_a_process_with_another_jobs_mark_is_left_out_with_all_below_it():
    code = (
        "import os, subprocess, sys, time; subprocess.Popen(['sleep', '60']); print('on', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, JOB_VARIABLE: "other:1"}, stdout=subprocess.PIPE
    )
    try:
        other.stdout.readline()
        assert tree.members("mine:1", [(other.pid, process_start(other.pid))]) == []
        theirs = tree.members("other:1")
        assert len(theirs) == 2
        tree.signal_all(theirs, signal.SIGKILL)
    finally:
        other.kill()
        other.wait()


def test_two_stops_at_once_are_one_gentle_stop():
    code = (
        "import signal, sys, time\n"
        "def stop(*_):\n    time.sleep(1.0); print('finished', flush=True); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop); print('ready', flush=True); time.sleep(60)"
    )
    run = started(code)
    printed(run, "ready")
    control.ask_to_stop(run, signal.SIGTERM)
    time.sleep(0.3)
    control.ask_to_stop(run, signal.SIGINT)
    assert (ended(run).state, run.read_status().exit_code) == ("stopped", 143)
    assert "finished" in run.log.read_text()


@pytest.mark.slow
def test_a_stop_some_time_after_the_first_is_firm():
    run = started(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    printed(run, "ready")
    control.ask_to_stop(run)
    assert wait_for(lambda: run.read_status().state == "stopping")
    time.sleep(1.1)
    control.ask_to_stop(run)
    assert (ended(run, 5).state, run.read_status().exit_code) == ("stopped", 137)
    assert run.read_status().cause is None


def test_a_runner_that_was_halted_hears_a_stop_all_the_same():
    run = started("import time; print('on', flush=True); time.sleep(60)")
    printed(run, "on")
    assert wait_for(lambda: run.read_status().state == "running")
    os.kill(runner_pid(run), signal.SIGSTOP)
    assert control.stop(run, 5).state == "stopped"
