"""A real accounting for the tests' Slurm: slurmdbd with a database of its own, both in the private folder."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import ClassVar

from tests.slurm.real import SBIN, START_S, RealSlurm

PROGRAMS = ("slurmdbd", "mariadbd", "sacct", "sacctmgr")
SCHEMA = Path("/usr/share/mysql")


def missing() -> list[str]:
    """Programs of the accounting that are not here."""
    found = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:{SBIN}") is None]
    return found or ([] if (SCHEMA / "mysql_system_tables.sql").exists() else ["MariaDB's system tables"])


class AccountedSlurm(RealSlurm):
    """A Slurm that forgets finished jobs at once, and an accounting that keeps them."""

    SETTINGS: ClassVar = {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": "127.0.0.1",
        "MinJobAge": 2,
    }

    PORTS = 4

    def __init__(self) -> None:
        super().__init__()
        self.port = self.ports[-1]
        self._socket = self.folder / "run/db"
        self.env["MYSQL_UNIX_PORT"] = str(self._socket)
        lines = {
            "AuthType": "auth/munge", "AuthInfo": f"socket={self.folder}/run/m", "DbdHost": "localhost", "DbdAddr": "127.0.0.1",
            "DbdPort": self.port, "SlurmUser": getpass.getuser(), "StorageType": "accounting_storage/mysql", "StorageHost": "localhost",
            "StorageUser": "root", "StorageLoc": "slurm", "LogFile": f"{self.folder}/log/slurmdbd.log",
            "PidFile": f"{self.folder}/run/slurmdbd.pid",
        }  # fmt: skip
        path = self.folder / "slurmdbd.conf"
        path.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        path.chmod(0o600)
        with (self.folder / "slurm.conf").open("a") as file:
            # With munge the password is the socket of its daemon.
            file.write(f"AccountingStoragePort={self.port}\nAccountingStoragePass={self.folder}/run/m\n")

    def start_controller(self) -> None:
        """The database and its daemon come before the controller, which asks them for its cluster."""
        data = self.folder / "data"
        data.mkdir()
        common = (
            "mariadbd", "--no-defaults", f"--user={getpass.getuser()}", f"--datadir={data}", "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", "--skip-grant-tables",
        )  # fmt: skip
        tables = [(SCHEMA / f"mysql_system_tables{name}.sql").read_text() for name in ("", "_data")]
        text = "\n".join(["create database mysql;", "use mysql;", *tables])
        subprocess.run(
            (*common, "--bootstrap"), env=self.env, input=text, text=True, capture_output=True, timeout=60, check=True
        )
        with (self.folder / "log/mariadbd.log").open("ab") as log:
            self._database = subprocess.Popen(
                (*common, "--skip-networking", f"--socket={self._socket}"), env=self.env, stdout=log, stderr=log
            )
        _until(self._socket.exists)
        self.start_accounting()
        _until(lambda: "test" in self.call("sacctmgr", "-i", "add", "cluster", "test", check=False))
        super().start_controller()

    def start_accounting(self) -> None:
        """Start slurmdbd."""
        self.daemon("slurmdbd")
        _until(lambda: bool(self.call("sacctmgr", "-n", "show", "configuration", check=False)))

    def stop_accounting(self) -> None:
        """End slurmdbd; the database stays."""
        self.end("slurmdbd")

    def stop_daemons(self) -> None:
        """The controller writes its last word to the accounting."""
        super().stop_daemons()
        self.stop_accounting()
        self._database.kill()
        self._database.wait()


def _until(condition) -> None:
    until = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError("the accounting did not start")
        time.sleep(0.1)
