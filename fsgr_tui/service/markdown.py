"""A plan's tables as rows of text, and the whole plan as a Markdown page."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from fsgr_tui.core.compare import Comparison
from fsgr_tui.core.dataset import DatasetFacts, SplitFacts
from fsgr_tui.core.language import joined, sentences, tr
from fsgr_tui.core.machine import Disk, Gpu, Machine
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
        else tr(
            "{free} of {total} free ({source})",
            free=format_gib(memory.available_bytes),
            total=format_gib(memory.limit_bytes),
            source=tr(memory.source),
        )
    )
    rows: Rows = [
        (tr("host"), printable(f"{host.name}, {host.system}, {host.cpu}")),
        (
            tr("CPUs"),
            tr(
                "{usable} usable of {all} ({source})",
                usable=host.cpus.count,
                all=host.cpus.host_count,
                source=tr(host.cpus.source),
            ),
        ),
        (tr("memory"), available),
    ]
    rows += [(f"GPU {gpu.index}", gpu_words(gpu)) for gpu in machine.gpus]
    if machine.gpu_report.message or not machine.gpus:
        rows.append(("GPU" if not machine.gpus else "", machine.gpu_report.message or machine.gpu_report.status))
    for disk in machine.disks:
        rows.append((printable(disk.path), printable(_disk_words(disk))))
    return rows


def _disk_words(disk: Disk) -> str:
    free, total = disk.free_bytes, disk.total_bytes
    if isinstance(free, Unknown):
        room = (
            str(free)
            if isinstance(total, Unknown)
            else tr("{unknown} of {total}", unknown=free, total=format_bytes(total))
        )
    elif isinstance(total, Unknown):
        room = tr("{size} free", size=format_bytes(free))
    else:
        room = tr("{free} free of {total}", free=format_bytes(free), total=format_bytes(total))
    where = tr("{room} on {mount} ({filesystem})", room=room, mount=disk.mount, filesystem=disk.filesystem)
    return where if disk.writable or disk.silence else joined(where, tr("NOT WRITABLE"))


def gpu_words(gpu: Gpu) -> str:
    """A GPU in one line."""
    if isinstance(gpu.memory_free_bytes, Unknown) or isinstance(gpu.memory_total_bytes, Unknown):
        missing = gpu.memory_free_bytes if isinstance(gpu.memory_free_bytes, Unknown) else gpu.memory_total_bytes
        memory = tr("memory {unknown}", unknown=missing)
    else:
        free, total = format_gib(gpu.memory_free_bytes), format_gib(gpu.memory_total_bytes)
        memory = tr("{free} of {total} free", free=free, total=total)
    parts = [gpu.name, memory]
    if not isinstance(gpu.utilisation, Unknown):
        parts.append(tr("{percent} % busy", percent=gpu.utilisation))
    if gpu.mig:
        parts.append(tr("MIG slice"))
    return printable(joined(*parts))


def dataset_rows(dataset: DatasetFacts) -> Rows:
    """Splits: (name, counts, bytes, remarks)."""
    rows: Rows = []
    for split in dataset.splits:
        expected = split.expected if split.expected is not None and split.found != split.expected else None
        remarks = [tr("counted before, unchanged since")] if split.remembered else []
        if split.ignored:
            remarks.append(tr("{files:,} other files ignored", files=split.ignored))
        if split.unnamed:
            example = printable(split.unnamed_example)
            remarks.append(
                tr("{images:,} without an id in the name, e.g. {example}", images=split.unnamed, example=example)
            )
        if expected is not None and split.found:
            remarks.append(tr("incomplete") if split.found < expected else tr("more than published"))
        rows.append(
            (
                printable(split.name),
                _count_words(split, expected),
                format_bytes(split.image_bytes),
                tr("; ").join(remarks),
            )
        )
    return rows


def _count_words(split: SplitFacts, expected: int | None) -> str:
    if not split.found:
        return tr("{images:,} images, not here yet", images=split.images)
    if expected is None:
        return tr("{images:,} images", images=split.found)
    return tr("{images:,} of {expected:,} images", images=split.found, expected=expected)


def time_rows(plan: Plan) -> Rows:
    """Time and memory: (what, realtime, precomputed, basis)."""
    time, memory = plan.time, plan.memory
    break_even = time.break_even_epochs
    point = (
        break_even.why if isinstance(break_even, Unknown) else tr("after {epochs:.2g} epochs", epochs=break_even.likely)
    )
    rows: Rows = [
        (tr("extraction"), "-", format_estimate(time.extraction), tr(time.extraction.basis)),
        (
            tr("one epoch"),
            format_estimate(time.realtime_epoch),
            format_estimate(time.precomputed_epoch),
            tr(time.realtime_epoch.basis),
        ),
        (
            plan_rows.total_words(plan),
            format_duration(time.realtime_total.likely),
            format_duration(time.precomputed_total.likely),
            tr(time.realtime_total.basis),
        ),
        (tr("extraction pays"), "", point, tr(time.precomputed_total.basis)),
        (
            tr("GPU memory, batch {a} / {b}", a=memory.realtime_batch, b=memory.precomputed_batch),
            format_gib(memory.realtime.likely),
            format_gib(memory.precomputed.likely),
            tr(memory.realtime.basis),
        ),
    ]
    if isinstance(memory.largest_realtime_batch, int) and isinstance(memory.largest_precomputed_batch, int):
        rows.append(
            (
                tr("largest batch that fits"),
                str(memory.largest_realtime_batch),
                str(memory.largest_precomputed_batch),
                tr(memory.realtime.basis),
            )
        )
    return rows


def plan_page(plan: Plan) -> str:
    """The plan as Markdown."""
    verdict, choice = plan.recommendation, plan.recommendation.choice
    answer = tr(verdict.mode)
    if verdict.cache:
        answer = tr("realtime from cached pixels")
    elif verdict.mode == "precomputed":
        stored = f"{choice.tokens} x {choice.width} {choice.dtype}, {format_bytes(choice.feature_bytes)}"
        answer = tr("{mode}: {stored}", mode=answer, stored=stored)
    parts = ["# " + tr("Plan: {answer}", answer=answer)]
    parts += [_simulated(line) for line in plan.simulated]
    guide, notes = plan_rows.guide_table(plan)
    parts += [
        escape(sentences(verdict.reason, verdict.certainty)),
        _title(tr("This machine")), grid((tr("what"), tr("reading")), machine_rows(plan.machine)),
        _title(tr("Data set")),
        grid((tr("split"), tr("images"), tr("size"), tr("remarks")), dataset_rows(plan.dataset)),
        _title(tr("Why")), grid(
            (tr("criterion"), tr("observed"), tr("held against"), tr("vote"), tr("weight"), tr("because")),
            [
                (tr(row.name), row.observed, row.threshold, tr(row.vote), f"{row.weight:g}", row.why)
                for row in verdict.criteria
            ],
        ),
    ]  # fmt: skip
    for title, lines in ((tr("What would change it"), verdict.flips), (tr("Mind"), verdict.warnings)):
        if lines:
            parts += [_title(title), "\n".join(f"- {escape(line)}" for line in lines)]
    parts += [
        _title(tr("The ways")), grid(plan_rows.way_columns(), plan_rows.way_rows(plan)),
        "\n".join("- " + tr("{name}: {text}", name=tr(way.name), text=escape(way.exactness)) for way in plan.ways), escape(plan_rows.time_words(plan)),
    ]  # fmt: skip
    if plan.models:
        parts += [
            _title(tr("CLIP models")),
            grid(tuple(map(tr, plan_rows.MODEL_COLUMNS)), plan_rows.model_rows(plan)),
            plan_rows.keep_words(plan),
        ]
    if plan.memory.gpus:
        parts += [_title(tr("GPU memory")), grid(plan_rows.gpu_columns(plan), plan_rows.gpu_rows(plan))]
        parts += (
            [
                "\n".join(
                    "- " + tr("{name}: {text}", name=name, text=escape(note))
                    for name, note in plan_rows.gpu_notes(plan)
                )
            ]
            if plan_rows.gpu_notes(plan)
            else []
        )
    parts.append(_title(tr("Storage")))
    for need in plan.storage.filesystems:
        parts += [
            grid((tr("what"), tr("size"), tr("remark")), plan_rows.storage_tree(plan, need)),
            escape(plan_rows.need_words(need)),
        ]
    parts += [
        _title(tr("Choices, largest first")),
        grid((*plan_rows.ladder_columns(), tr("fits"), tr("splits")), plan_rows.ladder_rows(plan)),
        _title(tr("The guide's numbers")), grid(plan_rows.guide_columns(), guide),
        "\n".join(f"- {escape(number)} {escape(note)}" for number, note in notes),
    ]  # fmt: skip
    if plan.commands:
        commands = tuple(printable(shlex.join(step.argv)) for step in plan.commands)
        parts += [_title(tr("Next")), "```sh\n" + "\n".join(commands) + "\n```"]
    if plan.staged and not plan.intent.staged:
        parts += [_title(tr("Or in two stages")), escape(plan_rows.staged_words(plan))]
    return "\n\n".join(parts)


def comparison_page(comparison: Comparison) -> str:
    """Choices side by side as Markdown."""
    parts = ["# " + tr("Choices side by side")]
    parts += [_simulated(line) for line in comparison.simulated]
    rows = [
        (
            row.clip_model, tr(row.way), row.row, ", ".join(row.splits), format_bytes(row.stored_bytes), format_bytes(row.need_bytes),
            {True: tr("yes"), False: tr("no"), None: tr("unknown")}[row.fits], format_estimate(row.preparation), format_estimate(row.epoch),
            format_duration(row.total.likely), row.exactness,
        )
        for row in comparison.alternatives
    ]  # fmt: skip
    columns = (
        tr("model"),
        tr("way"),
        tr("row"),
        tr("splits"),
        tr("stored"),
        tr("with all beside"),
        tr("fits"),
        tr("before"),
        tr("epoch"),
        tr("{epochs} epochs", epochs=comparison.epochs),
        tr("exact"),
    )
    return "\n\n".join(
        [*parts, grid(columns, rows), escape(plan_rows.basis_words([row.epoch for row in comparison.alternatives]))]
    )


def _title(text: str) -> str:
    return f"## {text}"


def _simulated(line: str) -> str:
    warning = tr("Simulated, not this machine:")
    return f"**{warning}** {escape(line)}"


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
