from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsgr_tui.core.machine import CpuBudget, MemoryBudget
from fsgr_tui.core.units import GIB, Unknown
from fsgr_tui.probes.disk import probe_disk
from fsgr_tui.probes.host import LocalHost, probe_host, suggested_workers

V1_NO_LIMIT = 9223372036854771712
V2_MOUNT = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "31 25 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 25 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)
JOB = "/system.slice/slurm/job_7"


class FakeHost(LocalHost):
    """A host whose /proc and /sys are files under a folder of the test."""

    def __init__(self, root: Path, *, environ=None, cpus=36, affinity=36):
        super().__init__(root)
        self.root = root
        self.variables = environ or {}
        self.cpus = cpus
        self.affinity = affinity
        self.write("/proc/meminfo", "MemTotal:       67108864 kB\nMemFree: 1 kB\nMemAvailable:   33554432 kB\n")
        self.write("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Fast Chip 9000: X\n\nmodel name\t: Other\n")

    def write(self, path: str, text: object) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n" if not str(text).endswith("\n") else str(text))

    def environ(self):
        return self.variables

    def cpu_count(self):
        return self.cpus

    def affinity_count(self):
        return self.affinity

    def node(self):
        return "node017"


def v2_host(tmp_path, *, cgroup=JOB, mount=V2_MOUNT, **changes) -> FakeHost:
    host = FakeHost(tmp_path, **changes)
    host.write("/proc/self/cgroup", f"0::{cgroup}\n")
    host.write("/proc/self/mountinfo", mount)
    return host


def v1_host(tmp_path, *, cgroup="/job", mounts=V1_MOUNTS, **changes) -> FakeHost:
    host = FakeHost(tmp_path, **changes)
    host.write("/proc/self/cgroup", f"9:name=systemd:/\n5:memory:{cgroup}\n4:cpu,cpuacct:{cgroup}\n")
    host.write("/proc/self/mountinfo", mounts)
    return host


def v2_memory(host, group, limit, used=0, **stat):
    host.write(f"/sys/fs/cgroup{group}/memory.max", limit)
    host.write(f"/sys/fs/cgroup{group}/memory.current", used)
    host.write(f"/sys/fs/cgroup{group}/memory.stat", "".join(f"{name} {value}\n" for name, value in stat.items()))


def v1_memory(host, group, limit, used=0, **stat):
    host.write(f"/sys/fs/cgroup/memory{group}/memory.limit_in_bytes", limit)
    host.write(f"/sys/fs/cgroup/memory{group}/memory.usage_in_bytes", used)
    host.write(
        f"/sys/fs/cgroup/memory{group}/memory.stat", "".join(f"{name} {value}\n" for name, value in stat.items())
    )


# -- memory ---------------------------------------------------------------------------------------------------------


def test_without_cgroups_the_memory_is_the_hosts(tmp_path):
    assert probe_host(FakeHost(tmp_path)).memory == MemoryBudget(64 * GIB, 32 * GIB, "host")


def test_a_limit_at_a_parent_group_counts_and_is_named(tmp_path):
    host = v2_host(tmp_path)
    v2_memory(host, JOB, "max", 1 * GIB)
    v2_memory(host, "/system.slice/slurm", 4 * GIB, 1 * GIB)
    v2_memory(host, "/system.slice", "max", 20 * GIB)
    source = "/sys/fs/cgroup/system.slice/slurm/memory.max"
    assert probe_host(host).memory == MemoryBudget(4 * GIB, 3 * GIB, source)


def test_the_smallest_of_several_limits_counts(tmp_path):
    host = v2_host(tmp_path)
    v2_memory(host, JOB, 8 * GIB)
    v2_memory(host, "/system.slice/slurm", 4 * GIB)
    v2_memory(host, "/system.slice", 6 * GIB)
    assert probe_host(host).memory == MemoryBudget(4 * GIB, 4 * GIB, "/sys/fs/cgroup/system.slice/slurm/memory.max")


def test_a_fuller_parent_with_a_larger_limit_lowers_what_is_available(tmp_path):
    host = v2_host(tmp_path)
    v2_memory(host, JOB, 4 * GIB, 0)
    v2_memory(host, "/system.slice", 8 * GIB, 7 * GIB)
    assert probe_host(host).memory == MemoryBudget(4 * GIB, 1 * GIB, f"/sys/fs/cgroup{JOB}/memory.max")


def test_memory_that_the_kernel_can_reclaim_is_available(tmp_path):
    host = v2_host(tmp_path)
    v2_memory(host, JOB, 4 * GIB, 3 * GIB, anon=GIB, inactive_file=GIB, active_file=GIB, slab_reclaimable=GIB // 2)
    assert probe_host(host).memory.available_bytes == 4 * GIB - 3 * GIB + GIB + GIB // 2


def test_available_memory_is_never_above_the_limit_nor_below_zero(tmp_path):
    host = v2_host(tmp_path)
    v2_memory(host, JOB, 4 * GIB, 1 * GIB, inactive_file=3 * GIB)
    assert probe_host(host).memory.available_bytes == 4 * GIB
    v2_memory(host, JOB, 4 * GIB, 5 * GIB)
    assert probe_host(host).memory.available_bytes == 0


def test_a_host_with_less_left_than_the_limit_leaves_what_it_has(tmp_path):
    host = v2_host(tmp_path)
    v2_memory(host, JOB, 40 * GIB)
    assert probe_host(host).memory == MemoryBudget(40 * GIB, 32 * GIB, f"/sys/fs/cgroup{JOB}/memory.max")


@pytest.mark.parametrize("limit", [64 * GIB, 100 * GIB, "max"])
def test_a_limit_that_is_not_below_the_host_is_none(tmp_path, limit):
    host = v2_host(tmp_path)
    v2_memory(host, JOB, limit, 60 * GIB)
    assert probe_host(host).memory == MemoryBudget(64 * GIB, 32 * GIB, "host")


def test_in_a_container_with_its_own_namespace_the_mount_point_holds_the_limit(tmp_path):
    host = v2_host(tmp_path, cgroup="/")
    v2_memory(host, "", 4 * GIB, 1 * GIB)
    assert probe_host(host).memory == MemoryBudget(4 * GIB, 3 * GIB, "/sys/fs/cgroup/memory.max")


def test_in_a_container_without_a_namespace_the_mounted_part_of_the_path_is_cut_off(tmp_path):
    mount = "30 25 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
    host = v2_host(tmp_path, cgroup="/docker/abc/inner", mount=mount)
    v2_memory(host, "", 8 * GIB)
    v2_memory(host, "/inner", 4 * GIB)
    assert probe_host(host).memory == MemoryBudget(4 * GIB, 4 * GIB, "/sys/fs/cgroup/inner/memory.max")


@pytest.mark.parametrize("cgroup", ["/docker/abcdef", "/elsewhere", "/../other"])
def test_a_cgroup_outside_the_mounted_part_still_has_the_mount_points_limit(tmp_path, cgroup):
    mount = "30 25 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
    host = v2_host(tmp_path, cgroup=cgroup, mount=mount)
    v2_memory(host, "", 8 * GIB)
    v2_memory(host, "/def", 1 * GIB)
    assert probe_host(host).memory.limit_bytes == 8 * GIB


def test_a_cgroup_path_that_climbs_out_of_its_namespace_is_not_followed(tmp_path):
    host = v2_host(tmp_path, cgroup="/../other")
    host.write("/sys/fs/other/memory.max", GIB)
    v2_memory(host, "", 8 * GIB)
    assert probe_host(host).memory.limit_bytes == 8 * GIB


def test_the_cgroup_mount_is_found_wherever_it_is(tmp_path):
    host = v2_host(tmp_path, mount=r"30 25 0:26 / /my\040cgroups rw - cgroup2 none rw" + "\n")
    host.write(f"/my cgroups{JOB}/memory.max", 4 * GIB)
    assert probe_host(host).memory.source == f"/my cgroups{JOB}/memory.max"


def test_a_limit_whose_use_cannot_be_read_is_itself_the_bound(tmp_path):
    host = v2_host(tmp_path)
    host.write(f"/sys/fs/cgroup{JOB}/memory.max", 4 * GIB)
    assert probe_host(host).memory.available_bytes == 4 * GIB


@pytest.mark.parametrize("sentinel", [V1_NO_LIMIT, 2**63 - 1, 2**62, 65 * GIB])
def test_the_sentinel_of_version_1_is_no_limit(tmp_path, sentinel):
    host = v1_host(tmp_path)
    v1_memory(host, "/job", sentinel, 5 * GIB)
    v1_memory(host, "", V1_NO_LIMIT, 5 * GIB)
    assert probe_host(host).memory == MemoryBudget(64 * GIB, 32 * GIB, "host")


def test_a_parents_limit_counts_in_version_1_too(tmp_path):
    host = v1_host(tmp_path, cgroup="/slurm/uid_1/job_2/step_0")
    v1_memory(host, "/slurm/uid_1/job_2/step_0", V1_NO_LIMIT)
    v1_memory(host, "/slurm/uid_1/job_2", 4 * GIB, 2 * GIB, inactive_file=0, total_inactive_file=GIB)
    source = "/sys/fs/cgroup/memory/slurm/uid_1/job_2/memory.limit_in_bytes"
    assert probe_host(host).memory == MemoryBudget(4 * GIB, 3 * GIB, source)


def test_a_host_with_both_versions_has_both_read(tmp_path):
    host = v1_host(tmp_path, mounts=V1_MOUNTS + "33 25 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n")
    host.write("/proc/self/cgroup", "5:memory:/job\n0::/u\n")
    v1_memory(host, "/job", 8 * GIB)
    host.write("/sys/fs/cgroup/unified/u/memory.max", 6 * GIB)
    assert probe_host(host).memory.limit_bytes == 6 * GIB
    v1_memory(host, "/job", 5 * GIB)
    assert probe_host(host).memory.limit_bytes == 5 * GIB


def test_unreadable_meminfo_makes_the_memory_unknown(tmp_path):
    host = FakeHost(tmp_path)
    (tmp_path / "proc/meminfo").unlink()
    assert probe_host(host).memory == Unknown("/proc/meminfo is not readable")


def test_meminfo_without_an_available_line_makes_the_memory_unknown(tmp_path):
    host = FakeHost(tmp_path)
    host.write("/proc/meminfo", "MemTotal: 100 kB\nMemFree: 50 kB\n")
    assert isinstance(probe_host(host).memory, Unknown)


# -- CPUs -----------------------------------------------------------------------------------------------------------


def test_without_any_limit_the_cpus_are_the_hosts(tmp_path):
    assert probe_host(FakeHost(tmp_path)).cpus == CpuBudget(36, "host", 36)


def test_one_allowed_cpu_is_one(tmp_path):
    assert probe_host(FakeHost(tmp_path, affinity=1)).cpus == CpuBudget(1, "CPU affinity", 36)


def test_taskset_limits_the_real_probe():
    code = "from fsgr_tui.probes.host import probe_host; print(probe_host().cpus.count)"
    first = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{first}}}); {code}"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2], timeout=60,
    )  # fmt: skip
    assert done.stdout == "1\n"


def test_slurms_share_of_the_task_counts(tmp_path):
    host = FakeHost(tmp_path, environ={"SLURM_CPUS_PER_TASK": "2"})
    assert probe_host(host).cpus == CpuBudget(2, "SLURM_CPUS_PER_TASK", 36)


def test_slurm_cannot_raise_the_number(tmp_path):
    host = FakeHost(tmp_path, environ={"SLURM_CPUS_PER_TASK": "8"}, affinity=4)
    assert probe_host(host).cpus == CpuBudget(4, "CPU affinity", 36)


@pytest.mark.parametrize("value", ["", "0", "-1", "two", "2.5", "²"])
def test_a_slurm_variable_that_is_no_positive_number_is_passed_over(tmp_path, value):
    assert probe_host(FakeHost(tmp_path, environ={"SLURM_CPUS_PER_TASK": value})).cpus.source == "host"


def test_slurms_cpus_of_the_node_are_not_the_tasks(tmp_path):
    assert probe_host(FakeHost(tmp_path, environ={"SLURM_CPUS_ON_NODE": "2"})).cpus.count == 36


@pytest.mark.parametrize(
    ("quota", "count"),
    [("150000 100000", 1), ("50000 100000", 1), ("200000 100000", 2), ("399999 100000", 3), ("max 100000", 36)],
)
def test_a_cpu_quota_is_rounded_down_but_never_to_zero(tmp_path, quota, count):
    host = v2_host(tmp_path)
    host.write(f"/sys/fs/cgroup{JOB}/cpu.max", quota)
    assert probe_host(host).cpus.count == count


def test_the_smallest_cpu_quota_above_the_process_counts_and_is_named(tmp_path):
    host = v2_host(tmp_path)
    host.write(f"/sys/fs/cgroup{JOB}/cpu.max", "800000 100000")
    host.write("/sys/fs/cgroup/system.slice/cpu.max", "300000 100000")
    assert probe_host(host).cpus == CpuBudget(3, "/sys/fs/cgroup/system.slice/cpu.max", 36)


@pytest.mark.parametrize(("quota", "count"), [("-1", 36), ("250000", 2)])
def test_a_cpu_quota_of_version_1_counts(tmp_path, quota, count):
    host = v1_host(tmp_path)
    host.write("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", quota)
    host.write("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", 100000)
    assert probe_host(host).cpus.count == count


@pytest.mark.parametrize(
    ("count", "workers"), [(0, 0), (1, 0), (2, 2), (3, 2), (4, 3), (16, 15), (17, 16), (18, 16), (256, 16)]
)
def test_workers_leave_the_main_process_a_core_and_stay_within_bounds(count, workers):
    assert suggested_workers(CpuBudget(count, "host", 256)) == workers


def test_workers_are_never_negative_nor_more_than_the_cpus():
    for count in range(300):
        assert 0 <= suggested_workers(CpuBudget(count, "host", 300)) <= min(count, 16)


# -- the rest -------------------------------------------------------------------------------------------------------


def test_the_host_is_named_with_its_system_python_and_cpu(tmp_path):
    host = probe_host(FakeHost(tmp_path))
    assert host.name == "node017"
    assert host.cpu == "Fast Chip 9000: X"
    assert host.system.startswith("Linux ")
    assert host.python == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize("cpuinfo", ["processor\t: 0\nCPU architecture: 8\n", None])
def test_a_cpu_without_a_model_name_goes_by_its_architecture(tmp_path, cpuinfo):
    host = FakeHost(tmp_path)
    if cpuinfo is None:
        (tmp_path / "proc/cpuinfo").unlink()
    else:
        host.write("/proc/cpuinfo", cpuinfo)
    assert probe_host(host).cpu == os.uname().machine


def test_only_the_beginning_of_cpuinfo_is_read(tmp_path):
    host = FakeHost(tmp_path)
    host.write("/proc/cpuinfo", "flags: x\n" * 5000 + "model name : too late\n")
    assert probe_host(host).cpu == os.uname().machine


def test_this_machine_can_be_probed():
    host = probe_host()
    assert 1 <= host.cpus.count <= host.cpus.host_count
    assert isinstance(host.memory, MemoryBudget)
    assert 0 < host.memory.available_bytes <= host.memory.limit_bytes


def test_disk_and_host_together_take_less_than_ten_milliseconds(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no quota command
    times = []
    for _ in range(5):
        start = time.perf_counter()
        probe_disk(tmp_path)
        probe_host()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.010


def test_the_probe_does_without_psutil():
    code = "import sys, fsgr_tui.probes.host, fsgr_tui.probes.disk; print('psutil' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert done.stdout == "False\n"
