"""A real Slurm for tests: two nodes on this host, as this user, without systemd, cgroups or anything under /etc.

Everything lies in one private folder with a short path, since the length of socket paths is limited.
"""

from __future__ import annotations

import getpass
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import ClassVar

from fsgr_tui.jobs.processes import find
from tests.fakes.jobs import wait_for

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
START_S = 30.0
SBIN = "/usr/sbin"


def missing() -> list[str]:
    """Programs of Slurm that are not here."""
    return [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:{SBIN}") is None]


class RealSlurm:
    """Controller, two nodes (with two pretended GPUs each) and munge, until `stop`."""

    SETTINGS: ClassVar[dict[str, object]] = {}
    """Settings on top of those of `_configure`."""

    PORTS = 3

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fs", dir="/tmp"))
        self.env = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:{SBIN}"}
        for name in ("run", "log", "munge", "ctld", "n1", "n2"):
            (self.folder / name).mkdir(mode=0o700)
        (self.folder / "munge/key").write_bytes(os.urandom(1024))
        (self.folder / "munge/key").chmod(0o600)
        self.ports = _free_ports(self.PORTS)
        self._configure(self.ports[:3])

    def start(self) -> None:
        """Start the daemons and wait until both nodes are idle."""
        self.daemon(
            "munged", "--force", f"--key-file={self.folder}/munge/key", f"--seed-file={self.folder}/munge/seed",
            f"--socket={self.folder}/run/m", f"--pid-file={self.folder}/run/munged.pid", f"--log-file={self.folder}/log/munged.log",
        )  # fmt: skip
        self.start_controller()
        for node in ("n1", "n2"):
            self.daemon("slurmd", "-N", node)
        until = time.monotonic() + START_S
        while self.call("sinfo", "-h", "-N", "-p", "main", "-t", "idle", "-o", "%N").split() != ["n1", "n2"]:
            if time.monotonic() > until:
                log = (self.folder / "log/slurmctld.log").read_text()[-2000:]
                raise RuntimeError(f"the nodes did not become idle:\n{log}")
            time.sleep(0.1)

    def start_controller(self) -> None:
        """Start what the nodes report to."""
        self.daemon("slurmctld")

    def call(self, *argv: str, check: bool = True) -> str:
        """Run one of Slurm's commands; returns what it printed."""
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=30, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{argv}: {done.stderr}")
        return done.stdout

    def stop(self) -> None:
        """Cancel all jobs, end the daemons by their own pids, and delete the folder."""
        self.call("scancel", "--user", getpass.getuser(), check=False)
        until = time.monotonic() + 15
        while self.call("squeue", "-h", check=False).strip() and time.monotonic() < until:
            time.sleep(0.2)
        self.stop_daemons()
        self.end("munged")
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop_daemons(self) -> None:
        """End nodes and controller."""
        for name in ("slurmd.n1", "slurmd.n2", "slurmctld"):
            self.end(name)

    def daemon(self, *argv: str) -> None:
        """Start a program that puts itself into the background."""
        with (self.folder / "log/out").open("ab") as log:
            subprocess.run(argv, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=30, check=True)

    def end(self, name: str) -> None:
        """End a daemon by its own pid."""
        pid_file = self.folder / f"run/{name}.pid"
        try:
            pid = int(pid_file.read_text())
            if b"slurm" not in Path(f"/proc/{pid}/cmdline").read_bytes() and "munged" not in pid_file.name:
                return
            os.kill(pid, signal.SIGTERM)
        except (OSError, ValueError):
            return
        until = time.monotonic() + 10
        while find(pid) is not None and time.monotonic() < until:
            time.sleep(0.05)

    def _configure(self, ports: list[int]) -> None:
        host, me, folder = socket.gethostname().split(".")[0], getpass.getuser(), self.folder
        memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 9 // 10 >> 20
        settings = {
            "ClusterName": "test", "SlurmctldHost": f"{host}(127.0.0.1)", "SlurmUser": me, "SlurmdUser": me,
            "AuthType": "auth/munge", "AuthInfo": f"socket={folder}/run/m", "CredType": "cred/munge", "SlurmctldPort": ports[0],
            "SlurmctldPidFile": f"{folder}/run/slurmctld.pid", "SlurmctldLogFile": f"{folder}/log/slurmctld.log",
            "SlurmdPidFile": f"{folder}/run/slurmd.%n.pid", "SlurmdLogFile": f"{folder}/log/slurmd.%n.log",
            "SlurmdSpoolDir": f"{folder}/%n", "StateSaveLocation": f"{folder}/ctld", "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none", "JobAcctGatherType": "jobacct_gather/none",
            "AccountingStorageType": "accounting_storage/none", "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core", "SchedulerType": "sched/backfill",
            "SchedulerParameters": "sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0",
            "PreemptType": "preempt/partition_prio", "PreemptMode": "REQUEUE", "MpiDefault": "none", "ReturnToService": 2,
            "MinJobAge": 300, "KillWait": 5, "SlurmdTimeout": 60, "JobRequeue": 1, "SlurmdParameters": "config_overrides",
            "GresTypes": "gpu",
        }  # fmt: skip
        lines = [f"{name}={value}" for name, value in {**settings, **self.SETTINGS}.items()]
        for node, port in zip(("n1", "n2"), ports[1:], strict=True):
            lines.append(
                f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory={memory_mb} Gres=gpu:2"
            )
        lines.append("PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP PriorityTier=10")
        lines.append("PartitionName=scavenge Nodes=n[1-2] MaxTime=60 State=UP PriorityTier=1")
        (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
        (folder / "gres.conf").write_text("".join(f"Name=gpu File={path}\n" for path in self._pretended_gpus()))

    def _pretended_gpus(self) -> list[str]:
        made = [self.folder / "gpu0", self.folder / "gpu1"]
        try:
            for path in made:
                os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except OSError:
            # An ordinary user makes no devices.
            return ["/dev/null", "/dev/zero"]
        return [str(path) for path in made]


def start_now(slurm: RealSlurm, key: str) -> None:
    """A job that was put back waits two minutes; tests do not. Slurm sets that time again while the job is completing."""

    def state() -> str:
        return slurm.call("squeue", "-h", "-r", "-t", "all", "-j", key, "-o", "%T", check=False).strip()

    def started() -> bool:
        slurm.call("scontrol", "update", f"jobid={key}", "StartTime=now", check=False)
        return state() not in ("PENDING", "COMPLETING", "REQUEUED", "")

    assert wait_for(lambda: state() == "PENDING", 30), state()
    # Within the second in which a node ended a job it does not take the same job again.
    time.sleep(2)
    assert wait_for(started, 30), slurm.call("squeue")


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the kernel gives away."""
    while True:
        first = random.randrange(20000, 32000 - count)
        sockets = []
        try:
            for port in range(first, first + count):
                one = socket.socket()
                sockets.append(one)
                one.bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
        return list(range(first, first + count))
