"""This machine: GPUs and disks with bars, and the host."""

from __future__ import annotations

import re
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text

from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.machine import Disk, Gpu, Host, Machine
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.units import Unknown, format_bytes, format_gib, printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, GOOD, WARN, WAY_B, bar, cut, cut_left, marked, pad
from fsgr_tui.tui.widgets.panel import PlanPanel

NEARLY_FULL = 0.9
WIDE = 44
SCARCE = 0.15


class MachinePanel(PlanPanel):
    """What the plan stands on."""

    TITLE: ClassVar[str] = mark("This machine")

    def show(self, plan: Plan) -> None:
        """Show the readings of a plan's machine."""
        self.draw_with(lambda width: draw(plan.machine, width))


def draw(machine: Machine, width: int) -> Text:
    """GPUs first, then disks, then the host."""
    parts = [_gpu(gpu, width) for gpu in machine.gpus]
    report = machine.gpu_report
    if report.message or not machine.gpus:
        parts.append(
            Text.assemble(
                ("GPU  ", DIM), (printable(tr(report.message or report.status)), WARN if report.status != "ok" else "")
            )
        )
    seen = {disk.mount: disk for disk in machine.disks}
    parts += [_disk(disk, width) for disk in seen.values()]
    parts += [marked("!", _refusal(disk), BAD, BAD) for disk in machine.disks if not disk.writable]
    return layout.lines(*parts, *_host(machine.host, width))


def _host(host: Host, width: int) -> tuple[Text, Text]:
    cpus, memory = host.cpus, host.memory
    count = f"{cpus.count}"
    if cpus.count != cpus.host_count:
        count = tr("{count} of {all} ({source})", count=cpus.count, all=cpus.host_count, source=tr(cpus.source))
    labels = [tr("CPUs"), tr("memory")]
    cells = max(map(cell_len, labels)) + 2
    cpu_label, memory_label = [(pad(label, cells), DIM) for label in labels]
    line = Text.assemble(cpu_label, count)
    if isinstance(memory, Unknown):
        return line, Text.assemble(memory_label, (printable(str(memory)), WARN))
    # What is available flickers all the time, and matters only when little is left.
    scarce = memory.available_bytes < SCARCE * memory.limit_bytes
    words = format_gib(memory.limit_bytes)
    if scarce:
        words = tr("{size}, only {free} free", size=words, free=format_gib(memory.available_bytes))
    source = f" ({tr(memory.source)})" if memory.source != "host" and width >= WIDE else ""
    return line, Text.assemble(memory_label, (words, WARN if scarce else ""), (source, DIM))


def _refusal(disk: Disk) -> str:
    if disk.silence is not None:
        return tr("{path} did not answer", path=disk.path)
    return tr("{path} is not writable", path=disk.path)


def _measure(label: str, share: float | None, reading: str, width: int, style: str) -> Text:
    """`label  bar  reading` in one line; the bar takes what is left, and goes first when little is."""
    label_cells = _label_cells(width)
    line = Text.assemble((pad(label, label_cells), DIM), " ")
    room = width - label_cells - cell_len(reading) - 2
    if share is not None and room >= 4:
        line.append_text(bar(share, min(room, 24), style)).append(" ")
    return line.append(cut(reading, width - label_cells - 1), style if style in (WARN, BAD) else "")


def _label_cells(width: int) -> int:
    return max(10, min(24, width // 3))


def _gpu(gpu: Gpu, width: int) -> Text:
    name = re.sub(r"NVIDIA |GeForce ", "", gpu.name) + (" MIG" if gpu.mig else "")
    label = f"GPU {gpu.index} {name}" if width >= WIDE else f"{gpu.index} {name}"
    total, free = gpu.memory_total_bytes, gpu.memory_free_bytes
    if isinstance(total, Unknown) or isinstance(free, Unknown):
        reason = total if isinstance(total, Unknown) else free
        return Text.assemble((printable(tr("{gpu} memory", gpu=label)), DIM), " ", (printable(str(reason)), WARN))
    used = 1 - free / total if total else 0.0
    line = _measure(label, used, tr("{size} free", size=format_gib(free)), width, WARN if used > NEARLY_FULL else WAY_B)
    busy = (
        ""
        if isinstance(gpu.utilisation, Unknown) or not gpu.utilisation
        else tr(", {share} % busy", share=gpu.utilisation)
    )
    return line.append(cut(busy, width - line.cell_len), DIM)


def _disk(disk: Disk, width: int) -> Text:
    label_cells = _label_cells(width)
    label = cut_left(disk.mount, label_cells)
    if isinstance(disk.free_bytes, Unknown):
        return Text.assemble((pad(label, label_cells), DIM), " ", (printable(str(disk.free_bytes)), WARN))
    used = 1 - disk.free_bytes / disk.total_bytes if isinstance(disk.total_bytes, int) and disk.total_bytes else None
    full = used is not None and used > NEARLY_FULL
    line = _measure(label, used, tr("{size} free", size=format_bytes(disk.free_bytes)), width, WARN if full else GOOD)
    extra = f"  {printable(disk.filesystem)}"
    return line.append(extra, DIM) if line.cell_len + cell_len(extra) <= width else line
