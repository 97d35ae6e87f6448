"""The GPU probe through a fake `nvidia-smi` on PATH, and the whole program over a fake pynvml."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from fsgr_tui.core.machine import GpuReport
from fsgr_tui.core.units import GIB, Unknown
from fsgr_tui.probes import gpu
from fsgr_tui.probes.gpu import probe_gpus
from fsgr_tui.probes.nvml import DriverRefused, NvmlCode
from fsgr_tui.probes.smi import SmiDriver
from tests.conftest import run_cli
from tests.fakes.lab import write_program

TWO = """0, GPU-aaaa1111, NVIDIA A100-SXM4-80GB, 81920, 11264, 70656, 37, 550.54.14, Disabled
1, GPU-bbbb2222, "Quadro, old", 8192, 8192, 0, [N/A], 550.54.14, [N/A]
"""
DIVIDED = "0, GPU-mig0, NVIDIA A100-SXM4-40GB, 40960, 40960, 0, [N/A], 550.54.14, Enabled\n"
LISTING = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-mig0)
  MIG 1g.5gb      Device  0: (UUID: MIG-1111)
  MIG 3g.20gb     Device  1: (UUID: MIG-2222)
"""
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.161"


def fake_smi(folder: Path, monkeypatch, *, gpus: str = "", apps: str = "", listing: str = "", script: str = "") -> None:
    body = f"""case "$*" in
*query-gpu*) cat <<'END'
{gpus}END
;;
*query-compute-apps*) cat <<'END'
{apps}END
;;
-L) cat <<'END'
{listing}END
;;
esac"""
    write_program(folder / "nvidia-smi", script or body)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def smi(folder: Path, monkeypatch, environ=None, **script) -> GpuReport:
    fake_smi(folder, monkeypatch, **script)
    return probe_gpus(SmiDriver(proc=str(folder)), environ or {})


def test_the_programs_rows_are_gpus_with_their_memory(tmp_path, monkeypatch):
    report = smi(tmp_path, monkeypatch, gpus=TWO)
    first, second = report.gpus
    assert (report.status, report.driver) == ("ok", "550.54.14")
    assert (first.name, first.uuid, first.utilisation) == ("NVIDIA A100-SXM4-80GB", "GPU-aaaa1111", 37)
    assert (first.memory_total_bytes, first.memory_free_bytes) == (80 * GIB, 11 * GIB)
    assert (second.index, second.name, second.utilisation) == (1, "Quadro, old", Unknown("nvidia-smi says [N/A]"))


def test_visible_devices_hold_for_the_programs_gpus_too(tmp_path, monkeypatch):
    report = smi(tmp_path, monkeypatch, {"CUDA_VISIBLE_DEVICES": "GPU-bbbb"}, gpus=TWO)
    assert [each.index for each in report.gpus] == [1]


def test_processes_that_are_not_here_are_used_elsewhere(tmp_path, monkeypatch):
    report = smi(tmp_path, monkeypatch, gpus=TWO, apps="GPU-aaaa1111, 4242, 70000\n")
    assert report.gpus[0].used_elsewhere_bytes == 69 * GIB
    assert "69.0 GiB used by processes not visible from here" in report.message


def test_slices_are_listed_by_name_and_their_memory_is_unknown(tmp_path, monkeypatch):
    report = smi(tmp_path, monkeypatch, gpus=DIVIDED, listing=LISTING)
    assert [(each.uuid, each.name, each.mig) for each in report.gpus] == [
        ("MIG-1111", "MIG 1g.5gb", True), ("MIG-2222", "MIG 3g.20gb", True),
    ]  # fmt: skip
    assert isinstance(report.gpus[0].memory_free_bytes, Unknown)


def test_a_program_that_exits_18_is_a_driver_mismatch_with_the_version_that_it_tells(tmp_path, monkeypatch):
    report = smi(tmp_path, monkeypatch, script=f"printf '{MISMATCH.replace(chr(10), chr(92) + 'n')}'; exit 18")
    assert (report.status, report.gpus) == ("driver_mismatch", ())
    assert "the library is version 535.161" in report.message
    assert "running jobs go on" in report.message


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        (
            "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver'; exit 9",
            "no_driver",
            "modprobe nvidia",
        ),
        (
            "echo 'Unable to determine the device handle for GPU0000:65:00.0: Unknown Error'; exit 255",
            "error",
            "exits 255: Unable to",
        ),
        ("exit 0", "none", "finds no GPU"),
        ("exec sleep 30", "error", "gave no answer within 2.5 s"),
    ],
)
def test_a_program_that_fails_or_hangs_is_told_in_its_words(tmp_path, monkeypatch, script, status, words):
    start = time.perf_counter()
    report = smi(tmp_path, monkeypatch, script=script)
    assert (report.status, words in report.message) == (status, True)
    assert time.perf_counter() - start < 6


@pytest.mark.parametrize(
    "fault", [ImportError("No module named 'pynvml'"), DriverRefused(NvmlCode.LIBRARY_NOT_FOUND, "no library")]
)
def test_the_program_is_asked_where_the_package_cannot_be_used(tmp_path, monkeypatch, fault):
    def load():
        raise fault

    monkeypatch.setattr(gpu, "load_nvml", load)
    fake_smi(tmp_path, monkeypatch, gpus=TWO)
    assert [each.uuid for each in probe_gpus(environ={}).gpus] == ["GPU-aaaa1111", "GPU-bbbb2222"]


# -- the whole program, with a library and a pynvml of the test's own ---------------------------------------------------------

BINDING = """import warnings
warnings.warn("The pynvml package is deprecated. Please install nvidia-ml-py instead.", FutureWarning, stacklevel=2)
from tests.fakes.nvml import FakeNvmlError as NVMLError, FakePynvml
_fake = FakePynvml()
{more}
def __getattr__(name): return getattr(_fake, name)
"""


def with_binding(folder: Path, more: str = "") -> dict[str, str]:
    """An environment in which the driver's library is some other library, and pynvml is the fake."""
    library = next(
        Path(line.split()[-1])
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "/libc." in line or "/libc-" in line
    )
    (folder / "libnvidia-ml.so.1").symlink_to(library)
    (folder / "pynvml.py").write_text(BINDING.format(more=more))
    here = str(Path(__file__).parents[2])
    return {
        "LD_LIBRARY_PATH": str(folder),
        "PYTHONPATH": f"{folder}:{here}",
        "PYTHONWARNINGS": "always",
        "CUDA_VISIBLE_DEVICES": "0",
    }


def test_the_name_from_an_old_binding_is_text_and_its_warning_reaches_nobody(tmp_path):
    done = run_cli("plan", "--json", cwd=tmp_path, env=with_binding(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["machine"]
    assert '"name": "NVIDIA GeForce GTX 1080"' in done.stdout
    assert "deprecated" not in done.stdout + done.stderr


def test_a_driver_that_was_updated_in_use_spoils_no_plan_and_stops_what_needs_the_gpu(tmp_path):
    env = with_binding(tmp_path, "_fake.init_error = NVMLError(18, 'Driver/library version mismatch')")
    plan = run_cli("plan", cwd=tmp_path, env=env)
    assert plan.returncode == 0
    assert "reboot or reload the module" in " ".join(plan.stdout.split())
    doctor = run_cli("doctor", cwd=tmp_path, env=env)
    assert doctor.returncode == 0
    assert "550.54.14" in doctor.stdout
    start = run_cli(
        "preflight", "extract", "--image-root", str(tmp_path), "--split", "x", "--output-path", "f.hdf5", "--device", "cuda", "--json",
        cwd=tmp_path, env=env,
    )  # fmt: skip
    rows = {row["what"]: row for row in json.loads(start.stdout)["findings"]}
    assert (rows["GPU"]["verdict"], rows["GPU"]["blame"]) == ("stop", "machine")
