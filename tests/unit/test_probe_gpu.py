from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fsgr_tui.core.machine import GpuReport
from fsgr_tui.core.units import GIB, Unknown
from fsgr_tui.probes.gpu import probe_gpus
from fsgr_tui.probes.nvml import (
    DriverRefused,
    GpuProcess,
    NvmlCode,
    NvmlDriver,
    import_pynvml,
    installed_bindings,
)
from tests.fakes.nvml import NOT_FOUND, NOT_SUPPORTED, FakeDriver, FakeGpu, FakeNvmlError, FakePynvml

UUIDS = ("GPU-aaaa1111-0000", "GPU-aaaa2222-0000", "GPU-bbbb3333-0000")


def three_gpus(**changes) -> FakeDriver:
    return FakeDriver(*(FakeGpu(uuid=uuid, **changes) for uuid in UUIDS))


def divided(*slices: FakeGpu | None) -> FakeGpu:
    return FakeGpu(uuid="GPU-mig0", slices=slices)


def one_slice(uuid: str, path: tuple[int, int] = (1, 0), **changes) -> FakeGpu:
    return FakeGpu(name="NVIDIA A100-SXM4-80GB MIG 1g.10gb", uuid=uuid, total_bytes=10 * GIB, path=path, **changes)


def seen(driver: FakeDriver, setting: str | None, **environ: str) -> GpuReport:
    return probe_gpus(driver, environ if setting is None else {"CUDA_VISIBLE_DEVICES": setting, **environ})


def uuids(report: GpuReport) -> list[str]:
    return [gpu.uuid for gpu in report.gpus]


# -- whether there is a driver --------------------------------------------------------------------------------------


def test_one_gpu_is_reported_with_all_its_readings():
    report = probe_gpus(FakeDriver(FakeGpu(used_bytes=3 * GIB, utilisation=42)), {})
    (gpu,) = report.gpus
    assert (report.status, report.driver, report.message[:6]) == ("ok", "550.54.14", "GPU 0:")
    assert (gpu.index, gpu.uuid, gpu.name) == (0, "GPU-aaaa1111-0000", "NVIDIA A100-SXM4-80GB")
    assert (gpu.memory_total_bytes, gpu.memory_free_bytes, gpu.memory_used_bytes) == (80 * GIB, 77 * GIB, 3 * GIB)
    assert gpu.utilisation == 42
    assert not gpu.mig
    assert not gpu.shared_memory


def test_an_idle_gpu_calls_for_no_message():
    assert probe_gpus(FakeDriver(FakeGpu()), {}).message == ""


def test_a_missing_library_is_no_driver():
    refusal = DriverRefused(NvmlCode.LIBRARY_NOT_FOUND, "NVML Shared Library Not Found")
    driver = FakeDriver(refuses={"open": refusal})
    assert probe_gpus(driver, {}) == GpuReport("no_driver", message="no NVIDIA driver here")
    assert driver.closed == 0


def test_a_library_without_its_kernel_module_is_no_driver():
    report = probe_gpus(FakeDriver(refuses={"open": DriverRefused(NvmlCode.DRIVER_NOT_LOADED, "Not Loaded")}), {})
    assert report.status == "no_driver"
    assert "modprobe nvidia" in report.message


MISMATCH = DriverRefused(NvmlCode.LIB_RM_VERSION_MISMATCH, "RM has detected an NVML/RM version mismatch.")


def test_a_driver_updated_while_in_use_is_a_mismatch_with_both_versions_and_a_remedy():
    report = probe_gpus(FakeDriver(FakeGpu(), refuses={"open": MISMATCH}), {})
    assert (report.status, report.gpus, report.driver) == ("driver_mismatch", (), "535.161.08")
    for part in ("550.54.14", "535.161.08", "reboot or reload the module", "running jobs go on"):
        assert part in report.message


def test_a_mismatch_with_unknown_versions_is_still_a_mismatch():
    refuses = {"open": MISMATCH, "library_version": NOT_FOUND, "kernel_module_version": NOT_FOUND}
    report = probe_gpus(FakeDriver(refuses=refuses), {})
    assert (report.status, report.driver) == ("driver_mismatch", Unknown("Not Found"))
    assert "version unknown (Not Found)" in report.message


def test_another_refusal_at_the_start_is_an_error_in_the_drivers_words():
    report = probe_gpus(FakeDriver(refuses={"open": DriverRefused(NvmlCode.UNKNOWN, "Unknown Error")}), {})
    assert report.status == "error"
    assert "Unknown Error" in report.message


def test_a_driver_without_devices_has_none():
    driver = FakeDriver()
    report = probe_gpus(driver, {})
    assert (report.status, report.driver, report.gpus) == ("none", "550.54.14", ())
    assert driver.closed == 1


def test_a_driver_that_hangs_does_not_hang_the_caller():
    start = time.perf_counter()
    report = probe_gpus(FakeDriver(hangs=True), {}, timeout_s=0.05)
    assert time.perf_counter() - start < 1
    assert (report.status, report.message) == ("error", "the NVIDIA driver gave no answer within 0.05 s")


@pytest.mark.parametrize("fault", [RuntimeError("boom"), OSError(5, "Input/output error"), ImportError("no pynvml")])
def test_a_broken_binding_is_an_error_and_raises_nothing(fault):
    def load():
        raise fault

    report = probe_gpus(NvmlDriver(load=load), {})
    assert report.status == "error"
    assert str(fault) in report.message


def test_the_session_is_ended_after_a_failure_in_the_middle():
    driver = FakeDriver(FakeGpu(), refuses={"device_count": DriverRefused(NvmlCode.UNKNOWN, "Unknown Error")})
    assert probe_gpus(driver, {}).status == "error"
    assert driver.closed == 1


def test_a_session_that_will_not_end_spoils_no_reading():
    driver = FakeDriver(FakeGpu(), refuses={"close": DriverRefused(NvmlCode.UNKNOWN, "Unknown Error")})
    assert probe_gpus(driver, {}).status == "ok"


def test_a_lost_gpu_is_named_and_the_others_stay():
    lost = FakeGpu(uuid="GPU-lost", refuses={"device": DriverRefused(15, "GPU is lost")})
    report = probe_gpus(FakeDriver(FakeGpu(), lost), {})
    assert (report.status, uuids(report)) == ("ok", ["GPU-aaaa1111-0000"])
    assert report.message == "GPU 1 cannot be used: GPU is lost"


def test_when_every_gpu_is_lost_the_report_is_an_error():
    lost = FakeGpu(refuses={"device": DriverRefused(15, "GPU is lost")})
    report = probe_gpus(FakeDriver(lost), {})
    assert (report.status, report.message) == ("error", "GPU 0 cannot be used: GPU is lost")


# -- CUDA_VISIBLE_DEVICES -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, [0, 1, 2]),
        ("0,1,2", [0, 1, 2]),
        ("2,0", [2, 0]),
        ("1", [1]),
        (" 1 , 2", [1, 2]),
        ("1gpu,2", [1, 2]),
        ("0,2,-1,1", [0, 2]),
        ("0,7,1", [0]),
        ("0,,1", [0]),
        ("GPU-bbbb", [2]),
        ("GPU-bbbb3333-0000,GPU-aaaa1", [2, 0]),
        ("GPU-bbbb,GPU-nothing,GPU-aaaa1", [2]),
        ("GPU-bbbb,GPU-aaaa", [2]),  # the second is short for two GPUs
        ("GPU-bbbb,0", [2]),  # kinds do not mix
        ("0,GPU-bbbb", [0]),
        ("", []),
        (" ", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("7,0", []),
        ("GPU-aaaa", []),
        ("MIG-1234", []),
        ("1,1", []),
        ("0,1,0", []),
        ("GPU-bbbb,GPU-bbbb3333", []),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(setting, expected):
    report = seen(three_gpus(), setting)
    assert [gpu.index for gpu in report.gpus] == expected
    assert report.status == ("ok" if expected else "hidden")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("", 'CUDA_VISIBLE_DEVICES="" hides all 3 GPUs'),
        ("-1", "unset it or name a GPU"),
        ("9", 'entry "9" names no GPU here'),
        ("1,1", 'entry "1" repeats a GPU'),
        ("NoDevFiles", "Slurm sets this in a job without GPUs"),
        ("\x1b[2J", r"\x1b[2J"),
    ],
)
def test_the_message_says_what_hides_the_gpus(setting, words):
    report = seen(three_gpus(), setting)
    assert report.status == "hidden"
    assert words in report.message
    assert report.driver == "550.54.14"


def test_one_hidden_gpu_is_spoken_of_in_the_singular():
    assert "hides the GPU that is here" in seen(FakeDriver(FakeGpu()), "").message


def test_a_list_that_ends_at_a_bad_entry_is_remarked_upon():
    assert 'entry "7" names no GPU here; CUDA stops reading there' in seen(three_gpus(), "0,7,1").message


def test_a_list_that_is_ended_on_purpose_is_not_remarked_upon():
    assert seen(three_gpus(), "0,-1").message == ""


def test_hidden_gpus_are_not_asked_for_their_memory():
    driver = three_gpus()
    seen(driver, "1")
    assert [uuid for call, uuid in driver.asked if call == "memory"] == [UUIDS[1]]


@pytest.mark.parametrize(
    ("setting", "order", "doubtful"),
    [
        ("0", None, True),
        ("0", "FASTEST_FIRST", True),
        ("0", "PCI_BUS_ID", False),
        ("GPU-a", None, False),
        (None, None, False),
    ],
)
def test_an_index_among_different_models_is_doubtful_unless_cuda_counts_by_bus(setting, order, doubtful):
    driver = FakeDriver(FakeGpu(name="Tesla T4", uuid="GPU-a"), FakeGpu(name="NVIDIA A100", uuid="GPU-b"))
    report = seen(driver, setting, **({"CUDA_DEVICE_ORDER": order} if order else {}))
    assert ("CUDA_DEVICE_ORDER=PCI_BUS_ID" in report.message) is doubtful


def test_an_index_among_equal_models_is_not_doubtful():
    assert "PCI_BUS_ID" not in seen(three_gpus(), "0").message


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert uuids(probe_gpus(three_gpus())) == [UUIDS[2]]


# -- MIG ------------------------------------------------------------------------------------------------------------


def test_every_mig_slice_is_a_gpu_of_its_own_with_its_own_memory():
    driver = FakeDriver(divided(one_slice("MIG-1", used_bytes=4 * GIB), None, one_slice("MIG-2", (2, 0))))
    report = probe_gpus(driver, {})
    assert uuids(report) == ["MIG-1", "MIG-2"]
    first, second = report.gpus
    assert first.mig
    assert second.mig
    assert (first.index, second.index) == (0, 0)
    assert (first.memory_free_bytes, second.memory_free_bytes) == (6 * GIB, 10 * GIB)
    assert first.name.endswith("MIG 1g.10gb")
    assert isinstance(first.utilisation, Unknown)


def test_several_slices_come_with_the_warning_that_cuda_shows_one():
    report = probe_gpus(FakeDriver(divided(one_slice("MIG-1"), one_slice("MIG-2"))), {})
    assert "only one MIG slice" in report.message
    assert "CUDA_VISIBLE_DEVICES=MIG-1" in report.message


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("MIG-2", ["MIG-2"]),
        ("MIG-GPU-mig0/2/0", ["MIG-2"]),  # the name that drivers before 470 gave it
        ("MIG-2,MIG-1", ["MIG-2", "MIG-1"]),
        ("MIG-2,MIG-2", []),
        ("MIG-", []),
        ("0", ["MIG-1", "MIG-2"]),
        ("GPU-mig0", ["MIG-1", "MIG-2"]),
        ("1", ["GPU-whole"]),
        (None, ["MIG-1", "MIG-2", "GPU-whole"]),
    ],
)
def test_slices_can_be_named_alone_or_by_their_gpu(setting, expected):
    driver = FakeDriver(divided(one_slice("MIG-1"), one_slice("MIG-2", (2, 0))), FakeGpu(uuid="GPU-whole"))
    report = seen(driver, setting)
    assert uuids(report) == expected
    assert ("only one MIG slice" in report.message) is (sum(uuid.startswith("MIG") for uuid in expected) > 1)


def test_a_divided_gpu_without_slices_offers_nothing_and_says_so():
    report = probe_gpus(FakeDriver(divided(None, None)), {})
    assert report.status == "none"
    assert "GPU 0 is in MIG mode but has no slice" in report.message


def test_a_slice_of_another_container_is_passed_over():
    foreign = one_slice("MIG-1", refuses={"as_slice": DriverRefused(NvmlCode.NO_PERMISSION, "No Permission")})
    assert uuids(probe_gpus(FakeDriver(divided(foreign, one_slice("MIG-2"))), {})) == ["MIG-2"]


def test_a_fault_among_the_slices_spares_the_other_gpus():
    broken = one_slice("MIG-1", refuses={"as_slice": DriverRefused(NvmlCode.UNKNOWN, "Unknown Error")})
    report = probe_gpus(FakeDriver(divided(broken), FakeGpu(uuid="GPU-whole")), {})
    assert (uuids(report), report.message) == (["GPU-whole"], "GPU 0 cannot be used: Unknown Error")


def test_a_gpu_that_knows_no_mig_is_a_whole_gpu():
    report = probe_gpus(FakeDriver(FakeGpu(refuses={"mig_enabled": NOT_SUPPORTED})), {})
    assert [gpu.mig for gpu in report.gpus] == [False]


def test_a_slice_whose_uuid_is_refused_goes_by_its_older_name():
    report = probe_gpus(FakeDriver(divided(one_slice("", (3, 1), refuses={"uuid": NOT_SUPPORTED}))), {})
    assert uuids(report) == ["MIG-GPU-mig0/3/1"]


# -- readings that fail ---------------------------------------------------------------------------------------------


def test_a_refused_reading_is_unknown_not_zero():
    (gpu,) = probe_gpus(FakeDriver(FakeGpu(refuses={"utilisation": NOT_SUPPORTED, "memory": NOT_SUPPORTED})), {}).gpus
    refused = Unknown("Not Supported")
    assert gpu.utilisation == gpu.memory_total_bytes == gpu.memory_free_bytes == gpu.memory_used_bytes == refused
    assert gpu.used_elsewhere_bytes == refused
    assert not gpu.shared_memory


@pytest.mark.parametrize("name", ["NVIDIA GB10", "Orin (nvgpu)", "NVIDIA Jetson AGX Orin", "NVIDIA Thor", "Xavier"])
def test_a_board_of_unified_memory_is_marked_when_it_reports_no_memory_of_its_own(name):
    (gpu,) = probe_gpus(FakeDriver(FakeGpu(name=name, refuses={"memory": NOT_SUPPORTED})), {}).gpus
    assert gpu.shared_memory
    assert gpu.memory_total_bytes == Unknown("Not Supported")


@pytest.mark.parametrize("name", ["NVIDIA GB100", "NVIDIA GH200 480GB", "NVIDIA H100 80GB HBM3"])
def test_other_boards_are_not_marked_as_sharing_memory(name):
    (gpu,) = probe_gpus(FakeDriver(FakeGpu(name=name, refuses={"memory": NOT_SUPPORTED})), {}).gpus
    assert not gpu.shared_memory


def test_a_board_that_reports_memory_of_its_own_is_not_marked_whatever_its_name():
    assert not probe_gpus(FakeDriver(FakeGpu(name="Orin")), {}).gpus[0].shared_memory


def test_a_memory_of_zero_bytes_is_no_memory_reading():
    (gpu,) = probe_gpus(FakeDriver(FakeGpu(name="Orin", total_bytes=0)), {}).gpus
    assert gpu.memory_free_bytes == Unknown("the driver reports no memory size")
    assert gpu.shared_memory


def test_a_name_in_bytes_is_shown_as_text():
    (gpu,) = probe_gpus(FakeDriver(FakeGpu(name=b"Tesla T4", uuid=b"GPU-1")), {}).gpus
    assert (gpu.name, gpu.uuid) == ("Tesla T4", "GPU-1")


def test_a_refused_name_and_uuid_leave_a_gpu_that_can_be_named_by_its_index():
    (gpu,) = probe_gpus(FakeDriver(FakeGpu(refuses={"name": NOT_SUPPORTED, "uuid": NOT_SUPPORTED})), {}).gpus
    assert (gpu.name, gpu.uuid) == ("GPU without a name (Not Supported)", "0")


def test_a_refused_driver_version_is_unknown():
    assert probe_gpus(FakeDriver(FakeGpu(), refuses={"driver_version": NOT_SUPPORTED}), {}).driver == Unknown(
        "Not Supported"
    )


# -- memory used elsewhere ------------------------------------------------------------------------------------------


def used_elsewhere(gpu: FakeGpu, visible_pids=()) -> int | Unknown:
    return probe_gpus(FakeDriver(gpu, visible_pids=visible_pids), {}).gpus[0].used_elsewhere_bytes


def test_without_a_process_list_all_used_memory_is_used_elsewhere_and_said_to_be():
    report = probe_gpus(FakeDriver(FakeGpu(used_bytes=70 * GIB)), {})
    assert report.gpus[0].used_elsewhere_bytes == 70 * GIB
    assert report.gpus[0].memory_free_bytes == 10 * GIB
    assert report.message == "GPU 0: 70.0 GiB used by processes not visible from here"


def test_a_pid_that_is_not_visible_here_accounts_for_nothing():
    gpu = FakeGpu(used_bytes=70 * GIB, compute=[GpuProcess(4242, 69 * GIB)])
    assert used_elsewhere(gpu) == 70 * GIB


def test_visible_processes_account_for_what_they_use():
    gpu = FakeGpu(used_bytes=70 * GIB, compute=[GpuProcess(7, 50 * GIB), GpuProcess(8, 12 * GIB)])
    assert used_elsewhere(gpu, [7]) == 20 * GIB
    assert used_elsewhere(gpu, [7, 8]) == 8 * GIB


def test_a_process_that_computes_and_draws_is_counted_once():
    both = [GpuProcess(7, 3 * GIB)]
    assert used_elsewhere(FakeGpu(used_bytes=5 * GIB, compute=both, graphics=both), [7]) == 2 * GIB


def test_a_process_that_only_draws_is_counted():
    assert used_elsewhere(FakeGpu(used_bytes=5 * GIB, graphics=[GpuProcess(9, 5 * GIB)]), [9]) == 0


def test_a_visible_process_of_unknown_size_makes_the_rest_unknown():
    assert used_elsewhere(FakeGpu(used_bytes=5 * GIB, compute=[GpuProcess(7, None)]), [7]) == Unknown(
        "the driver does not tell how much memory process 7 uses"
    )


def test_a_foreign_process_of_unknown_size_changes_nothing():
    assert used_elsewhere(FakeGpu(used_bytes=5 * GIB, compute=[GpuProcess(7, None)])) == 5 * GIB


def test_processes_that_claim_more_than_is_used_leave_zero():
    assert used_elsewhere(FakeGpu(used_bytes=5 * GIB, compute=[GpuProcess(7, 6 * GIB)]), [7]) == 0


def test_a_refused_process_list_is_unknown():
    gpu = FakeGpu(used_bytes=5 * GIB, refuses={"compute_processes": NOT_SUPPORTED})
    assert used_elsewhere(gpu) == Unknown("no list of processes: Not Supported")


def test_a_board_without_graphics_still_has_its_compute_processes_counted():
    gpu = FakeGpu(used_bytes=5 * GIB, compute=[GpuProcess(7, 4 * GIB)], refuses={"graphics_processes": NOT_SUPPORTED})
    assert used_elsewhere(gpu, [7]) == 1 * GIB


# -- the real driver over a module like pynvml ------------------------------------------------------------------------


def test_nvml_readings_arrive_as_values_and_the_session_is_shut_down(tmp_path):
    nvml = FakePynvml()
    report = probe_gpus(NvmlDriver(load=lambda: nvml, proc=tmp_path), {})
    (gpu,) = report.gpus
    assert (report.status, report.driver, report.message) == ("ok", "550.54.14", "")
    assert (gpu.name, gpu.uuid, gpu.utilisation, gpu.mig) == ("NVIDIA GeForce GTX 1080", "GPU-1234", 37, False)
    assert (gpu.memory_total_bytes, gpu.used_elsewhere_bytes) == (8 * GIB, 0)
    assert nvml.shutdowns == 1


def test_a_driver_that_knows_only_the_first_memory_call_is_asked_with_that():
    nvml = FakePynvml()
    nvml.knows_memory_v2 = False
    assert probe_gpus(NvmlDriver(load=lambda: nvml), {}).gpus[0].memory_used_bytes == 1 * GIB


def test_a_name_that_the_binding_cannot_decode_is_a_refused_name():
    nvml = FakePynvml()
    nvml.device_name = b"\xf8"
    (gpu,) = probe_gpus(NvmlDriver(load=lambda: nvml), {}).gpus
    assert gpu.name.startswith("GPU without a name (nvmlDeviceGetName returned text that is no UTF-8")


def test_an_nvml_mismatch_names_both_versions(tmp_path):
    version = tmp_path / "driver/nvidia/version"
    version.parent.mkdir(parents=True)
    version.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.161.08  Release Build  (dvs-builder)\n"
        "GCC version:  gcc version 12.3.0\n"
    )
    nvml = FakePynvml()
    nvml.init_error = FakeNvmlError(NvmlCode.LIB_RM_VERSION_MISMATCH, "mismatch")
    report = probe_gpus(NvmlDriver(load=lambda: nvml, proc=tmp_path), {})
    assert (report.status, report.driver) == ("driver_mismatch", "535.161.08")
    assert "the library is version 550.54.14, the kernel module 535.161.08" in report.message
    assert nvml.shutdowns == 0


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n", "535.183.01"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.65.06  Release Build\n", "580.65.06"),
    ],
)
def test_the_kernel_modules_version_is_read_in_both_spellings(tmp_path, text, version):
    (tmp_path / "driver/nvidia").mkdir(parents=True)
    (tmp_path / "driver/nvidia/version").write_text(text)
    assert NvmlDriver(proc=tmp_path).kernel_module_version() == version


@pytest.mark.parametrize("text", [None, "nothing of the kind\n"])
def test_an_unreadable_kernel_module_version_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "driver/nvidia").mkdir(parents=True)
        (tmp_path / "driver/nvidia/version").write_text(text)
    with pytest.raises(DriverRefused, match="version"):
        NvmlDriver(proc=tmp_path).kernel_module_version()


def fake_process(proc: Path, pid: int, *open_files: str) -> None:
    descriptors = proc / str(pid) / "fd"
    descriptors.mkdir(parents=True)
    for number, target in enumerate(open_files):
        (descriptors / str(number)).symlink_to(target)


def test_a_local_process_with_the_gpu_open_is_visible(tmp_path):
    fake_process(tmp_path, 7, "/dev/pts/0", "/dev/nvidia0")
    assert NvmlDriver(proc=tmp_path).is_visible(7)


def test_a_pid_that_is_not_here_is_not_visible(tmp_path):
    assert not NvmlDriver(proc=tmp_path).is_visible(7)


def test_a_local_process_that_carries_a_foreign_pid_by_chance_is_not_taken_for_it(tmp_path):
    fake_process(tmp_path, 7, "/dev/pts/0", "/dev/nvme0n1")
    assert not NvmlDriver(proc=tmp_path).is_visible(7)


def test_another_users_process_is_believed_though_its_files_are_secret():
    with tempfile.TemporaryDirectory(dir="/tmp") as proc:  # pytest's own folders are closed to other users
        Path(proc).chmod(0o755)
        fake_process(Path(proc), 7, "/dev/nvidia0")
        (Path(proc) / "7/fd").chmod(0)
        child = os.fork()
        if child == 0:
            if os.geteuid() == 0:  # nothing is secret to root
                os.setuid(65534)
            os._exit(0 if NvmlDriver(proc=proc).is_visible(7) else 1)
        status = os.waitpid(child, 0)[1]
        (Path(proc) / "7/fd").chmod(0o755)
    assert os.waitstatus_to_exitcode(status) == 0


def test_this_very_process_holds_no_gpu():
    assert not NvmlDriver().is_visible(os.getpid())


def test_no_driver_library_is_found_out_without_importing_the_binding():
    code = (
        "import sys, time; from fsgr_tui.probes.gpu import probe_gpus; start = time.perf_counter(); "
        "report = probe_gpus(environ={}); took = time.perf_counter() - start; "
        "print(report.status, 'pynvml' in sys.modules, took < 0.04)"
    )
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        assert run_python(code).stdout == "no_driver False True\n"
    else:
        pytest.skip("this machine has an NVIDIA driver")


def test_the_deprecated_package_warns_nobody(tmp_path):
    (tmp_path / "pynvml.py").write_text(
        "import warnings\n"
        "warnings.warn('The pynvml package is deprecated.', FutureWarning, stacklevel=2)\n"
        "from tests.fakes.nvml import FakeNvmlError as NVMLError, FakePynvml\n"
        "_fake = FakePynvml()\n"
        "def __getattr__(name): return getattr(_fake, name)\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from fsgr_tui.probes.gpu import probe_gpus; from fsgr_tui.probes.nvml import NvmlDriver, import_pynvml; "
        "print(probe_gpus(NvmlDriver(load=import_pynvml), {}).gpus[0].name)"
    )
    done = run_python(code, "-W", "always")
    assert (done.stdout, done.stderr) == ("NVIDIA GeForce GTX 1080\n", "")


def test_the_installed_binding_has_every_function_that_is_called():
    nvml = import_pynvml()
    called = [name for name in dir(FakePynvml) if name.startswith("nvml")]
    called += ["nvmlDeviceGetMaxMigDeviceCount", "nvmlDeviceGetMigDeviceHandleByIndex"]
    called += ["nvmlDeviceGetGpuInstanceId", "nvmlDeviceGetComputeInstanceId"]
    assert [name for name in called if not hasattr(nvml, name)] == []
    assert nvml.NVMLError(NvmlCode.NOT_SUPPORTED).value == NvmlCode.NOT_SUPPORTED


def test_the_codes_are_those_of_the_binding():
    nvml = import_pynvml()
    assert {code.name: getattr(nvml, f"NVML_ERROR_{code.name}") for code in NvmlCode} == {
        code.name: code.value for code in NvmlCode
    }


def test_the_installed_bindings_are_named_with_their_versions():
    assert any(binding.startswith("nvidia-ml-py ") for binding in installed_bindings())


def run_python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, *options, "-c", code]
    return subprocess.run(argv, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2], timeout=60)
