"""The first start: what was found, in words, and the one next step."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from fsgr_tui.core.plan import Plan
from fsgr_tui.core.units import Unknown, format_bytes, format_gib, printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.screens.asking import Greeting


def greeting(plan: Plan) -> Greeting:
    """The greeting for a plan."""
    return Greeting(found(plan), layout.verdict_line(plan), next_step(plan))


def found(plan: Plan) -> tuple[str, ...]:
    """Host, GPUs, disks and data set, a line each."""
    machine, data = plan.machine, plan.dataset
    host = f"{machine.host.name}: {machine.host.cpus.count} CPUs"
    if not isinstance(machine.host.memory, Unknown):
        host += f", {format_gib(machine.host.memory.available_bytes)} of memory free"
    gpus = [f"{gpu.name}: {_size(gpu.memory_free_bytes, format_gib)} free" for gpu in machine.gpus]
    disks = {disk.mount: f"{disk.mount}: {_size(disk.free_bytes, format_bytes)} free" for disk in machine.disks}
    images = (
        "no images yet; planned with COCO's published counts"
        if data.assumed
        else f"{data.images:,} images in {data.root}"
    )
    return (host, *(gpus or (machine.gpu_report.message or "no GPU",)), *disks.values(), images)


def next_step(plan: Plan) -> Text:
    """What to press."""
    if plan.dataset.assumed:
        return Text.assemble("Next: ", ("i", "bold"), " says where your images are and what you plan.")
    if plan.recommendation.mode == "precomputed":
        return Text.assemble(
            "Next: ", ("e", "bold"), " extracts the features; ", ("i", "bold"), " changes what is planned."
        )
    return Text.assemble("Next: ", ("i", "bold"), " changes what is planned; ", ("?", "bold"), " explains this page.")


def _size(value: int | Unknown, show: Callable[[float], str]) -> str:
    return printable(str(value)) if isinstance(value, Unknown) else show(value)
