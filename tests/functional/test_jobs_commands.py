"""The commands of jobs as a user meets them: real processes, without a terminal and on one."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
import tty

import pytest

from fsgr_tui.cli.logs import LogCopy, start_of_last
from fsgr_tui.core import jsontext
from fsgr_tui.core.job import JobSpec, JobStatus
from fsgr_tui.jobs.folder import RunFolder, all_runs, find_run, runner_pid, runs_dir
from tests.conftest import run_cli
from tests.fakes.jobs import end_all, ended, printed, started, wait_for


@pytest.fixture(autouse=True)
def _no_job_stays(own_runs):
    yield
    end_all()


def test_a_command_is_run_and_its_output_and_exit_code_come_through():
    done = run_cli("run", "--", "bash", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\nerr\n")
    (run,) = all_runs()
    assert f"fsgr-tui logs {run.name}" in done.stderr


def test_with_json_there_is_one_document_and_nothing_else():
    done = run_cli("run", "--json", "--", "echo", "out")
    status = json.loads(done.stdout)
    assert (status["schema"], status["state"], status["exit_code"]) == ("fsgr-tui/job/1", "done", 0)
    assert status["elapsed_s"] == pytest.approx(status["ended"] - status["started"])
    assert status["age_s"] >= 0
    assert set(status) >= {
        "name",
        "command",
        "started",
        "ended",
        "progress",
        "metrics",
        "alarms",
        "cause",
        "folder",
        "backend",
    }


def test_detached_a_job_is_told_by_name_or_as_a_document():
    named = run_cli("run", "--detach", "--", "sleep", "30")
    assert [run.name for run in all_runs()] == [named.stdout.strip()]
    document = json.loads(run_cli("run", "--detach", "--json", "--name", "j", "--", "sleep", "30").stdout)
    assert (document["name"], document["life"]) == ("j", "here")


def test_options_behind_the_command_are_the_commands_own():
    done = run_cli("run", "python3", "-c", "import sys; print(sys.argv[1:])", "--exp_name", "x", "--detach", "--json")
    assert done.stdout == "['--exp_name', 'x', '--detach', '--json']\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run",), "There is no command to run."),
        (("run", "--", "no-such-program"), "no-such-program cannot be started"),
        (("run", "--env", "A", "--", "true"), "--env 'A' is no NAME=VALUE."),
        (("run", "none.toml"), "There is no plan file none.toml."),
        (("stop", "nobody"), "There is no job 'nobody'."),
        (("resume", "nobody"), "There is no job 'nobody'."),
        (("rm",), "Neither a JOB nor --ended was given."),
        (("rm", "--ended", "--older", "soon"), "--older 'soon' is no age."),
        (("jobs", "--watch", "--json"), "--json is one document"),
    ],
)
def test_a_wrong_command_is_told_with_its_remedy(words, said):
    done = run_cli(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) >= 2
    assert "Traceback" not in done.stderr


def test_a_place_for_runs_that_is_none_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    done = run_cli("jobs", env={"FSGR_TUI_RUNS": str(tmp_path / "file")})
    assert done.returncode == 3
    assert f"{tmp_path / 'file'}: Not a directory." in done.stderr
    assert "FSGR_TUI_RUNS" in done.stderr


def test_a_dry_run_starts_nothing():
    done = run_cli("run", "--dry-run", "--env", "A=[1]", "--queue", "--", "echo", "a b")
    assert done.returncode == 0
    assert "echo 'a b'" in done.stdout
    assert "A=[1]" in done.stdout
    assert all_runs() == []


@pytest.mark.slow
def test_a_plan_stops_at_the_step_that_fails_and_goes_on_after_resume(tmp_path):
    (tmp_path / "plan.toml").write_text(
        'schema = "fsgr-tui/planfile/1"\n'
        '[[step]]\nname = "one"\nargv = ["test", "-e", "there"]\n'
        '[[step]]\nname = "two"\nargv = ["echo", "second"]\nneeds = ["one"]\n'
    )
    done = run_cli("run", "--name", "p", "plan.toml", "--json", cwd=tmp_path)
    one, two = json.loads(done.stdout)["jobs"]
    assert done.returncode == 1
    assert (one["state"], two["state"], two["cause"]["kind"]) == ("failed", "stopped", "need")
    (tmp_path / "there").touch()
    done = run_cli("resume", "p-one", "--again", "--detach", cwd=tmp_path)
    assert "Behind it wait: p-two" in done.stderr
    assert ended(find_run("p-two")).state == "done"


@pytest.mark.slow
def test_jobs_are_stopped_together_and_each_is_told():
    for name in ("a1", "b1"):
        started("import time; print('on', flush=True); time.sleep(60)", name)
        printed(find_run(name), "on")
    done = run_cli("stop", "--now", "a1", "b1", "a1")
    assert done.returncode == 0
    assert done.stdout == "a1: stopped, exit code 137\nb1: stopped, exit code 137\n"
    again = run_cli("stop", "a1")
    assert again.returncode == 2
    assert "a1 does not run (stopped)." in again.stderr


@pytest.mark.slow
def test_what_has_ended_is_deleted_and_what_runs_is_not():
    ended(started("print(1)", "old"))
    lives = started("import time; print('on', flush=True); time.sleep(60)", "lives")
    printed(lives, "on")
    unsure = run_cli("rm", "old")
    assert (unsure.returncode, "Add --yes" in unsure.stderr) == (2, True)
    assert run_cli("rm", "--ended", "--older", "1h", "--yes").stdout == "There is nothing to delete.\n"
    assert run_cli("rm", "lives", "--yes").returncode == 2
    done = run_cli("rm", "--ended", "--yes")
    assert (done.returncode, done.stdout) == (0, "1 deleted.\n")
    assert [run.name for run in all_runs()] == ["lives"]


def test_fifty_jobs_are_listed_in_a_moment(own_runs):
    for number in range(50):
        run = RunFolder(runs_dir() / f"extract-{number:02d}")
        run.folder.mkdir()
        run.spec.write_bytes(jsontext.encode(JobSpec(run.name, "extract", ("true",), "/")))
        state = "running" if number % 2 else "done"
        run.write_status(JobStatus(run.name, state, "extract", ("true",), str(run.folder), started=time.time()))
    listed, times = None, []
    for _ in range(3):
        began = time.monotonic()
        listed = run_cli("jobs", "--all", "--json")
        times.append(time.monotonic() - began)
    states = [job["state"] for job in json.loads(listed.stdout)["jobs"]]
    assert (states.count("done"), states.count("interrupted")) == (25, 25)
    # 0.3 s on a quiet machine (tests/bench); here other tests may run beside it.
    assert min(times) < 1.0, times


@pytest.mark.slow
def test_a_job_outlives_the_terminal_and_a_child_that_takes_hang_ups_again(tmp_path):
    code = "import signal, time; signal.signal(signal.SIGHUP, signal.SIG_DFL)\nfor i in range(400): print(i, flush=True); time.sleep(0.05)"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(
            sys.executable, [sys.executable, "-m", "fsgr_tui", "run", "--name", "hup", "--", sys.executable, "-c", code]
        )
    tty.setraw(terminal)
    assert wait_for((runs_dir() / "hup" / "status.json").exists)
    run = find_run("hup")
    printed(run, "5")
    os.close(terminal)
    os.waitpid(pid, 0)
    lines = run.log.read_bytes().count(b"\n")
    assert wait_for(lambda: run.log.read_bytes().count(b"\n") > lines + 10)
    assert (run.read_status().state, run.read_status().life) == ("running", "here")
    follower = subprocess.Popen(
        [sys.executable, "-m", "fsgr_tui", "attach", "hup"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )  # fmt: skip
    assert follower.stdout.readline().strip().isdigit()
    follower.send_signal(signal.SIGHUP)
    assert follower.wait(10) == 129
    assert run.read_status().state == "running"
    follower.stdout.close()


def test_a_screen_that_is_killed_leaves_the_job_alone():
    face = subprocess.Popen(
        [sys.executable, "-m", "fsgr_tui", "run", "--name", "k", "--", "sleep", "30"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )  # fmt: skip
    assert wait_for(
        lambda: (runs_dir() / "k" / "status.json").exists() and find_run("k").read_status().state == "running"
    )
    face.kill()
    face.wait()
    face.stderr.close()
    assert find_run("k").read_status().life == "here"


@pytest.mark.slow
def test_an_interrupted_follower_stops_its_job_and_a_second_time_at_once():
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    face = subprocess.Popen(
        [sys.executable, "-m", "fsgr_tui", "run", "--name", "i", "--", sys.executable, "-c", code], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert face.stdout.readline() == "on\n"
    face.send_signal(signal.SIGINT)
    assert wait_for(lambda: find_run("i").read_status().state == "stopping")
    face.send_signal(signal.SIGINT)
    _, told = face.communicate(timeout=10)
    assert face.returncode == 137
    assert "once more ends it at once" in told
    assert "Ending i now." in told


def test_the_log_of_a_resumed_job_is_followed_into_its_next_attempt(tmp_path):
    log, out = tmp_path / "log", io.BytesIO()
    log.write_bytes(b"first\n")
    copy = LogCopy(log, out, terminal=False)
    copy.new()
    log.write_bytes(b"first\nend\n")
    log.rename(tmp_path / "old")
    log.write_bytes(b"a second attempt that is longer\n")
    copy.new()
    assert out.getvalue() == b"first\nend\na second attempt that is longer\n"
    os.truncate(log, 0)
    with log.open("ab") as file:
        file.write(b"cut\n")
    copy.new()
    assert out.getvalue().endswith(b"longer\ncut\n")


def test_on_a_terminal_a_log_moves_no_more_than_its_own_lines(tmp_path):
    log, out = tmp_path / "log", io.BytesIO()
    log.write_bytes(
        b"\x1b[31mred\x1b[0m\r\x1b[2K\x1b[A50%\x1b]0;title\x07\x1b[?1049h\x9b\xff \xe8\xae\xad\xc2\x9b5n\x1b[1"
    )
    copy = LogCopy(log, out, terminal=True)
    copy.new()
    with log.open("ab") as file:
        file.write(b";32mgreen")
    copy.new()
    assert out.getvalue().decode() == (
        "\x1b[31mred\x1b[0m\r\x1b[2K\x1b[A50%\\x1b]0;title\\x07\\x1b[?1049h\\x9b\\xff 训\\x9b5n\x1b[1;32mgreen"
    )


@pytest.mark.parametrize(
    ("text", "lines", "tail"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"), (b"a\nb\nc", 2, b"b\nc"), (b"a\nb\n", 5, b"a\nb\n"), (b"a\n", 0, b""), (b"", 3, b""),
        (b"x" * 200_000 + b"\r10%\r20%", 1, b"x" * 200_000 + b"\r10%\r20%"), (b"one\n" + b"y\r" * 100_000 + b"\nend\n", 1, b"end\n"),
        (b"a\n\n\n", 2, b"\n\n"),
    ],
)  # fmt: skip
def test_the_last_lines_are_lines_and_not_steps_of_a_bar(tmp_path, text, lines, tail):
    (tmp_path / "log").write_bytes(text)
    with (tmp_path / "log").open("rb") as file:
        assert text[start_of_last(file, lines) :] == tail


def test_binary_rubbish_is_copied_as_it_is_into_a_pipe():
    run = started("import os; os.write(1, bytes(range(256)))", "bin")
    ended(run)
    done = subprocess.run([sys.executable, "-m", "fsgr_tui", "logs", "bin"], capture_output=True, check=True)
    assert done.stdout == bytes(range(256))


@pytest.mark.slow
def test_an_orphan_is_shown_as_one_and_the_table_says_what_to_do():
    run = started("import time; print('on', flush=True); time.sleep(60)", "o1")
    printed(run, "on")
    assert wait_for(lambda: run.read_status().child_pid is not None)
    os.kill(runner_pid(run), signal.SIGKILL)
    assert wait_for(lambda: run.read_status().life == "orphaned")
    table = run_cli("jobs").stdout
    assert table.splitlines()[1].split()[:2] == ["o1", "orphaned"]
    assert "`fsgr-tui stop o1` ends it" in table
    (job,) = json.loads(run_cli("jobs", "--json").stdout)["jobs"]
    assert (job["state"], job["life"]) == ("running", "orphaned")
    assert run_cli("resume", "o1", "--again").returncode == 2
    assert run_cli("stop", "o1").stdout == "o1: stopped\n"


@pytest.mark.slow
def test_everything_holds_in_a_latin_1_locale():
    done = run_cli(
        "run",
        "--json",
        "--",
        sys.executable,
        "-c",
        "print('训练 █')",
        env={"LC_ALL": "C", "PYTHONIOENCODING": "latin-1"},
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["state"] == "done"
    assert find_run("last").log.read_text("utf-8") == "训练 █\n"
    table = run_cli("jobs", env={"LC_ALL": "C", "PYTHONIOENCODING": "latin-1"})
    assert table.returncode == 0
