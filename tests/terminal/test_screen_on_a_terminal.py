"""The real program on a real pseudo-terminal: what it leaves behind, what it sends, and when it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, all_runs, runner_pid
from tests.terminal.on_pty import ESCAPE, LEFT, Session, environment, plain

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
FROZEN = "tests.terminal.frozen"
COLOURED = re.compile(rb"\x1b\[[0-9;]*m")


@pytest.fixture
def home(tmp_path):
    return str(tmp_path)


def frozen(home, *modes, size=(80, 24), ignore_hangup=False, **env):
    return Session(
        list(modes), environment(home, **env), str(REPOSITORY), size=size, module=FROZEN, ignore_hangup=ignore_hangup
    )


def test_the_real_screen_opens_and_q_restores_the_terminal(home, tmp_path):
    with Session([], environment(home), str(tmp_path)) as session:
        session.wait_for("PRECOMPUTED")
        session.press("q")
        assert session.end() == 0
        session.assert_restored()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_screen_and_restores_the_terminal(home, number, code):
    with frozen(home) as session:
        session.wait_for("PRECOMPUTED")
        session.process.send_signal(number)
        assert session.end() == code
        session.assert_restored()


def test_a_fault_in_a_handler_is_told_after_the_terminal_is_restored_and_kept_in_a_file(home):
    with frozen(home, "crash") as session:
        session.wait_for("PRECOMPUTED")
        session.press("x")
        assert session.end() == 1
        session.assert_restored()
        after = plain(session.output[session.output.rindex(LEFT) :])
        assert "a fault made for the test" in after
        (kept,) = Path(home, "state", "fsgr-tui").glob("crash-*.log")
        assert "a fault made for the test" in kept.read_text()


def test_a_worker_that_never_ends_does_not_keep_the_screen_open(home):
    with frozen(home, "stuck") as session:
        session.wait_for("looking")
        session.press("q")
        assert session.end(4) == 0
        session.assert_restored()


def test_a_terminal_that_is_gone_ends_the_screen_though_hang_ups_are_ignored(home):
    with frozen(home, ignore_hangup=True) as session:
        session.wait_for("PRECOMPUTED")
        session.hang_up()
        assert session.process.wait(5) == 129


def test_a_closed_terminal_ends_the_screen(home):
    with frozen(home) as session:
        session.wait_for("PRECOMPUTED")
        session.hang_up()
        assert session.process.wait(5) in (129, -signal.SIGHUP)


def test_a_terminal_that_does_not_read_does_not_keep_the_screen_from_ending(home):
    with frozen(home, size=(200, 50)) as session:
        session.wait_for("PRECOMPUTED")
        for number in range(40):
            # Every change of size is a full repaint that nobody reads.
            session.resize(150 + number, 50)
            time.sleep(0.05)
        session.process.send_signal(signal.SIGTERM)
        assert session.process.wait(8) == 143


def test_ctrl_z_gives_the_terminal_back_and_fg_paints_again(home):
    with frozen(home) as session:
        session.wait_for("PRECOMPUTED")
        session.settle(0.5)
        session.press("\x1a")
        session.read_for(1.0)
        assert Path(f"/proc/{session.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        session.assert_restored()
        before = len(session.output)
        session.process.send_signal(signal.SIGCONT)
        session.read_for(2.0)
        assert "PRECOMPUTED" in plain(session.output[before:])
        session.press("q")
        assert session.end() == 0


@pytest.mark.parametrize("term", ["dumb", None])
def test_a_terminal_without_cell_addressing_gets_one_plain_line(home, tmp_path, term):
    with Session([], environment(home, TERM=term), str(tmp_path)) as session:
        assert session.end(5) == 2
        assert b"\x1b" not in session.output
        assert session.output.count(b"\n") == 1
        assert b"fsgr-tui --plan" in session.output
        assert time.monotonic() - session.began < 2


@pytest.mark.parametrize("piped", ["stdin", "stdout"])
def test_without_a_terminal_one_line_names_the_headless_command(home, tmp_path, piped):
    master, slave = os.openpty()
    streams = {"stdin": slave, "stdout": slave, "stderr": subprocess.PIPE} | {piped: subprocess.DEVNULL}
    done = subprocess.run(
        [sys.executable, "-m", "fsgr_tui"], **streams, env=environment(home), cwd=tmp_path, timeout=10, check=False
    )
    os.close(master)
    os.close(slave)
    assert done.returncode == 2
    assert b"fsgr-tui --plan" in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert b"\x1b" not in done.stderr


def test_no_color_sends_no_colour_at_all(home):
    with frozen(home, NO_COLOR="1") as session:
        session.wait_for("PRECOMPUTED")
        for key in "i\x1b2\x1b34?":
            session.press(key)
            session.read_for(0.5)
        session.settle(0.5)
        codes = {int(code) for found in COLOURED.findall(session.output) for code in found[2:-1].split(b";") if code}
        assert codes <= {0, 1, 2, 3, 4, 7, 9}, codes
        assert 7 in codes


@pytest.mark.parametrize(
    "changes", [{"LC_ALL": "C"}, {"LANG": "C"}, {"PYTHONIOENCODING": "latin-1"}, {"TERM": "linux"}]
)
def test_where_only_ascii_arrives_only_ascii_is_sent(home, changes):
    with frozen(home, **changes) as session:
        session.wait_for("PRECOMPUTED")
        for key in "i\x1b2\x1b34?":
            session.press(key)
            session.read_for(0.4)
        session.settle(0.5)
        assert session.output.isascii()
        assert "= Verdict - all votes agree =" in plain(session.output)


@pytest.mark.parametrize("place", ["1", "3"])
def test_an_idle_screen_sends_nothing(home, place):
    with frozen(home) as session:
        session.wait_for("PRECOMPUTED")
        session.press(place)
        session.settle()
        # Longer than the interval at which the machine is read again.
        assert session.read_for(6) == b""


def test_a_form_in_use_sends_nothing_while_nobody_types(home):
    with frozen(home) as session:
        session.wait_for("PRECOMPUTED")
        session.press("e")
        session.settle()
        assert session.read_for(3) == b""


def test_the_first_frame_is_there_before_textual_is(home, tmp_path):
    times = []
    for _ in range(3):
        with Session([], environment(home), str(tmp_path)) as session:
            times.append(session.wait_for("5 Compare"))
    # The best of three, and twice what it takes at rest: tests run on every core at once. `tests.bench screen` measures it.
    assert min(times) < 0.3, times


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_during_the_first_frame_gives_the_terminal_back(home, tmp_path, number, code):
    with Session([], environment(home), str(tmp_path)) as session:
        session.wait_for("5 Compare")
        session.process.send_signal(number)
        assert session.end() == code
        session.assert_restored()


def test_the_panels_are_there_within_a_second(home, tmp_path):
    times = []
    for _ in range(3):
        with Session([], environment(home), str(tmp_path)) as session:
            times.append(session.wait_for("Verdict"))
    assert min(times) < 1.0, times


@pytest.mark.parametrize("exported", [{}, {"COLUMNS": "80", "LINES": "24"}])
def test_a_smaller_window_gets_a_notice_and_a_larger_one_the_plan_again(home, exported):
    with frozen(home, **exported) as session:
        session.wait_for("PRECOMPUTED")
        session.settle(0.5)
        session.resize(40, 10)
        session.process.send_signal(signal.SIGWINCH)
        session.wait_for("needs 60 x 15")
        before = len(session.output)
        session.resize(120, 40)
        session.process.send_signal(signal.SIGWINCH)
        session.settle(0.7)
        assert "PRECOMPUTED" in plain(session.output[before:])
        assert "because" in plain(session.output[before:])
        session.press("q")
        assert session.end() == 0


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (200, 50), (20, 5)])
def test_every_size_opens_and_quits(home, size):
    with frozen(home, size=size) as session:
        session.settle(1.0)
        for key in "34?\x1bi\x1b1":
            session.press(key)
            session.read_for(0.4)
        session.press("q")
        assert session.end() == 0
        session.assert_restored()


def test_a_job_outlives_the_killed_screen_and_the_next_screen_shows_it(home, monkeypatch):
    monkeypatch.setenv("FSGR_TUI_RUNS", f"{home}/runs")
    with frozen(home, "jobs") as first:
        first.wait_for("PRECOMPUTED")
        first.press("e")
        first.wait_for("Ready")
        first.press("\x13")
        first.wait_for("running")
        first.kill()
    (run,) = all_runs()
    try:
        assert runner_pid(run) is not None
        assert run.read_status().state == "running"
        with frozen(home, "jobs") as second:
            second.press("3")
            second.wait_for(run.name)
            second.press("q")
            assert second.end() == 0
            assert f"fsgr-tui attach {run.name}" in plain(second.output[second.output.rindex(LEFT) :])
        assert runner_pid(run) is not None
    finally:
        control.stop(RunFolder(run.folder), gentle_s=5)


def test_the_escapes_that_the_tests_know_are_all_that_is_sent(home):
    with frozen(home) as session:
        session.wait_for("PRECOMPUTED")
        session.settle(0.5)
        assert b"\x1b" not in ESCAPE.sub(b"", session.output)
