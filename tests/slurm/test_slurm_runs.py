"""Commands, chains and the cluster's own words through a real Slurm."""

from __future__ import annotations

import json
import sys

import pytest

from fsgr_tui.cli.placing import without_place
from fsgr_tui.jobs.folder import all_runs, find_run
from fsgr_tui.jobs.slurm import standing
from tests.conftest import run_cli
from tests.fakes.jobs import wait_for
from tests.slurm.real import start_now

pytestmark = pytest.mark.slow


def test_a_command_runs_as_a_job_with_a_gpu_of_slurms_and_its_output_is_seen(slurm):
    code = "import os; print('GPUs', os.environ.get('CUDA_VISIBLE_DEVICES'), 'job', os.environ['SLURM_JOB_ID'])"
    done = run_cli("run", "--backend", "slurm", "--name", "mine", "--", sys.executable, "-c", code, timeout=90)
    assert done.returncode == 0, done.stderr
    job = standing.read_submission(find_run("mine")).ids[0]
    assert f"job {job}" in done.stdout
    assert "GPUs None" not in done.stdout
    status = json.loads(run_cli("jobs", "--json").stdout)["jobs"][0]
    assert (status["name"], status["backend"], status["state"], status["exit_code"]) == ("mine", "slurm", "done", 0)


def test_a_command_that_fails_keeps_its_exit_code(slurm):
    done = run_cli("run", "--backend", "slurm", "--", sys.executable, "-c", "raise SystemExit(3)", timeout=90)
    assert done.returncode == 3, done.stderr


def plan(*steps: str) -> str:
    return 'schema = "fsgr-tui/planfile/1"\n' + "".join(f"[[step]]\n{step}\n" for step in steps)


def test_a_plan_is_a_chain_that_ends_with_the_first_failure_and_goes_on_with_all_that_waited(slurm, tmp_path):
    from fsgr_tui.core.planfile import PLANFILE_SCHEMA

    made, flag = tmp_path / "made", tmp_path / "flag"
    text = plan(
        f'name = "first"\nargv = ["touch", "{made}"]',
        f'name = "second"\nargv = ["test", "-e", "{flag}"]\nneeds = ["first"]',
        f'name = "third"\nargv = ["rm", "{made}"]\nneeds = ["second"]',
    ).replace("fsgr-tui/planfile/1", PLANFILE_SCHEMA)
    (tmp_path / "plan.toml").write_text(text)
    done = run_cli("run", "--backend", "slurm", "--name", "chain", str(tmp_path / "plan.toml"), "--detach", timeout=90)
    assert done.returncode == 0, done.stderr
    runs = [find_run(name) for name in done.stdout.split()]
    assert [run.name for run in runs] == ["chain-first", "chain-second", "chain-third"]
    assert standing.read_submission(runs[2]).needs == ("chain-second",)
    ids = [standing.read_submission(run).ids[0] for run in runs]
    assert wait_for(lambda: not slurm.call("squeue", "-h", "-o", "%A").split(), 60)

    def states() -> list[str]:
        for run in runs:
            standing.forget(run)
        return [run.read_status().state for run in runs]

    assert wait_for(lambda: states() == ["done", "failed", "stopped"], 40), states()
    assert made.exists()
    assert f"{ids[2]} CANCELLED" in slurm.call("squeue", "-h", "-t", "all", "-o", "%A %T")
    # A later step alone has nothing to stand on.
    alone = run_cli("resume", "chain-third", "--detach")
    assert alone.returncode == 2
    assert "chain-second has to end well first" in alone.stderr
    flag.touch()
    resumed = run_cli("resume", "chain-second", "--again", "--detach")
    assert resumed.returncode == 0, resumed.stderr
    again = [standing.read_submission(run).ids[0] for run in runs]
    assert again[0] == ids[0]
    assert again[1] not in ids
    assert again[2] not in ids
    assert wait_for(lambda: states() == ["done", "done", "done"], 90), states()
    assert not made.exists()


def test_a_dry_run_of_a_plan_shows_what_waits_for_what(slurm, tmp_path):
    from fsgr_tui.core.planfile import PLANFILE_SCHEMA

    text = plan('name = "a"\nargv = ["true"]', 'name = "b"\nargv = ["true"]\nneeds = ["a"]')
    (tmp_path / "plan.toml").write_text(text.replace("fsgr-tui/planfile/1", PLANFILE_SCHEMA))
    done = run_cli("run", "--backend", "slurm", str(tmp_path / "plan.toml"), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "# b, after a" in done.stdout
    assert done.stdout.count("#SBATCH --job-name=") == 2
    assert not all_runs()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--queue",), "--queue is for jobs on this host"),
        (("--gpu", "0"), "--gpu is for jobs on this host"),
        (("--name", "a name"), "cannot be a job's name"),
        (("--backend", "local", "--profile", "x"), "--profile x belongs to --backend slurm"),
    ],
)
def test_flags_that_contradict_slurm_are_told_before_anything_is_submitted(slurm, flags, told):
    done = run_cli("run", "--backend", "slurm", *flags, "--", "true")
    assert done.returncode == 2
    assert told in done.stderr
    assert not all_runs()


def test_the_plan_and_the_cluster_command_show_partitions_on_a_node_without_gpu(slurm):
    text = run_cli("--plan", "--backend", "slurm", "--dataset", "karpathy")
    assert "Cluster test (Slurm " in text.stdout
    assert "main (default)" in text.stdout
    document = json.loads(run_cli("plan", "--backend", "slurm", "--dataset", "karpathy", "--json").stdout)
    assert document["schema"] == "fsgr-tui/plan/1"
    partitions = {each["name"]: each for each in document["cluster"]["partitions"]}
    assert partitions["scavenge"]["limit_s"] == 3600
    assert partitions["main"]["gpus"] == [{"type": "", "per_node": 2, "nodes": 2}]
    assert document["cluster"]["accounting"] is False
    listed = run_cli("cluster")
    assert listed.returncode == 0
    assert "slurm.toml" in listed.stdout
    page = run_cli("plan", "--backend", "slurm", "--dataset", "karpathy", "--markdown").stdout
    assert "## Cluster test" in page


def test_a_plan_for_slurm_carries_it_and_its_file_is_a_chain_with_an_array(slurm, demo_root, tmp_path, monkeypatch):
    """The plan's own commands, with the demo's tower and shards as a person writes them into the file."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    shown = run_cli("plan", "--backend", "slurm", "--dataset", "karpathy")
    assert "--backend slurm" in shown.stdout.partition("Cluster test")[0]
    images = str(demo_root / "images")
    done = run_cli(
        "plan", "--backend", "slurm", "--image-root", images, "--split", "karpathy", "--gpu", "A100", "--disk-free", "1TB",
        "--experiments", "50", "--out", "plan.toml",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "plan.toml").read_text()
    assert text.count('"--backend", "slurm"') == 2
    small = '"--device", "cpu", "--max-steps", "2", "--batch-size", "8", "--d-model", "32", "--heads", "4", "--no-evaluate", "--warmup", "1"'
    for planned, ours in (
        ('"openai"', '"random:0"'),
        ('"ViT-B-16",', '"fsgr-demo-16",'),
        ('"--resume",', '"--shards", "2", "--device", "cpu",'),
        ('"m2_annotations",', f'"{demo_root / "m2_annotations"}", {small},'),
        ('  "--batch-size", "150",\n', ""),
    ):
        assert planned in text
        text = text.replace(planned, ours)
    (tmp_path / "plan.toml").write_text(text)
    dry = run_cli("run", "plan.toml", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "--array=1-2" in dry.stdout
    # Suggested for the array, its merge and its check, and the training; the check of a file that is not there has none.
    assert dry.stdout.count("#SBATCH --time=") == 4
    started = run_cli("run", "plan.toml", "--detach", timeout=90)
    assert started.returncode == 0, started.stderr
    runs = [find_run(name) for name in started.stdout.split()]
    submissions = [standing.read_submission(run) for run in runs]
    assert [len(each.parts) for each in submissions] == [3, 1, 1]
    assert [each.needs for each in submissions] == [(), (runs[0].name,), (runs[1].name,)]
    assert wait_for(lambda: runs[2].recorded_status().ended_for_good, 60), [
        [(each.state, each.note, each.cause) for each in (run.read_status() for run in runs)],
        slurm.call("squeue", "-t", "all", "-O", "JobID,State,Reason:40,Dependency:60"),
    ]
    assert [run.read_status().state for run in runs] == ["done"] * 3


@pytest.mark.torch
def test_a_training_runs_as_a_job_and_goes_on_after_its_time_limit(slurm, demo_root, demo_features, tmp_path):
    """The signal that Slurm sends before a limit is sent by hand, since limits are whole minutes."""
    pytest.importorskip("torch")
    done = run_cli(
        "train", "--mode", "precomputed", "--features-path", str(demo_features), "--annotation-folder",
        str(demo_root / "m2_annotations"), "--output", str(tmp_path / "out"), "--epochs", "80", "--batch-size", "16",
        "--d-model", "32", "--heads", "4", "--layers", "1", "--workers", "0", "--no-evaluate", "--device", "cpu", "--backend", "slurm",
        "--detach",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = find_run(done.stdout.strip())
    job = standing.read_submission(run).ids[0]
    assert wait_for(lambda: run.recorded_status().progress.step > 3 and run.recorded_status().state == "running", 60)
    slurm.call("scancel", "--signal=USR1", "--batch", str(job))
    start_now(slurm, str(job))
    assert wait_for(lambda: run.recorded_status().ended_for_good, 90), run.recorded_status()
    status = run.recorded_status()
    assert (status.state, status.exit_code, status.attempt) == ("done", 0, 2), status
    assert "steps are kept in" in (run.folder / "attempt-1/events.jsonl").read_text()


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("train", "--backend", "slurm", "--epochs", "3", "--detach"), ("train", "--epochs", "3")),
        (("train", "--nodes", "2", "--nproc", "4", "--backend=slurm"), ("train", "--nproc", "4")),
        (("train", "--profile=gpu", "--json", "--dry_run", "--name", "x"), ("train", "--name", "x")),
    ],
)
def test_a_command_on_its_node_is_not_told_again_where_it_runs(words, kept):
    assert without_place(words) == kept


def test_what_cannot_run_on_several_nodes_is_told_and_a_training_is_spread_over_them(slurm, demo_root, tmp_path):
    (tmp_path / "slurm.toml").write_text("[two]\nnodes = 2\ngpus = 2\n")
    done = run_cli("run", "--profile", "two", "--", "fsgr-tui", "text-embed", "--help")
    assert done.returncode == 2
    assert "`fsgr-tui text-embed` runs on one node" in done.stderr
    shown = run_cli("run", "--profile", "two", "--dry-run", "--", "python3", "train.py")
    assert shown.returncode == 0, shown.stderr
    assert "PET_RDZV_ENDPOINT" in shown.stdout
    training = ("fsgr-tui", "train", "--mode", "realtime", "--annotation-folder", str(demo_root / "m2_annotations"))
    spread = run_cli("run", "--profile", "two", "--detach", "--", *training)
    assert spread.returncode == 0, spread.stderr
    run = find_run(spread.stdout.strip())
    script = (run.folder / "train.sbatch").read_text()
    assert "#SBATCH --nodes=2" in script
    # Suggested from the estimate.
    assert "#SBATCH --time=" in script
    assert run.read_spec().argv[-4:] == ("--nodes", "2", "--nproc", "2")
    unknown = run_cli("run", "--profile", "two", "--detach", "--", "fsgr-tui", "train", "--mode", "realtime")
    assert unknown.returncode == 2
    assert "Missing option '--annotation-folder'" in unknown.stderr
    twice = run_cli("run", "--profile", "two", "--dry-run", "--", "fsgr-tui", "train", "--nodes", "4")
    assert twice.returncode == 2
    assert "The profile says how many (now 2)" in twice.stderr
