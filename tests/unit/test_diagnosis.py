from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fsgr_tui.core.lab import LoginSession
from fsgr_tui.core.machine import CpuBudget, Disk, Gpu, GpuReport, Host, Machine, MemoryBudget
from fsgr_tui.core.units import GB, GIB, Unknown
from fsgr_tui.probes.nvml import installed_bindings
from fsgr_tui.service.diagnosis import Asked, examine, grouped, page
from fsgr_tui.service.privacy import Privacy
from tests.conftest import run_cli
from tests.fakes.lab import write_python

ALICE = Privacy("/data/home/alice", ("alice",), ())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/data/home/alice/features", "~/features"),
        ("/data/home/alice", "~"),
        ("/data/home/alicea/x", "/data/home/USER/x"),
        ("/data/home/bob/x on /home/bob", "/data/home/USER/x on /home/USER"),
        ("/scratch/alice-data/x", "/scratch/USER-data/x"),
        ("alice@nas:/srv", "USER@nas:/srv"),
        ("ALICE-PC, Linux", "USER-PC, Linux"),
        ("/mnt/malice/x", "/mnt/malice/x"),
        ("/Users/carol/x", "/Users/USER/x"),
    ],
)
def test_the_home_folder_and_every_name_of_a_person_is_taken_out_of_paths(text, shown):
    assert ALICE.cleaned(text) == shown


def test_an_account_that_everybody_has_is_taken_out_of_paths_but_not_of_sentences():
    root = Privacy("", ("root",))
    assert root.cleaned("root may use it; /root/x; /srv/root") == "root may use it; /USER/x; /srv/USER"


def test_the_hosts_name_is_taken_out_when_asked_with_and_without_its_domain():
    privacy = Privacy("", (), ("gpu01.lab.edu", "gpu01"))
    assert privacy.cleaned("gpu01.lab.edu, gpu01:/x, gpu012") == "HOST, HOST:/x, gpu012"
    assert Privacy.here(hide_host=True).cleaned(f"{platform.node()}, Linux") == "HOST, Linux"
    assert Privacy.here().cleaned(f"a {platform.node().upper()}x") == f"a {platform.node().upper()}x"


def test_all_names_of_the_user_are_known(monkeypatch):
    monkeypatch.setenv("HOME", "/nas/people/dora")
    monkeypatch.setenv("USER", "dora1")
    monkeypatch.setenv("SUDO_USER", "erik")
    assert Privacy.here().cleaned("/nas/people/dora/a /x/dora1 /y/erik/z /z/dora") == "~/a /x/USER /y/USER/z /z/USER"


GPU = Gpu(0, "GPU-secret", "A100", 40 * GIB, 30 * GIB, 10 * GIB, 0, 0)
MACHINE = Machine(
    (
        Disk(
            "/data/home/zoe/run",
            "/data",
            "nfs4",
            "nas:/data",
            9 * GB,
            3 * GB,
            Unknown("quota not checked: no quota command"),
            5,
            True,
        ),
    ),
    GpuReport("ok", (GPU,), "550.54.14"),
    Host("node7", "Linux 6", "3.11", "EPYC", CpuBudget(8, "host", 8), MemoryBudget(GIB, GIB, "host")),
)
QUIET = Asked(
    lambda paths: MACHINE,
    lambda: LoginSession(False, False, True, "no systemd runs here"),
    lambda: ("nvidia-ml-py 12.535",),
)


def readings(asked: Asked = QUIET, **changes) -> dict[str, str]:
    return {row.what: row.reading for row in examine(asked=asked, **changes)}


def test_the_doctor_tells_machine_disks_with_what_was_not_checked_and_no_names():
    rows = readings()
    assert rows["driver"] == "550.54.14"
    disk = rows["working folder"]
    assert disk.startswith("/data/home/USER/run: 3.00 GB free of 9.00 GB on /data (nfs4)")
    assert "quota not checked: no quota command" in disk
    assert "5 inodes free" in disk
    assert "GPU-secret" not in str(rows)


def test_a_driver_that_was_updated_in_use_is_told_with_its_remedy():
    machine = msgspec.structs.replace(
        MACHINE, gpu_report=GpuReport("driver_mismatch", driver="535", message="updated; reboot")
    )
    assert readings(QUIET._replace(machine=lambda paths: machine))["GPU"] == "updated; reboot"


@pytest.mark.parametrize(
    ("session", "words"),
    [
        (LoginSession(False, False, True, "loginctl"), ("jobs go on",)),
        (
            LoginSession(True, False, True, "loginctl"),
            ("KillUserProcesses", "loginctl enable-linger", "systemd-run --user --scope"),
        ),
        (LoginSession(True, True, True, "loginctl"), ("enable-linger is on", "systemd-run --user --scope")),
        (
            LoginSession(Unknown("no loginctl command"), False, True, "logind.conf"),
            ("not known", "no loginctl command"),
        ),
    ],
)
def test_what_a_log_out_does_to_jobs_is_told(session, words):
    told = readings(QUIET._replace(login=lambda: session))["log-out"]
    assert [word for word in words if word not in told] == []


@pytest.mark.parametrize(
    ("bindings", "warns"),
    [
        (("nvidia-ml-py 12.535", "pynvml 11.5.0"), True),
        (("pynvml 11.5.0",), True),
        (("nvidia-ml-py 12.535",), False),
        ((), False),
    ],
)
def test_the_deprecated_package_beside_the_right_one_gets_a_line(bindings, warns):
    rows = readings(QUIET._replace(bindings=lambda: bindings))
    assert ("warning" in rows) is warns
    if warns:
        assert "pip uninstall pynvml" in rows["warning"]


def test_both_packages_are_found_by_their_metadata(tmp_path):
    for name in ("pynvml", "nvidia_ml_py"):
        info = tmp_path / f"{name}-99.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 99.0\n")
    code = "from fsgr_tui.probes.nvml import installed_bindings; print(installed_bindings())"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2], timeout=60,
    )  # fmt: skip
    assert done.stdout == "('nvidia-ml-py 99.0', 'pynvml 99.0')\n"
    assert installed_bindings()


def test_a_lab_python_is_told_and_a_missing_spacy_model_with_the_way_without_internet(tmp_path):
    python = write_python(
        tmp_path / "python",
        packages={"torch": "1.13.1", "spacy": "3.5.1"},
        torch={"torch": "1.13.1", "cuda": "11.7", "gpus": 1},
    )
    rows = readings(python=str(python))
    assert "torch 1.13.1, CUDA 11.7, sees 1 GPUs" in rows["lab's Python"]
    assert "en_core_web_sm" in rows["warning"]
    assert "without internet" in rows["warning"]


def test_the_doctors_answer_is_one_screen(tmp_path):
    done = run_cli("doctor", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in done.stdout


def test_packages_stand_in_one_row_for_people_and_in_rows_for_programs():
    rows = examine(asked=QUIET)
    assert "h5py" in {row.what for row in rows}
    people = dict(grouped(rows))
    assert "h5py" not in people
    assert "h5py " in people["packages"]


def test_the_markdown_page_is_a_table():
    lines = page(examine(asked=QUIET)).splitlines()
    assert lines[:2] == ["| what | reading |", "| --- | --- |"]
    assert all(line.startswith("| ") for line in lines)
    assert run_cli("doctor", "--markdown").stdout.startswith("| what | reading |\n")


def test_a_home_folder_called_home_takes_no_part_of_other_paths_away(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Privacy.here().cleaned("/data/home/alice/run") == "/data/home/USER/run"
