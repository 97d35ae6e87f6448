"""Extraction through a real Slurm: arrays, requeues, time limits, cancelling, and what is refused before."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from fsgr_tui.core.job import JobStatus
from fsgr_tui.features.reader import FeatureFile
from fsgr_tui.jobs.folder import RunFolder, find_run
from fsgr_tui.jobs.slurm import standing
from tests.conftest import run_cli
from tests.fakes.jobs import wait_for
from tests.slurm.real import start_now

pytestmark = [pytest.mark.slow, pytest.mark.torch]

TOWER = ("--clip-model", "fsgr-demo-16", "--weights", "random:0", "--precision", "fp32", "--device", "cpu")
IMAGES = 240
LONG_S = 120.0


@pytest.fixture(scope="session")
def many(tmp_path_factory) -> Path:
    """Pictures of the demo's kind, so many that there is time to disturb their extraction."""
    from fsgr_tui.demo.dataset import write_dataset

    root = tmp_path_factory.mktemp("many") / "data"
    write_dataset(root, train=IMAGES, val=4, seed=0)
    return root / "images"


def submit(images: Path, output: Path, *flags: str, split: str = "train2014") -> RunFolder:
    """Submit an extraction that takes its pictures one by one, and leave it alone."""
    done = run_cli(
        "extract", "--image-root", str(images), "--split", split, "--output-path", str(output), *TOWER,
        "--batch-size", "1", "--workers", "1", "--backend", "slurm", "--detach", *flags,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return find_run(done.stdout.strip())


def looked(run: RunFolder) -> JobStatus:
    standing.forget(run)
    return run.read_status()


def until(run: RunFolder, condition, seconds: float = LONG_S) -> JobStatus:
    """The status once a condition holds for it."""
    found: list[JobStatus] = []

    def holds() -> bool:
        found[:] = [looked(run)]
        return condition(found[0])

    assert wait_for(holds, seconds), found[0]
    return found[0]


def member(run: RunFolder, name: str) -> RunFolder:
    return RunFolder(run.folder / name)


def at_work(run: RunFolder, images: int = 20) -> bool:
    """Whether a runner has come so far, by the word of its folder."""
    status = run.recorded_status()
    return status.state == "running" and status.progress.unit == "images" and status.progress.step >= images


def ids(run: RunFolder) -> dict[str, int]:
    return {part.name: part.job_id for part in standing.read_submission(run).parts}


def back(slurm, node: str) -> bool:
    """Whether a node that was down takes jobs again."""
    slurm.call("scontrol", "update", f"nodename={node}", "state=resume", check=False)
    return slurm.call("sinfo", "-h", "-N", "-n", node, "-p", "main", "-o", "%t").strip() in (
        "idle",
        "mix",
        "alloc",
        "comp",
    )


def is_whole(path: Path, images: Path) -> bool:
    """Whether a file holds all pictures, with the features that they have when they are extracted again."""
    done = run_cli(
        "check", str(path), "--image-root", str(images), "--split", "train2014", "--recompute", "8", "--device", "cpu"
    )
    return len(FeatureFile(path)) == IMAGES and done.returncode == 0


def test_an_array_with_one_task_killed_and_requeued_and_a_failed_node_gives_a_whole_checked_file(slurm, many, tmp_path):
    output = tmp_path / "f.hdf5"
    run = submit(many, output, "--shards", "2")
    first, second = member(run, "shard-1"), member(run, "shard-2")
    assert wait_for(lambda: at_work(first) and at_work(second), LONG_S)
    killed, failed = (f"{ids(run)['extract']}_{shard}" for shard in (2, 1))
    node = slurm.call("squeue", "-h", "-j", failed, "-o", "%N").strip()
    slurm.call("scontrol", "requeue", killed)
    slurm.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        status = until(run, lambda status: [part.state for part in status.parts[:2]] == ["queued"] * 2)
    finally:
        assert wait_for(lambda: back(slurm, node), 20)
    assert not status.ended_for_good
    for key in (killed, failed):
        start_now(slurm, key)
    status = until(run, lambda status: status.ended_for_good)
    assert (status.state, status.exit_code, status.cause) == ("done", 0, None), status
    assert [(part.state, part.attempt) for part in status.parts] == [("done", 2), ("done", 2), ("done", 1), ("done", 1)]
    # The second turn took over what the first had finished, which may be all of it when the requeue came late.
    assert re.search("were finished before|is complete already", second.events.read_text())
    assert "good" in member(run, "check").log.read_text()
    assert status.result["images"] == IMAGES
    assert is_whole(output, many)
    # As one job for every face.
    listed = json.loads(run_cli("jobs", "--json").stdout)["jobs"]
    kept = [(job["name"], job["backend"], len(job["parts"])) for job in listed if job["backend"] == "slurm"]
    assert kept == [(run.name, "slurm", 4)]
    assert run_cli("logs", f"{run.name}/shard-2").returncode == 0


def test_a_time_limit_shorter_than_the_work_still_ends_whole(slurm, many, tmp_path):
    """Limits are whole minutes; the signal that Slurm sends before one is sent here by hand, as Slurm sends it."""
    output = tmp_path / "f.hdf5"
    run = submit(many, output)
    job = str(ids(run)["extract"])
    assert wait_for(lambda: at_work(run), LONG_S)
    slurm.call("scancel", "--signal=USR1", "--batch", job)
    status = until(run, lambda status: status.state == "queued")
    assert status.cause is None
    start_now(slurm, job)
    status = until(run, lambda status: status.ended_for_good)
    assert (status.state, status.exit_code, status.attempt) == ("done", 0, 2), status
    kept = json.loads((run.folder / "attempt-1/status.json").read_text())["progress"]["step"]
    assert 0 < kept < IMAGES
    assert is_whole(output, many)


def test_cancelling_leaves_nothing_running_and_resume_ends_it(slurm, many, tmp_path):
    output = tmp_path / "f.hdf5"
    run = submit(many, output, "--shards", "2")
    shards = [member(run, f"shard-{number}") for number in (1, 2)]
    assert wait_for(lambda: all(at_work(shard) for shard in shards), LONG_S)
    children = [shard.recorded_status().child_pid for shard in shards]
    stranger = slurm.call("sbatch", "--parsable", "--hold", "--wrap=sleep 60", f"--chdir={tmp_path}").strip()
    done = run_cli("stop", run.name)
    assert done.returncode == 0, done.stderr
    assert "stopped" in done.stdout
    assert slurm.call("squeue", "-h", "-o", "%A").split() == [stranger]
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}")]
    status = looked(run)
    # A shard may have finished in the moment before it was told to stop.
    states = {part.state for part in status.parts}
    assert status.state == "stopped"
    assert "stopped" in states <= {"stopped", "done"}
    assert not output.exists()
    resumed = run_cli("resume", run.name, timeout=150)
    assert resumed.returncode == 0, resumed.stderr
    assert looked(run).state == "done"
    again = [
        part.attempt for part, before in zip(looked(run).parts, status.parts, strict=True) if before.state == "stopped"
    ]
    assert again[0] == 2
    assert is_whole(output, many)


def test_a_shard_that_fails_ends_what_waits_for_it(slurm, demo_root, tmp_path):
    """Without --kill-on-invalid-dep the merge would wait for ever."""
    run = submit(demo_root / "images", tmp_path / "f.hdf5", "--shards", "2")
    jobs = ids(run)
    spec = json.loads((run.folder / "shard-1/extract.json").read_text())
    (run.folder / "shard-1/extract.json").write_text(json.dumps({**spec, "images_file": str(tmp_path / "gone")}))
    assert wait_for(lambda: not slurm.call("squeue", "-h", "-o", "%A").split(), 60), slurm.call("squeue")
    status = until(run, lambda status: status.parts[0].state == "failed")
    # The merge never had a node, so nothing is waited for.
    assert "shard 1" in str(until(run, lambda status: status.ended_for_good, 40).cause)
    assert str(jobs["merge"]) in slurm.call("squeue", "-h", "-t", "all", "-o", "%A %T")
    assert status.parts[1].state == "done"


def test_a_run_whose_name_and_folders_hold_spaces_works(slurm, demo_root, tmp_path, monkeypatch):
    runs = tmp_path / "my runs 100%"
    runs.mkdir()
    monkeypatch.setenv("FSGR_TUI_RUNS", str(runs))
    output = tmp_path / "my features" / "训练.hdf5"
    run = submit(demo_root / "images", output, "--shards", "2", split="karpathy")
    status = until(run, lambda status: status.ended_for_good)
    assert status.state == "done", status
    assert len(FeatureFile(output)) == 36
    assert [path.name for path in sorted(run.folder.glob("slurm-*.out"))]
    # The script in the run folder can be submitted by hand; what is finished is not done again.
    before = output.stat()
    job = slurm.call("sbatch", "--parsable", str(run.folder / "extract.sbatch")).strip()
    assert wait_for(
        lambda: slurm.call("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%T").split() == ["COMPLETED"] * 2, 60
    )
    assert output.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        ("partition = 'gpus'", "There is no partition 'gpus' here."),
        ("gpus = 9", "gpus = 9: no node of the partition main has more than 2."),
        ("gpu_type = 'a100'\ngpus = 1", "GPUs without a type"),
        ("cpus = 512", "cpus = 512: no node of the partition main has more than 2."),
        ("memory = '900TB'", "no node of the partition main has more than"),
        ("partition = 'scavenge'\ntime = '3d'", "the partition scavenge gives 0-01:00 at the most"),
        ("nodes = 3", "3 nodes: the partition main has 2."),
    ],
)
def test_what_the_cluster_cannot_give_is_told_before_anything_is_submitted(
    slurm, demo_root, tmp_path, own_runs, profile, told
):
    (tmp_path / "slurm.toml").write_text(f"[mine]\n{profile}\n")
    done = run_cli(
        "extract", "--image-root", str(demo_root / "images"), "--split", "karpathy", "--output-path",
        str(tmp_path / "f.hdf5"), *TOWER, "--profile", "mine",
    )  # fmt: skip
    assert done.returncode == 2
    assert told in done.stderr
    assert not list(own_runs.glob("extract*"))


def test_a_dry_run_shows_scripts_that_slurm_takes(slurm, demo_root, tmp_path, own_runs):
    done = run_cli(
        "extract", "--image-root", str(demo_root / "images"), "--split", "karpathy", "--output-path",
        str(tmp_path / "f.hdf5"), *TOWER, "--backend", "slurm", "--shards", "3", "--dry-run",
    )  # fmt: skip
    assert done.returncode == 0
    assert "other nodes most likely do not see" in done.stderr
    assert not list(own_runs.glob("extract*"))
    scripts = done.stdout.split("# ---- ")[1:]
    assert [text.splitlines()[0] for text in scripts] == [
        "extract.sbatch",
        "merge.sbatch, after extract",
        "check.sbatch, after merge",
    ]
    for number, text in enumerate(scripts):
        path = tmp_path / f"{number}.sbatch"
        path.write_text(text.partition("\n")[2])
        slurm.call("sbatch", "--test-only", str(path))


def test_slurm_says_nothing_while_its_controller_is_down_and_the_last_state_stays(
    slurm, demo_root, tmp_path, monkeypatch
):
    run = submit(demo_root / "images", tmp_path / "f.hdf5")
    until(run, lambda status: status.ended_for_good)
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "none.conf"))
    began = time.monotonic()
    assert looked(run).state == "done"
    assert time.monotonic() - began < 1
