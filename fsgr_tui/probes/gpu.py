"""GPUs: what the NVIDIA driver says, and which of them CUDA would let this process use."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec

from fsgr_tui.core.machine import Gpu, GpuReport
from fsgr_tui.core.units import GIB, Unknown, format_gib, printable

PROBE_TIMEOUT_S: Final = 3.0

_NVML_LIBRARY: Final = "libnvidia-ml.so.1"
_UNIFIED_MEMORY_BOARDS: Final = re.compile(r"\b(GB10|Orin|Thor|Xavier|Tegra)\b", re.IGNORECASE)
_KERNEL_MODULE_VERSION: Final = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)")
# Whoever computes on a GPU holds one of these open: the driver's own, Jetson's, and WSL's.
_GPU_DEVICE_FILES: Final = ("/dev/nvidia", "/dev/nvhost", "/dev/nvmap", "/dev/nvgpu", "/dev/dxg")

Handle = object
T = TypeVar("T")


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


# Nobody made a slice in this place, or it was given to another container.
_NO_SLICE_HERE: Final = (NvmlCode.NOT_FOUND, NvmlCode.INVALID_ARGUMENT, NvmlCode.NO_PERMISSION)


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
        return _text(self._call("nvmlSystemGetDriverVersion"))

    def library_version(self) -> str:
        """Version of the user-space library, in the driver's numbering."""
        version = _text(self._call("nvmlSystemGetNVMLVersion"))
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
            raise DriverRefused(NvmlCode.NOT_FOUND, "/proc/driver/nvidia/version names no version")
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
            raise DriverRefused(NvmlCode.FUNCTION_NOT_FOUND, f"the pynvml module has no {function}")
        try:
            return call(*arguments)
        except self._nvml.NVMLError as error:
            raise DriverRefused(int(error.value), str(error)) from error
        except UnicodeDecodeError as error:  # seen under WSL: a name that was never filled in
            raise DriverRefused(NvmlCode.UNKNOWN, f"{function} returned text that is no UTF-8") from error


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


def probe_gpus(
    driver: GpuDriver | None = None,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = PROBE_TIMEOUT_S,
) -> GpuReport:
    """The GPUs that CUDA would offer to a process with this environment, in CUDA's order.

    Never raises, and never waits longer than `timeout_s`: a driver that hangs is left behind in a daemon thread.

    Args:
        driver: where the readings come from; NVML when not given.
        environ: for CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER; this process's own when not given.
        timeout_s: how long the driver may take for everything together.
    """
    asked = NvmlDriver() if driver is None else driver
    settings = dict(os.environ if environ is None else environ)
    answers: SimpleQueue[GpuReport] = SimpleQueue()
    probe = threading.Thread(target=lambda: answers.put(_report(asked, settings)), name="gpu-probe", daemon=True)
    probe.start()
    try:
        return answers.get(timeout=timeout_s)
    except Empty:
        late = f"the NVIDIA driver gave no answer within {timeout_s:g} s"
        return GpuReport("error", driver=Unknown(late), message=late)


class _Unit(msgspec.Struct, frozen=True, eq=False):
    """What CUDA_VISIBLE_DEVICES can name: a whole GPU, or one slice of a GPU in MIG mode."""

    handle: Handle
    index: int
    gpu_uuid: str
    gpu_name: str
    uuid: str
    name: str
    mig: bool = False
    older_name: str = ""


class _Found(NamedTuple):
    """All units here, and sentences about GPUs that gave none."""

    units: list[_Unit]
    refused: list[str]
    undivided: list[str]


class _Choice(NamedTuple):
    """The units that CUDA_VISIBLE_DEVICES leaves visible, and the fault that ended its list early, if any."""

    units: tuple[_Unit, ...]
    ended_by: str = ""


def _report(driver: GpuDriver, environ: Mapping[str, str]) -> GpuReport:
    try:
        driver.open()
        try:
            return _survey(driver, environ)
        finally:
            with suppress(DriverRefused):  # the readings are in hand; a session that will not end changes none
                driver.close()
    except DriverRefused as refusal:
        return _refusal_report(driver, refusal)
    except ImportError as error:
        reason = f"the Python package nvidia-ml-py is not usable ({error})"
        return GpuReport("error", driver=Unknown(reason), message=f"{reason}; pip install nvidia-ml-py")
    except Exception as error:  # noqa: BLE001 - a broken binding must not take the other probes with it
        reason = f"reading the GPUs failed: {type(error).__name__}: {error}"
        return GpuReport("error", driver=Unknown(reason), message=reason)


def _refusal_report(driver: GpuDriver, refusal: DriverRefused) -> GpuReport:
    if refusal.code == NvmlCode.LIBRARY_NOT_FOUND:
        return GpuReport("no_driver", message="no NVIDIA driver here")
    if refusal.code == NvmlCode.DRIVER_NOT_LOADED:
        return GpuReport(
            "no_driver",
            driver=Unknown("the kernel module is not loaded"),
            message="the NVIDIA library is here, but its kernel module is not loaded: this node has no GPU, "
            "or an administrator has to run `modprobe nvidia`",
        )
    if refusal.code == NvmlCode.LIB_RM_VERSION_MISMATCH:
        library, module = _reading(driver.library_version), _reading(driver.kernel_module_version)
        return GpuReport(
            "driver_mismatch",
            driver=module,
            message=f"the NVIDIA driver was updated while it was in use: the library is version {library}, the kernel "
            f"module {module}; reboot or reload the module (running jobs go on, new ones cannot start on a GPU)",
        )
    return GpuReport(
        "error", driver=Unknown(refusal.reason), message=f"the NVIDIA driver refused to answer: {refusal.reason}"
    )


def _survey(driver: GpuDriver, environ: Mapping[str, str]) -> GpuReport:
    version = _reading(driver.driver_version)
    count = driver.device_count()
    if count == 0:
        return GpuReport("none", driver=version, message="the NVIDIA driver is loaded but finds no GPU")
    found = _find_units(driver, count)
    remarks = found.refused + found.undivided
    if not found.units:
        return GpuReport("error" if found.refused else "none", driver=version, message="; ".join(remarks))
    setting = environ.get("CUDA_VISIBLE_DEVICES")
    choice = _visible(setting, found.units)
    if not choice.units and setting is not None:
        return GpuReport("hidden", driver=version, message="; ".join([_hidden(setting, count, choice), *remarks]))
    gpus = tuple(_read(driver, unit) for unit in choice.units)
    remarks += _remarks(choice, found.units, environ) + _used_elsewhere_remarks(gpus)
    return GpuReport("ok", gpus, version, "; ".join(remarks))


def _find_units(driver: GpuDriver, count: int) -> _Found:
    found = _Found([], [], [])
    for index in range(count):
        try:
            units = _units_of(driver, index)
        except DriverRefused as refusal:
            found.refused.append(f"GPU {index} cannot be used: {refusal.reason}")
            continue
        found.units.extend(units)
        if not units:
            found.undivided.append(
                f"GPU {index} is in MIG mode but has no slice that this process may use; "
                "an administrator creates slices with `nvidia-smi mig -cgi ... -C`"
            )
    return found


def _units_of(driver: GpuDriver, index: int) -> list[_Unit]:
    handle = driver.device(index)
    gpu = _gpu_unit(driver, handle, index)
    return _slices(driver, gpu) if _in_mig_mode(driver, handle) else [gpu]


def _gpu_unit(driver: GpuDriver, handle: Handle, index: int) -> _Unit:
    uuid = _reading(lambda: _text(driver.uuid(handle)))
    if isinstance(uuid, Unknown):
        uuid = str(index)  # CUDA_VISIBLE_DEVICES accepts it as well
    name = _name(driver, handle)
    return _Unit(handle, index, gpu_uuid=uuid, gpu_name=name, uuid=uuid, name=name)


def _name(driver: GpuDriver, handle: Handle) -> str:
    name = _reading(lambda: _text(driver.name(handle)))
    return f"GPU without a name ({name.reason})" if isinstance(name, Unknown) else name


def _in_mig_mode(driver: GpuDriver, handle: Handle) -> bool:
    try:
        return driver.mig_enabled(handle)
    except DriverRefused:  # most GPUs and older drivers know no MIG, and say so by refusing
        return False


def _slices(driver: GpuDriver, gpu: _Unit) -> list[_Unit]:
    slices = []
    for place in range(driver.mig_capacity(gpu.handle)):
        try:
            handle = driver.mig_slice(gpu.handle, place)
        except DriverRefused as refusal:
            if refusal.code in _NO_SLICE_HERE:
                continue
            raise
        slices.append(_slice_unit(driver, gpu, handle))
    return slices


def _slice_unit(driver: GpuDriver, gpu: _Unit, handle: Handle) -> _Unit:
    path = _reading(lambda: driver.mig_path(handle))
    older_name = "" if isinstance(path, Unknown) else f"MIG-{gpu.gpu_uuid}/{path[0]}/{path[1]}"
    uuid = _reading(lambda: _text(driver.uuid(handle)))
    return msgspec.structs.replace(
        gpu,
        handle=handle,
        uuid=older_name or str(gpu.index) if isinstance(uuid, Unknown) else uuid,
        name=_name(driver, handle),
        mig=True,
        older_name=older_name,
    )


def _visible(setting: str | None, units: Sequence[_Unit]) -> _Choice:
    """What CUDA makes of CUDA_VISIBLE_DEVICES.

    Order is kept. The list ends before the first entry that names nothing, and all entries must be of the first
    one's kind (CUDA programming guide, "CUDA Environment Variables"). An entry that repeats a device leaves none,
    and a number may have letters behind it, as in CUDA's own parser (mirrored in torch.cuda._parse_visible_devices).
    """
    if setting is None:
        return _Choice(tuple(units))
    entries = setting.split(",")
    chosen: list[_Unit] = []
    for entry in entries:
        named = _named(entry, units) if _kind(entry) == _kind(entries[0]) else []
        if not named:
            on_purpose = entry.strip() in ("", "-1")
            return _Choice(tuple(chosen), "" if on_purpose else f'entry "{printable(entry)}" names no GPU here')
        if any(unit in chosen for unit in named):
            return _Choice((), f'entry "{printable(entry)}" repeats a GPU, and CUDA then shows none')
        chosen.extend(named)
    return _Choice(tuple(chosen))


def _kind(entry: str) -> str:
    return entry[:4] if entry.startswith(("GPU-", "MIG-")) else "index"


def _named(entry: str, units: Sequence[_Unit]) -> list[_Unit]:
    """The units that one entry names: a GPU in MIG mode stands for all its slices. Empty when it names none."""
    if _kind(entry) == "MIG-":
        return [unit for unit in units if entry in (unit.uuid, unit.older_name)]
    if _kind(entry) == "GPU-":
        named = [unit for unit in units if unit.gpu_uuid.startswith(entry)]
        return named if len({unit.index for unit in named}) == 1 else []  # a prefix of two names neither
    number = re.match(r"\s*\+?([0-9]+)", entry)
    return [unit for unit in units if number and unit.index == int(number[1])]


def _hidden(setting: str, count: int, choice: _Choice) -> str:
    gpus = "the GPU that is" if count == 1 else f"all {count} GPUs that are"
    text = f'CUDA_VISIBLE_DEVICES="{printable(setting)}" hides {gpus} here'
    if setting == "NoDevFiles":
        return f"{text}: Slurm sets this in a job without GPUs; ask for one, e.g. --gres=gpu:1"
    why = f" ({choice.ended_by})" if choice.ended_by else ""
    return f"{text}{why}; unset it or name a GPU, e.g. CUDA_VISIBLE_DEVICES=0"


def _remarks(choice: _Choice, units: Sequence[_Unit], environ: Mapping[str, str]) -> list[str]:
    remarks = []
    setting = environ.get("CUDA_VISIBLE_DEVICES")
    if choice.ended_by and setting is not None:
        remarks.append(f'CUDA_VISIBLE_DEVICES="{printable(setting)}": {choice.ended_by}; CUDA stops reading there')
    by_index = setting is not None and _kind(setting) == "index"
    several_models = len({unit.gpu_name for unit in units}) > 1
    if by_index and several_models and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        remarks.append(
            "the GPUs here are of different models and CUDA may number them otherwise than shown, the fastest first; "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID or name GPUs by their uuid"
        )
    if sum(unit.mig for unit in choice.units) > 1:
        remarks.append(
            "CUDA shows a process only one MIG slice by default; name the one to use, "
            f"e.g. CUDA_VISIBLE_DEVICES={choice.units[0].uuid}"
        )
    return remarks


def _used_elsewhere_remarks(gpus: Sequence[Gpu]) -> list[str]:
    return [
        f"{'a MIG slice of ' if gpu.mig else ''}GPU {gpu.index}: {format_gib(gpu.used_elsewhere_bytes)} used by "
        "processes not visible from here"
        for gpu in gpus
        # Below this it is the display or the driver's own overhead, and nobody's job.
        if isinstance(gpu.used_elsewhere_bytes, int) and gpu.used_elsewhere_bytes >= GIB
    ]


def _read(driver: GpuDriver, unit: _Unit) -> Gpu:
    total, free, used = _memory(driver, unit)
    on_unified_board = _UNIFIED_MEMORY_BOARDS.search(unit.gpu_name) is not None
    return Gpu(
        index=unit.index,
        uuid=unit.uuid,
        name=unit.name,
        memory_total_bytes=total,
        memory_free_bytes=free,
        memory_used_bytes=used,
        utilisation=_utilisation(driver, unit),
        used_elsewhere_bytes=_used_elsewhere(driver, unit.handle, used),
        mig=unit.mig,
        shared_memory=isinstance(total, Unknown) and on_unified_board,
    )


def _memory(driver: GpuDriver, unit: _Unit) -> tuple[int | Unknown, int | Unknown, int | Unknown]:
    """Total, free and used bytes; all three are Unknown for the same reason when the driver names no memory."""
    memory = _reading(lambda: driver.memory(unit.handle))
    if isinstance(memory, Unknown):
        return memory, memory, memory
    if memory.total_bytes == 0:
        no_size = Unknown("the driver reports no memory size")
        return no_size, no_size, no_size
    return memory


def _utilisation(driver: GpuDriver, unit: _Unit) -> int | Unknown:
    if unit.mig:
        return Unknown("the driver does not report it for MIG slices")
    return _reading(lambda: driver.utilisation(unit.handle))


def _used_elsewhere(driver: GpuDriver, handle: Handle, used: int | Unknown) -> int | Unknown:
    """Used bytes that the processes visible from here do not account for."""
    if isinstance(used, Unknown):
        return used
    processes = _reading(lambda: _processes(driver, handle))
    if isinstance(processes, Unknown):
        return Unknown(f"no list of processes: {processes.reason}")
    accounted = 0
    for pid, process_bytes in processes.items():
        if not driver.is_visible(pid):
            continue
        if process_bytes is None:
            return Unknown(f"the driver does not tell how much memory process {pid} uses")
        accounted += process_bytes
    return max(0, used - accounted)


def _processes(driver: GpuDriver, handle: Handle) -> dict[int, int | None]:
    """Used bytes by pid; the driver lists a process with both kinds of context twice, with the same number."""
    processes = list(driver.compute_processes(handle))
    with suppress(DriverRefused):  # MIG slices and compute-only boards run no graphics, and refuse the question
        processes += driver.graphics_processes(handle)
    return {process.pid: process.used_bytes for process in processes}


def _reading(ask: Callable[[], T]) -> T | Unknown:
    try:
        return ask()
    except DriverRefused as refusal:
        return Unknown(refusal.reason)


def _text(value: str | bytes) -> str:
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
