"""The NVIDIA driver: the questions that a probe asks, and NVML, which answers them."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from fsgr_tui.core.language import tr

_NVML_LIBRARY: Final = "libnvidia-ml.so.1"
_KERNEL_MODULE_VERSION: Final = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)")
# Whoever computes on a GPU holds one of these open: the driver's own, Jetson's, and WSL's.
_GPU_DEVICE_FILES: Final = ("/dev/nvidia", "/dev/nvhost", "/dev/nvmap", "/dev/nvgpu", "/dev/dxg")

Handle = object


class NvmlCode(IntEnum):
    """NVML's error codes (nvml.h, nvmlReturn_t) that mean something of their own here."""

    INVALID_ARGUMENT = 2
    NOT_SUPPORTED = 3
    NO_PERMISSION = 4
    NOT_FOUND = 6
    DRIVER_NOT_LOADED = 9
    LIBRARY_NOT_FOUND = 12
    FUNCTION_NOT_FOUND = 13
    LIB_RM_VERSION_MISMATCH = 18
    UNKNOWN = 999


class DriverRefused(Exception):  # noqa: N818 - a refusal is an answer, and is reported as one
    """The driver answered a call with an error.

    Attributes:
        code: NVML's error code, one of `NvmlCode` or another.
        reason: the driver's words for it.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class MemoryReading(NamedTuple):
    """Memory of a GPU or a MIG slice, in bytes; what the driver keeps for itself counts as neither free nor used."""

    total_bytes: int
    free_bytes: int
    used_bytes: int


class GpuProcess(NamedTuple):
    """A process on a GPU; `used_bytes` is None where the driver does not tell."""

    pid: int
    used_bytes: int | None


class GpuDriver(Protocol):
    """The driver, call by call as in NVML. Every method may raise DriverRefused."""

    def open(self) -> None:
        """Start a session."""
        ...

    def close(self) -> None:
        """End the session."""
        ...

    def driver_version(self) -> str:
        """Version of the driver in use."""
        ...

    def library_version(self) -> str:
        """Version of the user-space library; must answer even when `open` was refused."""
        ...

    def kernel_module_version(self) -> str:
        """Version of the loaded kernel module; must answer even when `open` was refused."""
        ...

    def device_count(self) -> int:
        """GPUs that this process may ask about."""
        ...

    def device(self, index: int) -> Handle:
        """One of them, in PCI bus order."""
        ...

    def name(self, handle: Handle) -> str | bytes:
        """Product name."""
        ...

    def uuid(self, handle: Handle) -> str | bytes:
        """`GPU-...`, or `MIG-...` for a slice."""
        ...

    def memory(self, handle: Handle) -> MemoryReading:
        """Memory of a GPU or slice."""
        ...

    def utilisation(self, handle: Handle) -> int:
        """Percent busy over the driver's last sampling period."""
        ...

    def compute_processes(self, handle: Handle) -> Sequence[GpuProcess]:
        """Processes with a compute context. In a container their pids may be the host's."""
        ...

    def graphics_processes(self, handle: Handle) -> Sequence[GpuProcess]:
        """Processes with a graphics context; one that has both kinds is in both lists."""
        ...

    def is_visible(self, pid: int) -> bool:
        """Whether this pid of the driver's is a GPU process that can be seen from here."""
        ...

    def mig_enabled(self, handle: Handle) -> bool:
        """Whether the GPU is divided into MIG slices now."""
        ...

    def mig_capacity(self, handle: Handle) -> int:
        """How many slices the GPU can have; not every place is taken."""
        ...

    def mig_slice(self, handle: Handle, place: int) -> Handle:
        """The slice in one place; NOT_FOUND when it is empty."""
        ...

    def mig_path(self, handle: Handle) -> tuple[int, int]:
        """GPU instance and compute instance of a slice, as older names of slices spell them."""
        ...


class NvmlDriver:
    """NVML through whichever package provides the module `pynvml`.

    Args:
        load: imports the module; raises DriverRefused when there is no use in it.
        proc: the process file system, in which the driver's pids are looked up.
    """

    def __init__(self, load: Callable[[], Any] | None = None, proc: str | os.PathLike[str] = "/proc") -> None:
        self._load = load or load_nvml
        self._proc = Path(proc)
        self._nvml: Any = None

    def open(self) -> None:
        """Import the module and start a session."""
        self._nvml = self._load()
        self._call("nvmlInit")

    def close(self) -> None:
        """End the session."""
        self._call("nvmlShutdown")

    def driver_version(self) -> str:
        """Version of the driver in use."""
        return as_text(self._call("nvmlSystemGetDriverVersion"))

    def library_version(self) -> str:
        """Version of the user-space library, in the driver's numbering."""
        version = as_text(self._call("nvmlSystemGetNVMLVersion"))
        cuda_major, _, driver = version.partition(".")  # NVML puts its CUDA version first: 12.535.183.01
        return driver if "." in driver and len(cuda_major) <= 2 else version

    def kernel_module_version(self) -> str:
        """Version of the loaded kernel module, from /proc/driver/nvidia/version."""
        try:
            text = (self._proc / "driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise DriverRefused(NvmlCode.NOT_FOUND, f"{error.filename}: {error.strerror}") from error
        match = _KERNEL_MODULE_VERSION.search(text)
        if match is None:
            raise DriverRefused(NvmlCode.NOT_FOUND, tr("/proc/driver/nvidia/version names no version"))
        return match[1]

    def device_count(self) -> int:
        """GPUs that this process may ask about."""
        return int(self._call("nvmlDeviceGetCount"))

    def device(self, index: int) -> Handle:
        """One of them, in PCI bus order."""
        return self._call("nvmlDeviceGetHandleByIndex", index)

    def name(self, handle: Handle) -> str | bytes:
        """Product name; bytes from old packages."""
        name: str | bytes = self._call("nvmlDeviceGetName", handle)
        return name

    def uuid(self, handle: Handle) -> str | bytes:
        """`GPU-...` or `MIG-...`; bytes from old packages."""
        uuid: str | bytes = self._call("nvmlDeviceGetUUID", handle)
        return uuid

    def memory(self, handle: Handle) -> MemoryReading:
        """Memory of a GPU or slice."""
        # The first version of the call counts the driver's own reserve (hundreds of MiB on an idle GPU) as used,
        # which would look like somebody else's process.
        version = getattr(self._nvml, "nvmlMemory_v2", None)
        if version is not None:
            with suppress(DriverRefused):  # drivers before 510 and some slices know only the first version
                return _memory_reading(self._call("nvmlDeviceGetMemoryInfo", handle, version))
        return _memory_reading(self._call("nvmlDeviceGetMemoryInfo", handle))

    def utilisation(self, handle: Handle) -> int:
        """Percent busy over the driver's last sampling period."""
        return int(self._call("nvmlDeviceGetUtilizationRates", handle).gpu)

    def compute_processes(self, handle: Handle) -> Sequence[GpuProcess]:
        """Processes with a compute context."""
        return _gpu_processes(self._call("nvmlDeviceGetComputeRunningProcesses", handle))

    def graphics_processes(self, handle: Handle) -> Sequence[GpuProcess]:
        """Processes with a graphics context."""
        return _gpu_processes(self._call("nvmlDeviceGetGraphicsRunningProcesses", handle))

    def is_visible(self, pid: int) -> bool:
        """Whether the pid exists here and that process has a GPU open.

        In a container the driver may name pids of the host. A local process can carry the same number by chance, so
        existence alone is no proof. Another user's open files are secret; such a process is believed.
        """
        process = self._proc / str(pid)
        try:
            open_files = list(os.scandir(process / "fd"))
        except PermissionError:
            return process.exists()
        except OSError:
            return False
        return any(_link_target(entry.path).startswith(_GPU_DEVICE_FILES) for entry in open_files)

    def mig_enabled(self, handle: Handle) -> bool:
        """Whether the GPU is divided into MIG slices now (not: after the next reset)."""
        current, _pending = self._call("nvmlDeviceGetMigMode", handle)
        return int(current) == 1

    def mig_capacity(self, handle: Handle) -> int:
        """How many slices the GPU can have."""
        return int(self._call("nvmlDeviceGetMaxMigDeviceCount", handle))

    def mig_slice(self, handle: Handle, place: int) -> Handle:
        """The slice in one place."""
        return self._call("nvmlDeviceGetMigDeviceHandleByIndex", handle, place)

    def mig_path(self, handle: Handle) -> tuple[int, int]:
        """GPU instance and compute instance of a slice."""
        instance = self._call("nvmlDeviceGetGpuInstanceId", handle)
        return int(instance), int(self._call("nvmlDeviceGetComputeInstanceId", handle))

    def _call(self, function: str, *arguments: object) -> Any:
        """One NVML call, with its errors as DriverRefused."""
        call = getattr(self._nvml, function, None)
        if call is None:
            raise DriverRefused(
                NvmlCode.FUNCTION_NOT_FOUND, tr("the pynvml module has no {function}", function=function)
            )
        try:
            return call(*arguments)
        except self._nvml.NVMLError as error:
            raise DriverRefused(int(error.value), str(error)) from error
        except UnicodeDecodeError as error:  # seen under WSL: a name that was never filled in
            raise DriverRefused(
                NvmlCode.UNKNOWN, tr("{function} returned text that is no UTF-8", function=function)
            ) from error


def load_nvml() -> Any:
    """The module `pynvml`, if there is a driver library for it to talk to.

    Importing the module takes some 30 ms, so the library is looked for first: a machine without it need not wait.

    Raises:
        DriverRefused: there is no driver library.
    """
    try:
        ctypes.CDLL(_NVML_LIBRARY)
    except OSError as error:
        raise DriverRefused(NvmlCode.LIBRARY_NOT_FOUND, str(error)) from error
    return import_pynvml()


def import_pynvml() -> Any:
    """The module `pynvml` without the warning that the deprecated package of that name prints when imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("pynvml")


def installed_bindings() -> tuple[str, ...]:
    """Packages here that provide `pynvml`, as `name version`; with two of them the last one installed wins."""
    from importlib import metadata  # only the doctor asks, and the import takes 10 ms

    found = []
    for package in ("nvidia-ml-py", "pynvml"):
        with suppress(metadata.PackageNotFoundError):
            found.append(f"{package} {metadata.version(package)}")
    return tuple(found)


def as_text(value: str | bytes) -> str:
    """Text of the driver; older bindings hand out bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _memory_reading(info: Any) -> MemoryReading:
    return MemoryReading(int(info.total), int(info.free), int(info.used))


def _gpu_processes(infos: Sequence[Any]) -> list[GpuProcess]:
    return [GpuProcess(int(info.pid), info.usedGpuMemory) for info in infos]


def _link_target(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - a plain str is wanted
    except OSError:  # closed in the meantime
        return ""
