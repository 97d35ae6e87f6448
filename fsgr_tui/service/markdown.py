"""A plan's tables as rows of text, and the whole plan as a Markdown page."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from fsgr_tui.core.compare import Comparison
from fsgr_tui.core.dataset import DatasetFacts
from fsgr_tui.core.machine import Gpu, Machine
from fsgr_tui.core.plan import Plan
from fsgr_tui.core.units import Unknown, format_bytes, format_duration, format_estimate, format_gib, printable
from fsgr_tui.service import plan_rows

Rows = plan_rows.Rows


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
        state = "" if disk.writable or disk.silence else ", NOT WRITABLE"
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
        remarks = ["counted before, unchanged since"] if split.remembered else []
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
    point = str(break_even.reason) if isinstance(break_even, Unknown) else f"after {break_even.likely:.2g} epochs"
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
    if verdict.cache:
        stored = " from cached pixels"
    parts = [f"# Plan: {verdict.mode}{stored if verdict.mode == 'precomputed' or verdict.cache else ''}"]
    parts += [f"**Simulated, not this machine:** {escape(line)}" for line in plan.simulated]
    guide, notes = plan_rows.guide_table(plan)
    parts += [
        f"{escape(verdict.reason)} {escape(verdict.certainty)}",
        "## This machine", grid(("what", "reading"), machine_rows(plan.machine)),
        "## Data set", grid(("split", "images", "size", "remarks"), dataset_rows(plan.dataset)),
        "## Why", grid(
            ("criterion", "observed", "held against", "vote", "weight", "because"),
            [(row.name, row.observed, row.threshold, row.vote, f"{row.weight:g}", row.why) for row in verdict.criteria],
        ),
    ]  # fmt: skip
    for title, lines in (("What would change it", verdict.flips), ("Mind", verdict.warnings)):
        if lines:
            parts += [f"## {title}", "\n".join(f"- {escape(line)}" for line in lines)]
    parts += [
        "## The ways", grid(("", "A realtime", "B precomputed", "cached pixels"), plan_rows.way_rows(plan)),
        "\n".join(f"- {way.name}: {escape(way.exactness)}" for way in plan.ways), escape(plan_rows.time_words(plan)),
    ]  # fmt: skip
    if plan.models:
        parts += [
            "## CLIP models",
            grid(plan_rows.MODEL_COLUMNS, plan_rows.model_rows(plan)),
            plan_rows.keep_words(plan),
        ]
    if plan.memory.gpus:
        parts += ["## GPU memory", grid(plan_rows.gpu_columns(plan), plan_rows.gpu_rows(plan))]
        parts += (
            ["\n".join(f"- {name}: {escape(note)}" for name, note in plan_rows.gpu_notes(plan))]
            if plan_rows.gpu_notes(plan)
            else []
        )
    parts.append("## Storage")
    for need in plan.storage.filesystems:
        parts += [
            grid(("what", "size", "remark"), plan_rows.storage_tree(plan, need)),
            escape(plan_rows.need_words(need)),
        ]
    parts += [
        "## Choices, largest first",
        grid(("", "row", "features", "with all beside", "fits", "splits"), plan_rows.ladder_rows(plan)),
        "## The guide's numbers", grid(("", "guide", "computed", "measured"), guide),
        "\n".join(f"- {escape(number)} {escape(note)}" for number, note in notes),
    ]  # fmt: skip
    if plan.commands:
        commands = tuple(printable(shlex.join(step.argv)) for step in plan.commands)
        parts += ["## Next", "```sh\n" + "\n".join(commands) + "\n```"]
    if plan.staged and not plan.intent.staged:
        parts += ["## Or in two stages", escape(plan_rows.staged_words(plan))]
    return "\n\n".join(parts)


def comparison_page(comparison: Comparison) -> str:
    """Choices side by side as Markdown."""
    parts = ["# Choices side by side"]
    parts += [f"**Simulated, not this machine:** {escape(line)}" for line in comparison.simulated]
    rows = [
        (
            row.clip_model, row.way, row.row, ", ".join(row.splits), format_bytes(row.stored_bytes), format_bytes(row.need_bytes),
            {True: "yes", False: "no", None: "unknown"}[row.fits], format_estimate(row.preparation), format_estimate(row.epoch),
            format_duration(row.total.likely), row.exactness,
        )
        for row in comparison.alternatives
    ]  # fmt: skip
    columns = (
        "model",
        "way",
        "row",
        "splits",
        "stored",
        "with all beside",
        "fits",
        "before",
        "epoch",
        f"{comparison.epochs} epochs",
        "exact",
    )
    return "\n\n".join(
        [*parts, grid(columns, rows), escape(plan_rows.basis_words([row.epoch for row in comparison.alternatives]))]
    )


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
