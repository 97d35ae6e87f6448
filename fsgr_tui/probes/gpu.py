"""GPUs: what the NVIDIA driver says, and which of them CUDA would let this process use."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple, TypeVar

import msgspec

from fsgr_tui.core.language import tr, trn
from fsgr_tui.core.machine import Gpu, GpuReport
from fsgr_tui.core.units import GIB, Unknown, format_gib, printable
from fsgr_tui.probes.nvml import DriverRefused, GpuDriver, Handle, NvmlCode, NvmlDriver, as_text, load_nvml
from fsgr_tui.probes.smi import SmiDriver, is_there

PROBE_TIMEOUT_S: Final = 3.0

_UNIFIED_MEMORY_BOARDS: Final = re.compile(r"\b(GB10|Orin|Thor|Xavier|Tegra)\b", re.IGNORECASE)
# Nobody made a slice in this place, or it was given to another container.
_NO_SLICE_HERE: Final = (NvmlCode.NOT_FOUND, NvmlCode.INVALID_ARGUMENT, NvmlCode.NO_PERMISSION)

T = TypeVar("T")


def probe_gpus(
    driver: GpuDriver | None = None,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = PROBE_TIMEOUT_S,
) -> GpuReport:
    """The GPUs that CUDA would offer to a process with this environment, in CUDA's order.

    Never raises, and never waits longer than `timeout_s`: a driver that hangs is left behind in a daemon thread.

    Args:
        driver: where the readings come from; NVML when not given, or nvidia-smi where NVML cannot be used.
        environ: for CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER; this process's own when not given.
        timeout_s: how long the driver may take for everything together.
    """
    settings = dict(os.environ if environ is None else environ)
    answers: SimpleQueue[GpuReport] = SimpleQueue()
    probe = threading.Thread(
        target=lambda: answers.put(_report(driver or _local_driver(), settings)), name="gpu-probe", daemon=True
    )
    probe.start()
    try:
        return answers.get(timeout=timeout_s)
    except Empty:
        late = tr("the NVIDIA driver gave no answer within {timeout_s:g} s", timeout_s=timeout_s)
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


def _local_driver() -> GpuDriver:
    """NVML; nvidia-smi where the package or its library is missing, but the program is here (WSL, NixOS, containers)."""
    try:
        load_nvml()
    except (DriverRefused, ImportError):
        if is_there():
            return SmiDriver()
    return NvmlDriver()


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
        reason = tr("the Python package nvidia-ml-py is not usable ({error})", error=error)
        return GpuReport(
            "error", driver=Unknown(reason), message=tr("{reason}; pip install nvidia-ml-py", reason=reason)
        )
    except Exception as error:  # noqa: BLE001 - a broken binding must not take the other probes with it
        reason = tr("reading the GPUs failed: {name}: {error}", name=type(error).__name__, error=error)
        return GpuReport("error", driver=Unknown(reason), message=reason)


def _refusal_report(driver: GpuDriver, refusal: DriverRefused) -> GpuReport:
    if refusal.code == NvmlCode.LIBRARY_NOT_FOUND:
        return GpuReport("no_driver", message=tr("no NVIDIA driver here"))
    if refusal.code == NvmlCode.DRIVER_NOT_LOADED:
        return GpuReport(
            "no_driver",
            driver=Unknown(tr("the kernel module is not loaded")),
            message=tr(
                "the NVIDIA library is here, but its kernel module is not loaded: this node has no GPU, or an "
                "administrator has to run `modprobe nvidia`"
            ),
        )
    if refusal.code == NvmlCode.LIB_RM_VERSION_MISMATCH:
        library, module = _reading(driver.library_version), _reading(driver.kernel_module_version)
        return GpuReport(
            "driver_mismatch",
            driver=module,
            message=tr(
                "the NVIDIA driver was updated while it was in use: the library is version {library}, the kernel module "
                "{module}; reboot or reload the module (running jobs go on, new ones cannot start on a GPU)",
                library=library,
                module=module,
            ),
        )
    return GpuReport(
        "error",
        driver=Unknown(refusal.reason),
        message=tr("the NVIDIA driver refused to answer: {reason}", reason=refusal.reason),
    )


def _survey(driver: GpuDriver, environ: Mapping[str, str]) -> GpuReport:
    version = _reading(driver.driver_version)
    count = driver.device_count()
    if count == 0:
        return GpuReport("none", driver=version, message=tr("the NVIDIA driver is loaded but finds no GPU"))
    found = _find_units(driver, count)
    remarks = found.refused + found.undivided
    if not found.units:
        return GpuReport("error" if found.refused else "none", driver=version, message=tr("; ").join(remarks))
    setting = environ.get("CUDA_VISIBLE_DEVICES")
    choice = _visible(setting, found.units)
    if not choice.units and setting is not None:
        return GpuReport("hidden", driver=version, message=tr("; ").join([_hidden(setting, count, choice), *remarks]))
    gpus = tuple(_read(driver, unit) for unit in choice.units)
    remarks += _remarks(choice, found.units, environ) + _used_elsewhere_remarks(gpus)
    return GpuReport("ok", gpus, version, tr("; ").join(remarks))


def _find_units(driver: GpuDriver, count: int) -> _Found:
    found = _Found([], [], [])
    for index in range(count):
        try:
            units = _units_of(driver, index)
        except DriverRefused as refusal:
            found.refused.append(tr("GPU {index} cannot be used: {reason}", index=index, reason=refusal.reason))
            continue
        found.units.extend(units)
        if not units:
            found.undivided.append(
                tr(
                    "GPU {index} is in MIG mode but has no slice that this process may use; "
                    "an administrator creates slices with `nvidia-smi mig -cgi ... -C`",
                    index=index,
                )
            )
    return found


def _units_of(driver: GpuDriver, index: int) -> list[_Unit]:
    handle = driver.device(index)
    gpu = _gpu_unit(driver, handle, index)
    return _slices(driver, gpu) if _in_mig_mode(driver, handle) else [gpu]


def _gpu_unit(driver: GpuDriver, handle: Handle, index: int) -> _Unit:
    uuid = _reading(lambda: as_text(driver.uuid(handle)))
    if isinstance(uuid, Unknown):
        uuid = str(index)  # CUDA_VISIBLE_DEVICES accepts it as well
    name = _name(driver, handle)
    return _Unit(handle, index, gpu_uuid=uuid, gpu_name=name, uuid=uuid, name=name)


def _name(driver: GpuDriver, handle: Handle) -> str:
    name = _reading(lambda: as_text(driver.name(handle)))
    return tr("GPU without a name ({reason})", reason=name.reason) if isinstance(name, Unknown) else name


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
    uuid = _reading(lambda: as_text(driver.uuid(handle)))
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
            return _Choice(
                tuple(chosen), "" if on_purpose else tr('entry "{entry}" names no GPU here', entry=printable(entry))
            )
        if any(unit in chosen for unit in named):
            return _Choice((), tr('entry "{entry}" repeats a GPU, and CUDA then shows none', entry=printable(entry)))
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
    text = trn(
        'CUDA_VISIBLE_DEVICES="{setting}" hides the GPU that is here',
        'CUDA_VISIBLE_DEVICES="{setting}" hides all {count} GPUs that are here',
        count,
        setting=printable(setting),
    )
    if setting == "NoDevFiles":
        return tr("{hidden}: Slurm sets this in a job without GPUs; ask for one, e.g. --gres=gpu:1", hidden=text)
    why = f" ({choice.ended_by})" if choice.ended_by else ""
    return tr("{hidden}{why}; unset it or name a GPU, e.g. CUDA_VISIBLE_DEVICES=0", hidden=text, why=why)


def _remarks(choice: _Choice, units: Sequence[_Unit], environ: Mapping[str, str]) -> list[str]:
    remarks = []
    setting = environ.get("CUDA_VISIBLE_DEVICES")
    if choice.ended_by and setting is not None:
        remarks.append(
            tr(
                'CUDA_VISIBLE_DEVICES="{setting}": {ended_by}; CUDA stops reading there',
                setting=printable(setting),
                ended_by=choice.ended_by,
            )
        )
    by_index = setting is not None and _kind(setting) == "index"
    several_models = len({unit.gpu_name for unit in units}) > 1
    if by_index and several_models and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        remarks.append(
            tr(
                "the GPUs here are of different models and CUDA may number them otherwise than shown, the fastest first; "
                "set CUDA_DEVICE_ORDER=PCI_BUS_ID or name GPUs by their uuid"
            )
        )
    if sum(unit.mig for unit in choice.units) > 1:
        remarks.append(
            tr(
                "CUDA shows a process only one MIG slice by default; name the one to use, "
                "e.g. CUDA_VISIBLE_DEVICES={uuid}",
                uuid=choice.units[0].uuid,
            )
        )
    return remarks


def _used_elsewhere_remarks(gpus: Sequence[Gpu]) -> list[str]:
    return [
        _used_elsewhere_remark(gpu, format_gib(gpu.used_elsewhere_bytes))
        for gpu in gpus
        # Below this it is the display or the driver's own overhead, and nobody's job.
        if isinstance(gpu.used_elsewhere_bytes, int) and gpu.used_elsewhere_bytes >= GIB
    ]


def _used_elsewhere_remark(gpu: Gpu, size: str) -> str:
    if gpu.mig:
        return tr(
            "a MIG slice of GPU {index}: {size} used by processes not visible from here", index=gpu.index, size=size
        )
    return tr("GPU {index}: {size} used by processes not visible from here", index=gpu.index, size=size)


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
        no_size = Unknown(tr("the driver reports no memory size"))
        return no_size, no_size, no_size
    return memory


def _utilisation(driver: GpuDriver, unit: _Unit) -> int | Unknown:
    if unit.mig:
        return Unknown(tr("the driver does not report it for MIG slices"))
    return _reading(lambda: driver.utilisation(unit.handle))


def _used_elsewhere(driver: GpuDriver, handle: Handle, used: int | Unknown) -> int | Unknown:
    """Used bytes that the processes visible from here do not account for."""
    if isinstance(used, Unknown):
        return used
    processes = _reading(lambda: _processes(driver, handle))
    if isinstance(processes, Unknown):
        return Unknown(tr("no list of processes: {reason}", reason=processes.reason))
    accounted = 0
    for pid, process_bytes in processes.items():
        if not driver.is_visible(pid):
            continue
        if process_bytes is None:
            return Unknown(tr("the driver does not tell how much memory process {pid} uses", pid=pid))
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
