"""Proof of life: by lock, by process, by heartbeat; never by the wall clock, never by a pid alone."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time

import pytest

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.jobs import control, life
from fsgr_tui.jobs.folder import runner_pid
from fsgr_tui.jobs.life import Host, prove, sign, take, this_host
from fsgr_tui.jobs.processes import find, process_start, send
from tests.fakes.jobs import end_all, ended, faults_after_kill, is_gone, printed, started, wait_for


@pytest.fixture(autouse=True)
def _no_job_stays(own_runs):
    yield
    end_all()


def write_lock(path, host: Host, pid: int = 4711, start: str = "99"):
    path.write_text(f"{pid} {start} {' '.join(host)}\n")


def running_on(run, host: Host):
    """The folder of a job that another host left, or still runs."""
    control.stop(run, 0)
    status = run.recorded_status()
    run.write_status(
        type(status)(status.name, "running", status.kind, status.command, status.folder, started=time.time())
    )
    write_lock(run.lock, host)


OTHER = Host("other-boot", "1", "other-machine", "gpu07")


def test_a_held_lock_is_life_and_a_free_one_is_none(tmp_path):
    lock = take(tmp_path / "lock")
    sign(lock, os.getpid())
    assert prove(tmp_path / "lock").life == "here"
    os.close(lock)
    assert prove(tmp_path / "lock").life == "gone"


def test_without_a_lock_file_nobody_lives(tmp_path):
    assert prove(tmp_path / "lock").life == "gone"


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"\xff\xfe\x00", b"12", b"a b c d e f", b"99999999999999999999 1 " + " ".join(this_host()).encode()],
)
def test_rubbish_in_a_lock_is_no_life_and_no_fault(tmp_path, rubbish):
    (tmp_path / "lock").write_bytes(rubbish)
    assert prove(tmp_path / "lock").life == "gone"


def test_where_the_file_system_has_no_locks_pid_and_start_decide(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = take(tmp_path / "lock")
    sign(lock, os.getpid())
    assert prove(tmp_path / "lock").life == "here"
    write_lock(tmp_path / "lock", this_host(), os.getpid(), "1")
    assert prove(tmp_path / "lock").life == "gone"
    os.close(lock)


def test_a_lock_that_is_held_is_refused(tmp_path):
    lock = take(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        take(tmp_path / "lock", wait_s=0)
    os.close(lock)


def test_a_job_of_another_host_is_running_while_its_heart_beats(tmp_path):
    run = started("print(1)")
    running_on(run, OTHER)
    status = run.read_status()
    assert (status.state, status.life) == ("running", "elsewhere")
    assert status.note.startswith("on gpu07, last sign ")


def test_a_job_of_another_host_is_interrupted_when_its_heart_has_stopped():
    run = started("print(1)")
    running_on(run, OTHER)
    os.utime(run.lock, (time.time() - 600,) * 2)
    status = run.read_status()
    assert status.state == "interrupted"
    assert "no sign from gpu07 for 10 min" in status.cause.text


def test_a_process_of_another_host_is_never_signalled(monkeypatch):
    run = started("print(1)")
    running_on(run, OTHER)
    sent = []
    monkeypatch.setattr(control, "send", lambda *what: sent.append(what))
    monkeypatch.setattr(os, "kill", lambda *what: sent.append(what))
    with pytest.raises(BadRequest, match="runs on gpu07, not here") as refused:
        control.stop(run, 0)
    assert f"fsgr-tui stop {run.name}" in refused.value.fix
    assert sent == []


def test_after_a_reboot_a_job_is_interrupted_and_can_be_resumed():
    run = started("print('again')")
    running_on(run, this_host()._replace(boot_id="the-boot-before"))
    status = run.read_status()
    assert status.state == "interrupted"
    assert "was started anew while the job ran" in status.cause.text
    assert f"fsgr-tui resume {run.name}" in status.cause.advice
    control.resume(run, run.read_spec(), run.read_status())
    assert ended(run).state == "done"


def test_a_job_of_another_container_is_not_signalled(tmp_path):
    run = started("print(1)")
    running_on(run, this_host())
    lock = take(run.lock)
    write_lock(run.lock, this_host()._replace(pid_space="1"), os.getpid(), process_start(os.getpid()))
    assert run.read_status().life == "here"
    assert runner_pid(run) is None
    with pytest.raises(BadRequest, match="another container"):
        control.ask_to_stop(run)
    os.close(lock)


def test_a_clock_that_jumps_interrupts_nothing(monkeypatch):
    run = started("import time; print('on'); time.sleep(30)")
    assert wait_for(lambda: run.read_status().state == "running")
    # The wall clock goes ten years forward, then back before the job began; files keep their times.
    for jump in (3e8, -3e8):
        monkeypatch.setattr(time, "time", lambda jump=jump: 1.7e9 + jump)
        assert (run.read_status().state, run.read_status().life) == ("running", "here")
    os.utime(run.lock, (1, 1))
    assert run.read_status().state == "running"


def test_a_process_with_another_start_is_a_stranger():
    assert not send(os.getpid(), "12345", signal.SIGCONT)
    assert send(os.getpid(), process_start(os.getpid()), signal.SIGCONT)
    assert not send(2**22 - 3, "1", signal.SIGCONT)


def test_a_process_that_has_ended_and_waits_for_its_parent_does_not_live():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert wait_for(lambda: find(pid) is None)
    os.waitpid(pid, 0)


def test_a_name_with_parentheses_and_spaces_does_not_confuse_the_reader():
    run = started(
        "import ctypes; ctypes.CDLL(None).prctl(15, b') R 1 1 (', 0, 0, 0); print('named'); import time; time.sleep(30)"
    )
    printed(run, "named")
    assert wait_for(lambda: run.read_status().child_pid is not None)
    child = run.read_status().child_pid
    assert find(child).parent == runner_pid(run)


def test_a_job_that_lost_its_runner_is_orphaned_and_can_be_stopped():
    run = started("import time; print('on', flush=True); time.sleep(60)")
    printed(run, "on")
    assert wait_for(lambda: run.read_status().child_pid is not None)
    child = run.read_status().child_pid
    os.kill(runner_pid(run), signal.SIGKILL)
    assert wait_for(lambda: run.read_status().life == "orphaned")
    status = run.read_status()
    assert status.state == "running"
    assert f"fsgr-tui stop {run.name}" in status.note
    with pytest.raises(BadRequest, match="go on without its runner"):
        control.resume(run, run.read_spec(), run.read_status())
    assert control.stop(run, 5).state == "stopped"
    assert is_gone(child)
    assert run.read_status().state == "stopped"


def test_an_orphan_goes_on_printing_into_its_log():
    run = started("import time\nfor i in range(300): print(i); time.sleep(0.05)")
    printed(run, "3")
    os.kill(runner_pid(run), signal.SIGKILL)
    assert wait_for(lambda: run.read_status().life == "orphaned")
    lines = run.log.read_bytes().count(b"\n")
    assert wait_for(lambda: run.log.read_bytes().count(b"\n") > lines + 5)


def test_two_looks_at_a_lock_do_not_keep_its_owner_out(tmp_path):
    look = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(look, fcntl.LOCK_SH)
    pid = os.fork()
    if pid == 0:
        os.close(look)
        try:
            os.close(take(tmp_path / "lock"))
            os._exit(0)
        except BaseException:
            os._exit(1)
    time.sleep(0.2)
    os.close(look)
    assert os.waitpid(pid, 0)[1] == 0
    assert life.TAKE_S > 0.2


@pytest.mark.parametrize("delay_s", [0.0, 0.12, 0.3, 0.5])
def test_a_status_is_whole_and_true_whenever_the_runner_is_killed(delay_s):
    assert faults_after_kill("killed", delay_s) == []
