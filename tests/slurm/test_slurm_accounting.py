"""What a real accounting tells of jobs that have left the queue; and while it cannot be reached."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsgr_tui.core import slurm_job
from fsgr_tui.core.job import JobStatus
from fsgr_tui.jobs.folder import RunFolder, find_run
from fsgr_tui.jobs.slurm import commands, queue, standing
from tests.conftest import run_cli
from tests.fakes.jobs import wait_for
from tests.slurm import accounting, real

pytestmark = pytest.mark.slow

GONE_S = 60.0
"""Finished jobs leave the queue after MinJobAge, when Slurm next looks."""


@pytest.fixture(scope="module")
def slurm_daemons() -> Iterator[accounting.AccountedSlurm]:
    if absent := [*real.missing(), *accounting.missing()]:
        pytest.skip(
            f"no accounting here ({', '.join(absent)} missing): apt-get install -y --no-install-recommends "
            "slurmctld slurmd slurm-client munge slurmdbd mariadb-server-core"
        )
    slurm = accounting.AccountedSlurm()
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """Names of Slurm's commands, as they are called; folders are given little time for their last word."""
    monkeypatch.setattr(slurm_job, "GRACE_S", 1.0)
    monkeypatch.setattr(queue, "POLL_S", 0.5)
    called: list[str] = []
    run = commands.run

    def counting(argv, timeout_s: float = commands.ASK_S) -> commands.Answer:
        called.append(argv[0])
        return run(argv, timeout_s)

    monkeypatch.setattr(commands, "run", counting)
    return called


def running(slurm, name: str) -> tuple[RunFolder, str]:
    done = run_cli("run", "--backend", "slurm", "--name", name, "--detach", "--", "sleep", "600", timeout=90)
    assert done.returncode == 0, done.stderr
    run = find_run(name)
    assert wait_for(lambda: run.recorded_status().state == "running", 60)
    return run, str(standing.read_submission(run).ids[0])


def kill_without_a_word(run: RunFolder) -> None:
    """End a job's processes so that none of them can write anything: as the kernel does when memory runs out."""
    killed = [run.recorded_status().child_pid]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(run.folder).encode() in words and any(word.startswith(b"fsgr_tui.jobs.") for word in words):
            killed.insert(0, int(folder.name))
    for pid in killed:
        os.kill(pid, signal.SIGKILL)


def looked(run: RunFolder) -> JobStatus:
    standing.forget(run)
    return run.read_status()


def gone(slurm, job: str) -> bool:
    return not slurm.call("squeue", "-h", "-t", "all", "-j", job, check=False).strip()


def test_a_job_that_somebody_cancelled_by_hand_is_told_by_the_accounting(slurm, asked):
    run, job = running(slurm, "cancelled")
    slurm.call("scancel", job)
    assert wait_for(lambda: gone(slurm, job), GONE_S)
    assert wait_for(lambda: looked(run).ended_for_good, 20), looked(run)
    status = looked(run)
    assert status.state == "stopped"
    assert status.cause.text == f"Slurm: the job was cancelled by user {os.getuid()}."


def test_a_job_whose_processes_were_all_killed_has_failed_by_the_accountings_word(slurm, asked):
    run, job = running(slurm, "killed")
    kill_without_a_word(run)
    assert wait_for(lambda: gone(slurm, job), GONE_S)
    assert wait_for(lambda: looked(run).ended_for_good, 20), looked(run)
    assert "Slurm: FAILED" in looked(run).cause.text


def test_an_accounting_that_cannot_be_reached_is_asked_more_seldom_and_the_last_state_stays_with_its_age(slurm, asked):
    run, job = running(slurm, "unreached")
    kill_without_a_word(run)
    assert wait_for(lambda: gone(slurm, job), GONE_S)
    slurm.stop_accounting()
    try:
        assert wait_for(lambda: "cannot be reached now" in looked(run).note, 20), looked(run)
        asked.clear()
        until = time.monotonic() + 8
        while time.monotonic() < until:
            status = looked(run)
            time.sleep(0.1)
        assert status.state == "running"
        assert "this is how it stood" in status.note
        # After 0.5, 1, 2 and 4 seconds, not with every look.
        assert 1 <= asked.count("sacct") <= 5
    finally:
        slurm.start_accounting()
    assert wait_for(lambda: looked(run).ended_for_good, 60), looked(run)
    assert "Slurm: FAILED" in looked(run).cause.text


def test_the_cluster_says_that_its_jobs_are_kept(slurm):
    assert "kept by the accounting" in run_cli("cluster").stdout
