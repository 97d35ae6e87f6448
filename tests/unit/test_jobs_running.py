"""Starting, resuming and deleting jobs: what is refused, what is recorded, what goes on."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.lab import LoginSession
from fsgr_tui.core.machine import Gpu, GpuReport
from fsgr_tui.core.planfile import PlanStep
from fsgr_tui.core.units import GIB, Unknown
from fsgr_tui.jobs import control, gpus, life
from fsgr_tui.jobs.environment import git_state, recorded
from fsgr_tui.jobs.folder import STEP_VARIABLE, all_runs, new_run
from fsgr_tui.service import resuming, running
from fsgr_tui.service.gpus import ASK
from tests.fakes.jobs import end_all, ended, fake_gpus, printed, started, wait_for


@pytest.fixture(autouse=True)
def _no_job_stays(own_runs):
    yield
    end_all()


def no_gpu() -> GpuReport:
    return GpuReport("no_driver", message="no NVIDIA driver here")


def one_gpu(tmp_path, **gpu):
    return lambda: gpus.ask(fake_gpus(tmp_path, {"index": 0, **gpu}), os.environ)


def request(*argv: str, **changes) -> running.RunRequest:
    return running.RunRequest(argv=argv, **changes)


def test_a_command_of_this_program_runs_on_this_interpreter_as_the_jobs_child():
    prepared = running.prepare(request("fsgr-tui", "extract", "--device", "cpu"), no_gpu)
    assert prepared.argv == (sys.executable, "-m", "fsgr_tui", "extract", "--device", "cpu")
    assert prepared.kind == "extract"


def test_what_a_command_of_this_program_refuses_is_the_jobs_cause():
    run = running.start(running.prepare(request("fsgr-tui", "train", "--annotation-folder", "/no/such"), no_gpu))
    status = ended(run)
    assert (status.state, status.kind, status.exit_code) == ("failed", "train", 2)
    assert status.cause.text.startswith("Neither --features-path nor --image-root")


def test_a_step_becomes_the_child_and_no_second_job(tmp_path, demo_root):
    argv = (
        "fsgr-tui", "convert", str(tmp_path / "in.hdf5"), str(tmp_path / "out.npz"),
    )  # fmt: skip
    from tests.conftest import build_file

    build_file(tmp_path / "in.hdf5", range(5))
    run = running.start(running.prepare(request(*argv, cwd=str(tmp_path)), no_gpu))
    assert ended(run).state == "done"
    assert (tmp_path / "out.npz").exists()
    assert run.read_status().result
    assert [each.name for each in all_runs()] == [run.name]
    assert run.read_spec().argv[1:3] == ("-m", "fsgr_tui.extract")


def test_what_a_step_becomes_runs_where_and_with_what_it_is_told(tmp_path):
    (tmp_path / "lab").mkdir()
    becoming = (
        "import sys; from pathlib import Path; from fsgr_tui.jobs import control; from fsgr_tui.jobs.folder import new_run\n"
        "show = 'import os; print(os.getcwd(), os.environ[\"ODD\"])'\n"
        "control.start(new_run('train'), 'train', (sys.executable, '-c', show), env={'ODD': 'set'}, cwd=Path(sys.argv[1]))\n"
    )
    run = new_run("train")
    control.start(run, "train", (sys.executable, "-c", becoming, str(tmp_path / "lab")), step=True)
    assert ended(run).state == "done"
    assert run.log.read_text() == f"{tmp_path / 'lab'} set\n"
    assert (run.read_spec().cwd, run.read_spec().env) == (str(tmp_path / "lab"), {"ODD": "set"})


def test_only_the_first_job_of_a_steps_process_is_the_step(monkeypatch, tmp_path):
    monkeypatch.setenv(STEP_VARIABLE, str(tmp_path))
    assert new_run("extract").adopted
    assert not new_run("extract").adopted
    monkeypatch.setenv(STEP_VARIABLE, str(tmp_path))
    assert not new_run("check").adopted


@pytest.mark.parametrize(
    "name", ["", ".hidden", "-flag", "a/b", "a b", "a,b", "last", "x" * 200, "a\nb", "a\udce9", "$(x)"]
)
def test_a_name_that_cannot_be_a_folder_and_a_word_is_refused(name):
    with pytest.raises(BadRequest, match="cannot be a job's name"):
        running.require_name(name)


def test_a_name_is_given_once():
    run = started("print(1)", "训练-1")
    with pytest.raises(BadRequest, match="already") as refused:
        running.prepare(request("true", name="训练-1"), no_gpu)
    assert "fsgr-tui rm 训练-1" in refused.value.fix
    assert ended(run).name == "训练-1"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"argv": ()}, "There is no command"),
        ({"argv": ("no-such-program",)}, "no-such-program cannot be started: it is not there"),
        ({"argv": ("./notes.txt",)}, "it is no program that may be run"),
        ({"argv": ("true",), "cwd": "/no/such"}, "--cwd /no/such is no folder"),
        ({"argv": ("true",), "after": ("nobody",)}, "There is no job 'nobody'"),
        ({"argv": ("true",), "gpu": "first"}, "--gpu 'first' names no GPUs"),
        ({"argv": ("true",), "gpu": "0,0"}, "names no GPUs"),
        ({"argv": ("true",), "gpu": "auto:x"}, "is no number of GPUs"),
        ({"argv": ("true",), "gpu": "0", "env": {"CUDA_VISIBLE_DEVICES": "1"}}, "contradict each other"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_started(changes, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(BadRequest) as refused:
        running.prepare(running.RunRequest(**changes), one_gpu(tmp_path))
    assert said in refused.value.what
    assert refused.value.fix
    assert all_runs() == []


def test_a_job_cannot_wait_for_one_that_has_failed():
    run = started("raise SystemExit(3)", "bad")
    ended(run)
    with pytest.raises(BadRequest, match="not well"):
        running.prepare(request("true", after=("bad",)), no_gpu)


def test_a_gpu_is_asked_for_where_there_is_one(tmp_path):
    assert running.prepare(request("true"), one_gpu(tmp_path)).gpu.ask == ASK
    assert running.prepare(request("true"), no_gpu).gpu is None
    assert running.prepare(request("true", gpu="none"), one_gpu(tmp_path)).gpu is None
    assert running.prepare(request("true", env={"CUDA_VISIBLE_DEVICES": ""}), one_gpu(tmp_path)).gpu is None
    assert running.prepare(request("true", gpu="0"), one_gpu(tmp_path)).gpu.named == ("0",)


@pytest.mark.parametrize(
    ("words", "asks"),
    [
        (("extract",), True), (("extract", "--device", "cpu"), False), (("extract", "--device=cuda:1"), False), (("check", "x"), False),
        (("check", "x", "--recompute", "3"), True), (("train", "--device", "cuda"), True), (("plan",), False),
    ],
)  # fmt: skip
def test_commands_of_this_program_ask_for_a_gpu_when_they_use_one(words, asks, tmp_path):
    assert (running.prepare(request("fsgr-tui", *words), one_gpu(tmp_path)).gpu is not None) == asks


def test_a_full_gpu_is_told_or_refused(tmp_path):
    full = one_gpu(tmp_path, free=2)
    (notice,) = running.prepare(request("true"), full).notices
    assert notice == "No GPU is free now: GPU 0: other programs use 14.0 GiB of 16.0 GiB. The job waits for one."
    with pytest.raises(MachineCannot, match="No GPU is free"):
        running.prepare(request("true", wait=False), full)
    with pytest.raises(MachineCannot, match="no NVIDIA driver here"):
        running.prepare(request("true", gpu="auto"), no_gpu)


def test_a_plan_runs_step_after_step():
    steps = (
        PlanStep("one", ("python3", "-c", "import time; time.sleep(0.3); print(time.time())")),
        PlanStep("two", ("python3", "-c", "import time; print(time.time())"), needs=("one",)),
    )
    one, two = running.start_plan(running.prepare_plan(steps, request(name="p"), no_gpu))
    assert (one.name, two.name) == ("p-one", "p-two")
    assert ended(two).state == "done"
    assert float(one.log.read_text()) < float(two.log.read_text())


def test_a_plan_with_a_step_that_cannot_be_starts_none():
    steps = (PlanStep("one", ("true",)), PlanStep("two", ("no-such-program",), needs=("one",)))
    with pytest.raises(BadRequest, match="Step 'two': no-such-program"):
        running.prepare_plan(steps, request(), no_gpu)
    assert all_runs() == []


def test_resuming_goes_on_in_the_same_folder_and_keeps_what_was():
    run = started("import os; print(os.environ['WHICH'], flush=True); raise SystemExit(5)", env={"WHICH": "same"})
    ended(run)
    behind = started("print('behind')", "behind", needs=[run.name])
    assert ended(behind).cause.kind == "need"
    with pytest.raises(BadRequest, match="only you know") as refused:
        resuming.resume(run)
    assert "--again" in refused.value.fix
    began = resuming.resume(run, again=True)
    assert [each.name for each in began] == [run.name, "behind"]
    status = ended(run)
    assert (status.attempt, status.exit_code, run.log.read_text()) == (2, 5, "same\n")
    assert (run.folder / "attempt-1" / "log").read_text() == "same\n"
    assert json.loads((run.folder / "attempt-1" / "status.json").read_bytes())["exit_code"] == 5
    assert ended(behind).attempt == 2


def test_a_need_can_be_left_out():
    first = started("raise SystemExit(1)", "first")
    ended(first)
    behind = started("print('behind')", "behind", needs=["first"])
    ended(behind)
    resuming.resume(behind, anyway=True)
    assert ended(behind).state == "done"


def test_a_job_that_never_began_is_resumed_without_a_word():
    first = started("import time; time.sleep(30)", "first")
    behind = started("print('behind')", "behind", needs=["first"])
    assert wait_for(lambda: behind.read_status().waiting == "jobs")
    control.stop(behind, 5)
    resuming.resume(behind)
    control.stop(first, 0)
    resuming.resume(first, again=True)
    assert [each.read_status().ended_for_good for each in (first, behind)] == [False, False]


def test_the_children_of_this_program_go_on_where_they_were(tmp_path):
    child = tmp_path / "extract.json"
    child.write_text(json.dumps({"type": "extract", "resume": False, "overwrite": True, "output": "x"}))
    run = new_run("extract")
    control.start(run, "extract", (sys.executable, "-m", "fsgr_tui.extract", str(child)))
    ended(run)
    resuming.resume(run)
    assert json.loads(child.read_text()) == {"type": "extract", "resume": True, "overwrite": False, "output": "x"}
    assert ended(run).attempt == 2


@pytest.mark.slow
def test_what_runs_or_ended_well_is_not_resumed():
    run = started("import time; print('on', flush=True); time.sleep(30)")
    printed(run, "on")
    with pytest.raises(BadRequest, match="has not ended"):
        resuming.resume(run, again=True)
    with pytest.raises(BadRequest, match="runs"):
        control.resume(run, run.read_spec(), run.read_status())
    control.stop(run, 0)
    good = started("print(1)")
    ended(good)
    with pytest.raises(BadRequest, match="ended well"):
        resuming.resume(good)


def test_only_what_has_ended_and_is_waited_for_by_nobody_is_deleted():
    first = started("import time; print('on', flush=True); time.sleep(30)", "first")
    second = started("print(1)", "second", needs=["first"])
    with pytest.raises(BadRequest, match="has not ended"):
        control.remove(first)
    assert wait_for(lambda: second.read_status().waiting == "jobs")
    control.stop(second, 5)
    control.stop(first, 0)
    control.remove(first)
    control.remove(second)
    assert all_runs() == []


def test_the_surroundings_are_recorded_without_secrets():
    kept = recorded({
        "PATH": "/bin", "OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "1", "HF_HOME": "/hf", "HF_TOKEN": "hf_secret", "TOKENIZERS_PARALLELISM": "0",
        "AWS_SECRET_ACCESS_KEY": "x", "CONDA_PREFIX": "/c", "CONDA_PASSWORD": "x", "HOME": "/home", "SSH_AUTH_SOCK": "/s",
    })  # fmt: skip
    assert set(kept) == {
        "PATH",
        "OMP_NUM_THREADS",
        "CUDA_VISIBLE_DEVICES",
        "HF_HOME",
        "TOKENIZERS_PARALLELISM",
        "CONDA_PREFIX",
    }
    assert "CUDA_VISIBLE_DEVICES" not in recorded({"CUDA_VISIBLE_DEVICES": "3", "SLURM_JOB_ID": "7"})


def test_a_resumed_job_has_the_variables_of_its_start(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    run = started("import os; print(os.environ['OMP_NUM_THREADS'])")
    ended(run)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    resuming.resume(run, again=True)
    ended(run)
    assert run.log.read_text() == "3\n"


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_of_the_checkout_is_recorded(tmp_path, monkeypatch):
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "-q", "-b", "trunk")
    assert git_state(tmp_path).commit == Unknown("no commit yet")
    (tmp_path / "train.py").write_text("1")
    git(tmp_path, "add", "train.py")
    git(tmp_path, "commit", "-qm", "one")
    (tmp_path / "deep").mkdir()
    commit = git(tmp_path, "rev-parse", "HEAD")
    state = git_state(tmp_path / "deep")
    assert (state.root, state.commit, state.branch, state.dirty) == (str(tmp_path), commit, "trunk", False)
    (tmp_path / "train.py").write_text("2")
    git(tmp_path, "pack-refs", "--all")
    assert (git_state(tmp_path).commit, git_state(tmp_path).dirty) == (commit, True)
    git(tmp_path, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    assert git_state(tmp_path / "tree").commit == commit
    monkeypatch.setenv("PATH", "/nowhere")
    assert git_state(tmp_path).commit == commit
    assert git_state(tmp_path).dirty == Unknown("no git command")
    monkeypatch.undo()
    run = started("print(1)", cwd=tmp_path)
    assert run.read_spec().git.commit == commit
    ended(run)


def test_log_out_is_warned_of_only_where_it_ends_jobs():
    assert running.told_at_log_out(LoginSession(False, False, True, "loginctl")) == ""
    assert running.told_at_log_out(LoginSession(Unknown("x"), False, True, "loginctl")) == ""
    assert running.told_at_log_out(LoginSession(True, False, False, "loginctl")) == ""
    told = running.told_at_log_out(LoginSession(True, False, True, "loginctl"))
    assert "systemd-run --user --scope fsgr-tui run" in told
    assert "enable-linger" in told
    assert "enable-linger" not in running.told_at_log_out(LoginSession(True, True, True, "loginctl"))


def test_a_relative_place_for_runs_holds_also_for_a_job_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FSGR_TUI_RUNS", "runs")
    (tmp_path / "other").mkdir()
    code = "from fsgr_tui.core.event import EventWriter; EventWriter().notice('seen')"
    run = started(code, cwd=tmp_path / "other", env={"PYTHONPATH": str(Path(__file__).parents[2])})
    assert ended(run).notices == ("seen",)
    assert time.time() >= run.read_spec().created


def test_of_two_resumes_at_once_one_starts_the_job():
    run = started("import time; time.sleep(1); raise SystemExit(1)")
    ended(run)

    def resumed(_):
        try:
            resuming.resume(run, again=True)
        except BadRequest:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(resumed, range(4))) == [False, False, False, True]
    assert ended(run).attempt == 2


def test_a_runner_that_cannot_start_says_why(monkeypatch, tmp_path):
    (tmp_path / "msgspec.py").write_text("raise ImportError('a broken environment')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run = started("print(1)")
    monkeypatch.undo()
    status = run.beside(run.name).read_status() if wait_for(lambda: not runner_lives(run)) else None
    assert status.state == "interrupted"
    assert status.cause.text == "The runner ended by a fault of its own: ImportError: a broken environment"


def runner_lives(run) -> bool:
    return life.prove(run.lock).life == "here"


def test_a_place_that_cannot_be_written_is_refused_and_leaves_nothing(monkeypatch):
    run = new_run("command")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(control, "write_whole", full)
    with pytest.raises(MachineCannot, match="No space left on device") as refused:
        control.start(run, "command", ("true",))
    assert "FSGR_TUI_RUNS" in refused.value.fix
    assert not run.folder.exists()


@pytest.mark.parametrize(
    ("words", "status", "count", "wanted"),
    [
        (["--weights", "openai"], "ok", 1, True),
        (["--device", "auto"], "ok", 2, True),
        (["--device", "cuda:1"], "ok", 1, False),
        (["--device", "cpu"], "ok", 1, False),
        (["--device=all"], "ok", 1, False),
        ([], "ok", 3, False),
        ([], "no_driver", 1, False),
        ([], "error", 1, False),
    ],
)
def test_a_command_started_by_itself_asks_for_a_gpu_unless_it_names_its_device(words, status, count, wanted):
    two = tuple(Gpu(number, f"GPU-{number}", "RTX 3090", 24 * GIB, 23 * GIB, GIB, 0) for number in range(2))
    report = GpuReport(status, two if status == "ok" else (), message="as asked for")
    wish = running.gpu_for("extract", ("fsgr-tui", "extract", *words), count, lambda: report)
    assert (wish is not None) == wanted
    assert wish is None or wish.count == count


def test_a_command_that_ends_by_itself_when_it_is_stopped_has_no_strange_cause():
    code = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\nprint('ready', flush=True)\ntime.sleep(60)"
    run = started(code)
    assert wait_for(lambda: b"ready" in run.log.read_bytes())
    control.stop(run)
    status = run.read_status()
    assert (status.state, status.exit_code, status.cause) == ("stopped", 143, None)
