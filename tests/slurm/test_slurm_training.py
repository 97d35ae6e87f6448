"""Training through a real Slurm: over two nodes, killed and going on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from fsgr_tui.jobs.folder import RunFolder, find_run
from fsgr_tui.jobs.slurm import standing
from tests.conftest import run_cli
from tests.fakes.jobs import wait_for
from tests.slurm.real import start_now

pytestmark = [pytest.mark.slow, pytest.mark.torch]

LONG_S = 240.0


@pytest.fixture
def train(slurm, demo_root, demo_features, tmp_path):
    """Submits a training with a profile of its own, and leaves it alone."""

    def submit(name: str, profile: str, *flags: str) -> RunFolder:
        # How many threads add up a sum changes its last digits.
        setup = "setup = ['export OMP_NUM_THREADS=1']"
        (tmp_path / "slurm.toml").write_text(f"[mine]\ngpus = 0\n{setup}\n{profile}\n")
        done = run_cli(
            "train", "--mode", "precomputed", "--features-path", str(demo_features), "--annotation-folder",
            str(demo_root / "m2_annotations"), "--output", str(tmp_path / name), "--batch-size", "16", "--d-model", "32",
            "--heads", "4", "--layers", "1", "--workers", "0", "--warmup", "5", "--no-evaluate", "--device", "cpu",
            "--profile", "mine", "--detach", *flags,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return find_run(done.stdout.strip())

    return submit


def ended(run: RunFolder) -> None:
    assert wait_for(lambda: run.recorded_status().ended_for_good, LONG_S), run.recorded_status()
    status = run.recorded_status()
    assert (status.state, status.exit_code) == ("done", 0), (status, run.log.read_text()[-3000:])


def weights(folder: Path) -> dict[str, Any]:
    import torch

    return torch.load(folder / "fsgr_last.pth", weights_only=True)["learner"]["captioner"]


def result(run: RunFolder) -> tuple[object, ...]:
    told = run.recorded_status().result
    return tuple(told[name] for name in ("steps", "processes", "first_loss", "last_loss", "val_loss"))


def test_two_nodes_learn_what_two_processes_of_one_node_learn(train, tmp_path):
    import torch

    together = train("one", "", "--nproc", "2", "--epochs", "3")
    ended(together)
    apart = train("two", "", "--nodes", "2", "--epochs", "3")
    ended(apart)
    assert "--nodes=2" in (apart.folder / "train.sbatch").read_text()
    assert result(apart) == result(together)
    assert result(apart)[1] == 2
    ours, theirs = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def rank_pids(run: RunFolder) -> list[int]:
    """The training processes of all nodes: all of them are on this host."""
    spec = str(run.folder / "train.json").encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if spec in words and b"--rank" in words:
            found.append(int(folder.name))
    return found


def listening(pid: int) -> set[str]:
    """The addresses that a process listens on, in hexadecimal as the kernel writes them."""
    inodes = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    rows = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()
    ]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


def kept(run: RunFolder) -> int:
    """Steps in the checkpoint of a training that runs."""
    status = run.recorded_status()
    return status.kept or 0 if status.state == "running" else 0


def test_two_nodes_that_are_stopped_at_a_limit_and_killed_learn_exactly_what_an_undisturbed_run_learns(
    slurm, train, tmp_path
):
    import torch

    epochs = ("--epochs", "160")
    run = train("two", "", "--nodes", "2", *epochs)
    job = str(standing.read_submission(run).ids[0])
    assert wait_for(lambda: kept(run) > 0, LONG_S), run.log.read_text()
    ranks = rank_pids(run)
    assert len(ranks) == 2
    # Peers meet on one interface: on this host the loopback.
    assert {address for pid in ranks for address in listening(pid)} == {"0100007F"}
    slurm.call("scancel", "--signal=USR1", "--batch", job)
    start_now(slurm, job)
    before = run.recorded_status().kept or 0
    assert wait_for(lambda: run.recorded_status().attempt == 2 and kept(run) > before, LONG_S), run.recorded_status()
    slurm.call("scontrol", "requeue", job)
    start_now(slurm, job)
    ended(run)
    assert run.recorded_status().attempt == 3
    assert not rank_pids(run)
    # Slurm's own end leaves the processes of all nodes the time to keep their last step, too.
    for attempt in (1, 2):
        assert "steps are kept in" in (run.folder / f"attempt-{attempt}/events.jsonl").read_text()
    whole = train("one", "", "--nproc", "2", *epochs)
    ended(whole)
    assert result(run) == result(whole)
    ours, theirs = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_stopping_a_training_of_two_nodes_leaves_nothing_of_it_and_keeps_its_steps(slurm, train, tmp_path):
    run = train("two", "", "--nodes", "2", "--epochs", "400")
    assert wait_for(lambda: kept(run) > 0, LONG_S), run.log.read_text()
    stopped = run_cli("stop", run.name)
    assert stopped.returncode == 0, stopped.stderr
    assert not slurm.call("squeue", "-h", "-o", "%A").split()
    assert not rank_pids(run)
    status = run.recorded_status()
    assert (status.state, status.exit_code) == ("stopped", 143)
    assert status.kept > 0
    assert (tmp_path / "two/fsgr_last.pth").exists()


TORCHRUN_SCRIPT = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
told = torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(told)
print(f"rank {dist.get_rank()} of {dist.get_world_size()} sees {told.item():g}", flush=True)
dist.destroy_process_group()
"""


@pytest.fixture
def two(tmp_path, monkeypatch) -> None:
    """A profile of two nodes, and a script of a lab that all processes of a run have to meet in."""
    # The names of two nodes on one host are in no table of hosts, and gloo asks for that of the host alone.
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    (tmp_path / "slurm.toml").write_text("[two]\nnodes = 2\ngpus = 0\n")
    (tmp_path / "train.py").write_text(TORCHRUN_SCRIPT)


MET = {f"rank {rank} of 2 sees 3" for rank in (0, 1)}


@pytest.mark.usefixtures("slurm", "two")
def test_a_labs_own_script_meets_through_torchrun_at_the_first_host(tmp_path):
    done = run_cli("run", "--profile", "two", "--cwd", str(tmp_path), "--", sys.executable, "train.py", timeout=LONG_S)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) >= MET


@pytest.mark.usefixtures("slurm", "two")
def test_a_labs_checkout_is_submitted_with_its_own_python_and_torchrun(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("train", "--repo", ".", "--script-name", "train.py", "--python", sys.executable, "--mode", "realtime")
    refused = run_cli(*words, "--nodes", "2")
    assert refused.returncode == 2
    assert "--nodes belongs to --backend slurm" in refused.stderr
    shown = run_cli(*words, "--profile", "two", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "#   srun torchrun --nnodes=$SLURM_JOB_NUM_NODES --nproc-per-node=1 --rdzv-backend=c10d" in shown.stdout
    done = run_cli(*words, "--profile", "two", "--detach")
    assert done.returncode == 0, done.stderr
    run = find_run(done.stdout.strip())
    ended(run)
    assert set(run.log.read_text().splitlines()) >= MET
