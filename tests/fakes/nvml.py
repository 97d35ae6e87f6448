"""Stand-ins for the NVIDIA driver: one at the level of the probe's own protocol, one at the level of pynvml."""

# ruff: noqa: N802 - the functions carry their names in pynvml

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

from fsgr_tui.core.units import GIB
from fsgr_tui.probes.nvml import DriverRefused, GpuProcess, MemoryReading, NvmlCode

NOT_SUPPORTED = DriverRefused(NvmlCode.NOT_SUPPORTED, "Not Supported")
NOT_FOUND = DriverRefused(NvmlCode.NOT_FOUND, "Not Found")


@dataclass
class FakeGpu:
    """A GPU, or a slice of one. `slices` not None means MIG mode; a None among them is an empty place."""

    name: str | bytes = "NVIDIA A100-SXM4-80GB"
    uuid: str | bytes = "GPU-aaaa1111-0000"
    total_bytes: int = 80 * GIB
    used_bytes: int = 0
    utilisation: int = 0
    compute: Sequence[GpuProcess] = ()
    graphics: Sequence[GpuProcess] = ()
    slices: Sequence[FakeGpu | None] | None = None
    path: tuple[int, int] = (0, 0)
    refuses: dict[str, DriverRefused] = field(default_factory=dict)


class FakeDriver:
    """Plays the driver with the given GPUs; `refuses` maps a session call's name to its refusal."""

    def __init__(
        self,
        *gpus: FakeGpu,
        refuses: dict[str, DriverRefused] | None = None,
        visible_pids: Sequence[int] = (),
        hangs: bool = False,
    ) -> None:
        self.gpus = gpus
        self.refuses = refuses or {}
        self.visible_pids = visible_pids
        self.hangs = hangs
        self.closed = 0
        self.asked: list[tuple[str, object]] = []

    def _answer(self, call: str) -> None:
        if call in self.refuses:
            raise self.refuses[call]

    def _ask(self, call: str, gpu: FakeGpu) -> FakeGpu:
        self.asked.append((call, gpu.uuid))
        if call in gpu.refuses:
            raise gpu.refuses[call]
        return gpu

    def open(self) -> None:
        if self.hangs:
            threading.Event().wait()
        self._answer("open")

    def close(self) -> None:
        self.closed += 1
        self._answer("close")

    def driver_version(self) -> str:
        self._answer("driver_version")
        return "550.54.14"

    def library_version(self) -> str:
        self._answer("library_version")
        return "550.54.14"

    def kernel_module_version(self) -> str:
        self._answer("kernel_module_version")
        return "535.161.08"

    def device_count(self) -> int:
        self._answer("device_count")
        return len(self.gpus)

    def device(self, index: int) -> FakeGpu:
        return self._ask("device", self.gpus[index])

    def name(self, handle: FakeGpu) -> str | bytes:
        return self._ask("name", handle).name

    def uuid(self, handle: FakeGpu) -> str | bytes:
        return self._ask("uuid", handle).uuid

    def memory(self, handle: FakeGpu) -> MemoryReading:
        gpu = self._ask("memory", handle)
        return MemoryReading(gpu.total_bytes, gpu.total_bytes - gpu.used_bytes, gpu.used_bytes)

    def utilisation(self, handle: FakeGpu) -> int:
        return self._ask("utilisation", handle).utilisation

    def compute_processes(self, handle: FakeGpu) -> Sequence[GpuProcess]:
        return self._ask("compute_processes", handle).compute

    def graphics_processes(self, handle: FakeGpu) -> Sequence[GpuProcess]:
        return self._ask("graphics_processes", handle).graphics

    def is_visible(self, pid: int) -> bool:
        return pid in self.visible_pids

    def mig_enabled(self, handle: FakeGpu) -> bool:
        return self._ask("mig_enabled", handle).slices is not None

    def mig_capacity(self, handle: FakeGpu) -> int:
        return len(self._ask("mig_capacity", handle).slices or ())

    def mig_slice(self, handle: FakeGpu, place: int) -> FakeGpu:
        found = (self._ask("mig_slice", handle).slices or ())[place]
        if found is None:
            raise NOT_FOUND
        return self._ask("as_slice", found)

    def mig_path(self, handle: FakeGpu) -> tuple[int, int]:
        return self._ask("mig_path", handle).path


class FakeNvmlError(Exception):
    """As pynvml's: a number, and words for it."""

    def __init__(self, value: int, words: str = "Not Supported") -> None:
        super().__init__(words)
        self.value = value


class FakePynvml:
    """The few functions of the module `pynvml` that the real driver calls, for one idle GPU in no MIG mode."""

    NVMLError = FakeNvmlError
    nvmlMemory_v2 = 0x02000028  # noqa: N815 - the module's own name

    def __init__(self) -> None:
        self.shutdowns = 0
        self.knows_memory_v2 = True
        self.device_name: str | bytes = b"NVIDIA GeForce GTX 1080"
        self.init_error: FakeNvmlError | None = None

    def nvmlInit(self) -> None:
        if self.init_error:
            raise self.init_error

    def nvmlShutdown(self) -> None:
        self.shutdowns += 1

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"550.54.14"

    def nvmlSystemGetNVMLVersion(self) -> bytes:
        return b"12.550.54.14"

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"handle {index}"

    def nvmlDeviceGetName(self, handle: str) -> str | bytes:
        if self.device_name == b"\xf8":
            return self.device_name.decode("utf-8")
        return self.device_name

    def nvmlDeviceGetUUID(self, handle: str) -> bytes:
        return b"GPU-1234"

    def nvmlDeviceGetMemoryInfo(self, handle: str, version: int | None = None) -> SimpleNamespace:
        if version is None:
            return SimpleNamespace(total=8 * GIB, free=7 * GIB, used=1 * GIB)
        if not self.knows_memory_v2:
            raise FakeNvmlError(NvmlCode.FUNCTION_NOT_FOUND, "Function Not Found")
        return SimpleNamespace(total=8 * GIB, free=7 * GIB, used=0, reserved=1 * GIB)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(gpu=37, memory=3)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:
        return []

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: str) -> list[SimpleNamespace]:
        raise FakeNvmlError(NvmlCode.NOT_SUPPORTED)

    def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:
        return [0, 1]  # off now, on after the next reset
