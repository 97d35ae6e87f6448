"""The first start: what was found, in words, and the one next step."""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.text import Text

from fsgr_tui.core.language import tr, trn
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
    name, cpus, memory = machine.host.name, machine.host.cpus.count, machine.host.memory
    host = (
        tr("{host}: {cpus} CPUs", host=name, cpus=cpus)
        if isinstance(memory, Unknown)
        else tr(
            "{host}: {cpus} CPUs, {size} of memory free", host=name, cpus=cpus, size=format_gib(memory.available_bytes)
        )
    )
    gpus = [
        tr("{name}: {size} free", name=gpu.name, size=_size(gpu.memory_free_bytes, format_gib)) for gpu in machine.gpus
    ]
    disks = {
        disk.mount: tr("{name}: {size} free", name=disk.mount, size=_size(disk.free_bytes, format_bytes))
        for disk in machine.disks
    }
    images = (
        tr("no images yet; planned with COCO's published counts")
        if data.assumed
        else trn("{count:,} image in {folder}", "{count:,} images in {folder}", data.images, folder=data.root)
    )
    return (host, *(gpus or (machine.gpu_report.message or tr("no GPU"),)), *disks.values(), images)


def next_step(plan: Plan) -> Text:
    """What to press."""
    if plan.dataset.assumed:
        return _with_keys(tr("Next: [i] says where your images are and what you plan."))
    if plan.recommendation.mode == "precomputed":
        return _with_keys(tr("Next: [e] extracts the features; [i] changes what is planned."))
    return _with_keys(tr("Next: [i] changes what is planned; [?] explains this page."))


def _with_keys(sentence: str) -> Text:
    """A sentence whose keys stand in brackets; the brackets become bold."""
    parts = re.split(r"\[(.)\]", sentence)
    return Text.assemble(*((part, "bold" if number % 2 else "") for number, part in enumerate(parts)))


def _size(value: int | Unknown, show: Callable[[float], str]) -> str:
    return printable(str(value)) if isinstance(value, Unknown) else show(value)
