"""A plan's tables as rows of text, and the whole plan as a Markdown page."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from fsgr_tui.core.dataset import DatasetFacts
from fsgr_tui.core.machine import Gpu, Machine
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.units import Unknown, format_bytes, format_duration, format_estimate, format_gib, printable

Rows = list[tuple[str, ...]]


def machine_rows(machine: Machine) -> Rows:
    """Host, GPUs and disks: (what, reading)."""
    host = machine.host
    memory = host.memory
    available = (
        str(memory)
        if isinstance(memory, Unknown)
        else f"{format_gib(memory.available_bytes)} of {format_gib(memory.limit_bytes)} free ({memory.source})"
    )
    rows: Rows = [
        ("host", printable(f"{host.name}, {host.system}, {host.cpu}")),
        ("CPUs", f"{host.cpus.count} usable of {host.cpus.host_count} ({host.cpus.source})"),
        ("memory", available),
    ]
    rows += [(f"GPU {gpu.index}", gpu_words(gpu)) for gpu in machine.gpus]
    if machine.gpu_report.message or not machine.gpus:
        rows.append(("GPU" if not machine.gpus else "", machine.gpu_report.message or machine.gpu_report.status))
    for disk in machine.disks:
        free = str(disk.free_bytes) if isinstance(disk.free_bytes, Unknown) else f"{format_bytes(disk.free_bytes)} free"
        total = "" if isinstance(disk.total_bytes, Unknown) else f" of {format_bytes(disk.total_bytes)}"
        state = "" if disk.writable else ", NOT WRITABLE"
        rows.append((printable(disk.path), printable(f"{free}{total} on {disk.mount} ({disk.filesystem}){state}")))
    return rows


def gpu_words(gpu: Gpu) -> str:
    """A GPU in one line."""
    if isinstance(gpu.memory_free_bytes, Unknown) or isinstance(gpu.memory_total_bytes, Unknown):
        memory = (
            f"memory {gpu.memory_free_bytes if isinstance(gpu.memory_free_bytes, Unknown) else gpu.memory_total_bytes}"
        )
    else:
        memory = f"{format_gib(gpu.memory_free_bytes)} of {format_gib(gpu.memory_total_bytes)} free"
    busy = "" if isinstance(gpu.utilisation, Unknown) else f", {gpu.utilisation} % busy"
    return printable(f"{gpu.name}, {memory}{busy}{', MIG slice' if gpu.mig else ''}")


def dataset_rows(dataset: DatasetFacts) -> Rows:
    """Splits: (name, counts, bytes, remarks)."""
    rows: Rows = []
    for split in dataset.splits:
        expected = f" of {split.expected:,}" if split.expected is not None and split.found != split.expected else ""
        count = f"{split.found:,}{expected} images" if split.found else f"{split.images:,} images, not here yet"
        remarks = []
        if split.ignored:
            remarks.append(f"{split.ignored:,} other files ignored")
        if split.unnamed:
            remarks.append(f"{split.unnamed:,} without an id in the name, e.g. {printable(split.unnamed_example)}")
        if expected and split.found:
            remarks.append("incomplete" if split.found < (split.expected or 0) else "more than published")
        rows.append((printable(split.name), count, format_bytes(split.image_bytes), "; ".join(remarks)))
    return rows


def time_rows(plan: Plan) -> Rows:
    """Time and memory: (what, realtime, precomputed, basis)."""
    time, memory = plan.time, plan.memory
    runs = f"{time.experiments} x " if time.experiments > 1 else ""
    break_even = time.break_even_epochs
    point = str(break_even.reason) if isinstance(break_even, Unknown) else f"after {break_even.likely:.1f} epochs"
    rows: Rows = [
        ("extraction", "-", format_estimate(time.extraction), time.extraction.basis),
        (
            "one epoch",
            format_estimate(time.realtime_epoch),
            format_estimate(time.precomputed_epoch),
            time.realtime_epoch.basis,
        ),
        (
            f"{runs}{time.epochs} epochs in all",
            format_duration(time.realtime_total.likely),
            format_duration(time.precomputed_total.likely),
            time.realtime_total.basis,
        ),
        ("extraction pays", "", point, time.precomputed_total.basis),
        (
            f"GPU memory, batch {memory.realtime_batch} / {memory.precomputed_batch}",
            format_gib(memory.realtime.likely),
            format_gib(memory.precomputed.likely),
            memory.realtime.basis,
        ),
    ]
    if isinstance(memory.largest_realtime_batch, int) and isinstance(memory.largest_precomputed_batch, int):
        rows.append(
            (
                "largest batch that fits",
                str(memory.largest_realtime_batch),
                str(memory.largest_precomputed_batch),
                memory.realtime.basis,
            )
        )
    return rows


def plan_page(plan: Plan) -> str:
    """The plan as Markdown."""
    verdict, choice = plan.recommendation, plan.recommendation.choice
    stored = f": {choice.tokens} x {choice.width} {choice.dtype}, {format_bytes(choice.feature_bytes)}"
    parts = [
        f"# Plan: {verdict.mode}{stored if verdict.mode == 'precomputed' else ''}",
        f"{verdict.reason} Confidence {verdict.confidence:.0%}.",
        "## This machine", grid(("what", "reading"), machine_rows(plan.machine)),
        "## Data set", grid(("split", "images", "size", "remarks"), dataset_rows(plan.dataset)),
        "## Why", grid(
            ("criterion", "observed", "held against", "vote", "weight", "because"),
            [(row.name, row.observed, row.threshold, row.vote, f"{row.weight:g}", row.why) for row in verdict.criteria],
        ),
        "## Choices, largest first", grid(
            ("choice", "splits", "features", "needed with reserve", "fits"),
            [(rung.label, ", ".join(rung.splits), format_bytes(rung.feature_bytes), format_bytes(rung.need_bytes),
              {True: "yes", False: "no", None: "unknown"}[rung.fits]) for rung in plan.ladder],
        ),
        "## Storage", grid(
            ("what", "size", "on", "note"),
            [(item.name, format_estimate(item.bytes), item.filesystem, item.note) for item in plan.storage.items],
        ),
        "## Time and GPU memory", grid(("", "realtime", "precomputed", "basis"), time_rows(plan)),
        "## The guide's numbers", grid(
            ("", "guide", "computed", "note"), [(row.what, row.guide, row.computed, row.note) for row in plan.guide]
        ),
    ]  # fmt: skip
    for title, lines in (("What would change it", verdict.flips), ("Mind", verdict.warnings)):
        if lines:
            parts += [f"## {title}", "\n".join(f"- {escape(line)}" for line in lines)]
    if plan.commands:
        lines = tuple(printable(shlex.join(step.argv)) for step in plan.commands)
        parts += ["## Next", "```sh\n" + "\n".join(lines) + "\n```"]
    return "\n\n".join(parts)


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; user text in it cannot become markup."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def escape(text: str) -> str:
    """User text with Markdown's special characters made harmless."""
    shown = printable(text)
    for char in "\\|`*_[]<>":
        shown = shown.replace(char, f"\\{char}")
    return shown
