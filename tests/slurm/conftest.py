"""One real Slurm for all tests of this folder."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.slurm.real import RealSlurm, missing


@pytest.fixture(scope="session")
def slurm_daemons() -> Iterator[RealSlurm]:
    if absent := missing():
        pytest.skip(
            f"no Slurm here ({', '.join(absent)} missing): apt-get install -y --no-install-recommends "
            "slurmctld slurmd slurm-client munge"
        )
    slurm = RealSlurm()
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


@pytest.fixture
def slurm(slurm_daemons, monkeypatch, tmp_path) -> Iterator[RealSlurm]:
    """The commands of this process and of what it starts speak with the Slurm of the tests."""
    monkeypatch.setenv("SLURM_CONF", slurm_daemons.env["SLURM_CONF"])
    monkeypatch.setenv("PATH", slurm_daemons.env["PATH"])
    monkeypatch.setenv("FSGR_TUI_PROFILES", str(tmp_path / "slurm.toml"))
    yield slurm_daemons
    # Nothing of one test may take the nodes of the next; a job that is being put back comes again.
    until = time.monotonic() + 30
    while ids := slurm_daemons.call("squeue", "-h", "-o", "%A", check=False).split():
        assert time.monotonic() < until, slurm_daemons.call("squeue")
        slurm_daemons.call("scancel", "--signal=KILL", "--full", *ids, check=False)
        slurm_daemons.call("scancel", *ids, check=False)
        time.sleep(0.3)
