"""This machine: GPUs and disks with bars, and the host."""

from __future__ import annotations

import re
from typing import ClassVar

from rich.text import Text

from fsgr_tui.core.machine import Disk, Gpu, Machine
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.units import Unknown, format_bytes, format_gib, printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, GOOD, WARN, WAY_B, bar, cut, cut_left, pad
from fsgr_tui.tui.widgets.panel import Panel

NEARLY_FULL = 0.9


class MachinePanel(Panel):
    """What the plan stands on."""

    TITLE: ClassVar[str] = "This machine"

    def show(self, plan: Plan) -> None:
        """Show the readings of a plan's machine."""
        self.draw_with(lambda width: draw(plan.machine, width))


def draw(machine: Machine, width: int) -> Text:
    """GPUs first, then disks, then the host."""
    parts = [_gpu(gpu, width) for gpu in machine.gpus]
    report = machine.gpu_report
    if report.message or not machine.gpus:
        parts.append(Text.assemble(("GPU  ", DIM), (printable(report.message or report.status), WARN if report.status != "ok" else "")))
    seen = {disk.mount: disk for disk in machine.disks}
    parts += [_disk(disk, width) for disk in seen.values()]
    parts += [marked_disk for disk in machine.disks if not disk.writable for marked_disk in [_not_writable(disk)]]
    host = machine.host
    memory = host.memory
    words = f"memory {memory}" if isinstance(memory, Unknown) else f"{format_gib(memory.available_bytes)} of {format_gib(memory.limit_bytes)}"
    limited = f" of {host.cpus.host_count} ({host.cpus.source})" if host.cpus.count != host.cpus.host_count else ""
    parts.append(Text.assemble(("CPUs ", DIM), f"{host.cpus.count}{limited}", ("  memory ", DIM), words, (" free" if not isinstance(memory, Unknown) else "", DIM)))
    return layout.lines(*parts)


def _measure(label: str, share: float | None, reading: str, width: int, style: str) -> Text:
    """`label  bar  reading` in one line; the bar takes what is left, and goes first when little is."""
    label_cells = max(6, min(16, width // 4))
    line = Text.assemble((pad(label, label_cells), DIM), " ")
    room = width - label_cells - len(reading) - 2
    if share is not None and room >= 4:
        line.append_text(bar(share, min(room, 30), style)).append(" ")
    return line.append(cut(reading, width - label_cells - 1), style if style in (WARN, BAD) else "")


def _gpu(gpu: Gpu, width: int) -> Text:
    name = re.sub(r"NVIDIA |GeForce ", "", gpu.name)
    label = f"GPU {gpu.index}" + (" MIG" if gpu.mig else "")
    total, free = gpu.memory_total_bytes, gpu.memory_free_bytes
    if isinstance(total, Unknown) or isinstance(free, Unknown):
        reason = total if isinstance(total, Unknown) else free
        return Text.assemble((f"{label} ", DIM), printable(f"{name}, memory "), (printable(str(reason)), WARN))
    used = 1 - free / total if total else 0.0
    busy = "" if isinstance(gpu.utilisation, Unknown) or not gpu.utilisation else f", {gpu.utilisation} % busy"
    reading = f"{format_gib(free)} free"
    line = _measure(label, used, reading, width, WARN if used > NEARLY_FULL else WAY_B)
    extra = f"  {printable(name)}{busy}"
    return line.append(cut(extra, width - line.cell_len), DIM) if width - line.cell_len > 8 else layout.lines(line, Text(cut(f"      {name}{busy}", width), DIM))


def _disk(disk: Disk, width: int) -> Text:
    label_cells = max(6, min(16, width // 4))
    label = cut_left(disk.mount, label_cells)
    if isinstance(disk.free_bytes, Unknown):
        return Text.assemble((pad(label, label_cells), DIM), " ", (printable(str(disk.free_bytes)), WARN))
    used = 1 - disk.free_bytes / disk.total_bytes if isinstance(disk.total_bytes, int) and disk.total_bytes else None
    full = used is not None and used > NEARLY_FULL
    line = _measure(label, used, f"{format_bytes(disk.free_bytes)} free", width, WARN if full else GOOD)
    extra = f"  {printable(disk.filesystem)}"
    return line.append(extra, DIM) if line.cell_len + len(extra) <= width else line


def _not_writable(disk: Disk) -> Text:
    return layout.marked("!", f"{disk.path} is not writable", BAD, BAD)
