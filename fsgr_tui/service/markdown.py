"""A plan's tables as rows of text, and the whole plan as a Markdown page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence

from fsgr_tui.core.caveats import STAGED_WARNING
from fsgr_tui.core.compare import Comparison
from fsgr_tui.core.dataset import DatasetFacts
from fsgr_tui.core.machine import Gpu, Machine
from fsgr_tui.core.plan import Choice, FilesystemNeed, GpuFit, Plan, Rung, WayPlan
from fsgr_tui.core.units import Estimate, Unknown, format_bytes, format_duration, format_estimate, format_gib, printable

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


def way_rows(plan: Plan) -> Rows:
    """The three ways side by side: (what, realtime, precomputed, cached pixels), spans in a line of their own."""
    ways = plan.ways
    runs = f"{plan.time.experiments} x " if plan.time.experiments > 1 else ""
    fits = {True: "yes", False: "NO", None: "unknown"}

    def each(label: str, show: Callable[[WayPlan], str]) -> tuple[str, ...]:
        return (label, *(show(way) for way in ways))

    rows = [
        each("possible here", lambda way: fits[way.fits]),
        each("stored beside the images", lambda way: format_bytes(way.stored_bytes) if way.stored_bytes else "-"),
        each(
            "before the first epoch", lambda way: format_duration(way.preparation.likely) if way.stored_bytes else "-"
        ),
        each("one epoch", lambda way: format_duration(way.epoch.likely)),
        each("  its span", lambda way: span(way.epoch)),
        each(f"{runs}{plan.time.epochs} epochs in all", lambda way: format_duration(way.total.likely)),
        each("GPU memory", lambda way: f"{format_gib(way.memory.likely)}"),
        each("  at batch", lambda way: str(way.batch)),
        each("the same model", lambda way: "yes" if way.exact else "NO"),
    ]
    return [row for row in rows if len({*row[1:]}) > 1 or row[1] != ""]


def span(estimate: Estimate) -> str:
    """Both ends, e.g. `26.8 h - 4.7 d`; empty for an exact value."""
    return (
        "" if estimate.low == estimate.high else f"{format_duration(estimate.low)} - {format_duration(estimate.high)}"
    )


def time_words(plan: Plan) -> str:
    """Break-even, net saving and what realtime pays for, in sentences."""
    time, point = plan.time, plan.time.break_even_epochs
    words = [f"Realtime encodes every image about {time.encodes_per_image:.1f} times an epoch, once for each caption."]
    if isinstance(point, Unknown) or isinstance(time.break_even_experiments, Unknown):
        words.append("Precomputing saves no time here.")
    else:
        runs = time.break_even_experiments.likely
        words.append(
            f"An extraction pays after {point.likely:.2g} epochs ({point.low:.2g} - {point.high:.2g}), "
            f"{runs:.2g} experiments of {time.epochs} epochs."
        )
        saved = time.net_saving.likely
        words.append(f"In all it {'saves' if saved > 0 else 'costs'} about {format_duration(abs(saved))}.")
    words.append(basis_words([time.extraction, time.realtime_epoch, time.precomputed_epoch]))
    return " ".join(words)


def basis_words(estimates: Sequence[Estimate]) -> str:
    """Where times come from, and what to do about guesses."""
    known = {estimate.basis for estimate in estimates} - {"exact"}
    if known == {"measured"}:
        return "All times were measured here."
    grounds = [word for word in ("measured", "table", "guess") if word in known]
    names = {"measured": "measured here", "table": "published rates", "guess": "guesses"}
    return (
        f"Times: {' and '.join(names[word] for word in grounds)}; `fsgr-tui bench` measures them here in half a minute."
    )


MODEL_COLUMNS = ("model", "features", "fits", "extraction", "pays after", "epochs", "pays")


def model_rows(plan: Plan) -> Rows:
    """Several CLIP models, one row each, under MODEL_COLUMNS."""
    return [
        (
            model.clip_model,
            format_bytes(model.feature_bytes),
            {True: "yes", False: "NO", None: "unknown"}[model.fits],
            format_duration(model.extraction.likely),
            "-" if isinstance(model.break_even_epochs, Unknown) else f"{model.break_even_epochs.likely:.2g} epochs",
            f"{model.epochs:g}",
            "yes" if model.pays else "no",
        )
        for model in plan.models
    ]


def keep_words(plan: Plan) -> str:
    """Whether the files of several models fit beside each other, and what they take that way and one at a time."""
    sizes = [model.feature_bytes for model in plan.models]
    judged = {
        True: "which fits.",
        False: "which does not fit: keep one model's file at a time.",
        None: "and whether that fits is not known.",
    }[plan.keep_all_models]
    return (
        f"One at a time their features take {format_bytes(max(sizes))} at the most; "
        f"side by side {format_bytes(sum(sizes))}, {judged}"
    )


def gpu_columns(plan: Plan) -> tuple[str, ...]:
    """The columns of `gpu_rows`."""
    return ("GPU", "free", f"A, batch {plan.memory.realtime_batch}", f"B, batch {plan.memory.precomputed_batch}")


def gpu_rows(plan: Plan) -> Rows:
    """What each GPU trains: whether the planned batch fits, and the largest that does."""

    def batch(fits: bool | None, largest: int | Unknown) -> str:
        if isinstance(largest, Unknown):
            return "unknown"
        return f"{'fits' if fits else 'NO'}, at most {largest}"

    return [
        (
            _gpu_label(gpu),
            str(gpu.free_bytes) if isinstance(gpu.free_bytes, Unknown) else format_gib(gpu.free_bytes),
            batch(gpu.realtime_fits, gpu.largest_realtime_batch),
            batch(gpu.precomputed_fits, gpu.largest_precomputed_batch),
        )
        for gpu in plan.memory.gpus
    ]


def _gpu_label(gpu: GpuFit) -> str:
    """Index and name without the maker's; a MIG slice without the size of its whole GPU."""
    name = gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ")
    return printable(f"{gpu.index} {re.sub(r' [0-9]+GB.* MIG ', ' MIG ', name)}")


def gpu_notes(plan: Plan) -> Rows:
    """What has to be said of single GPUs: (GPU, note)."""
    return [(f"GPU {gpu.index}", gpu.note) for gpu in plan.memory.gpus if gpu.note]


def storage_tree(plan: Plan, need: FilesystemNeed) -> Rows:
    """What goes onto one file system: (what, size, remark), the permanent first, then what is gone afterwards."""
    order = ("images", "features", "annotations", "checkpoints", "temporary", "reserve")
    items = [item for item in plan.storage.items if item.filesystem == need.mount]
    items.sort(key=lambda item: order.index(item.kind))
    rows: Rows = [(printable(f"{need.mount} ({need.filesystem})"), "", "")]
    for item in items:
        exact = f"{item.bytes.likely:,.0f} bytes" if item.bytes.basis == "exact" and item.kind == "features" else ""
        upper = (
            ""
            if item.bytes.low == item.bytes.high
            else f"{format_bytes(item.bytes.low)} - {format_bytes(item.bytes.high)}"
        )
        here = "here already" if item.present_bytes else ""
        remark = "; ".join(part for part in (here, exact or upper, item.note) if part)
        rows.append((f"  {printable(item.name)}", format_bytes(item.bytes.likely), remark))
    return rows


def need_words(need: FilesystemNeed) -> str:
    """Whether a file system holds what is planned, with its quota and its files."""
    free, after = need.free_bytes, need.free_after_bytes
    if isinstance(free, Unknown) or isinstance(after, Unknown):
        room = f"{format_bytes(need.need_bytes)} more needed; free space {free}"
    elif after < 0:
        room = (
            f"{format_bytes(need.need_bytes)} more needed, {format_bytes(free)} free, {format_bytes(-after)} too little"
        )
    else:
        room = f"{format_bytes(need.need_bytes)} more needed, {format_bytes(free)} free, {format_bytes(after)} left"
    judged = {True: "fits", False: "DOES NOT FIT", None: "not known whether it fits"}[need.fits]
    if need.fits is False and not need.too_few_files and isinstance(after, int) and after >= 0:
        judged += f" with a reserve of {format_bytes(need.reserve_bytes)}"
    quota = (
        f"quota leaves {format_bytes(need.quota_bytes)}"
        if isinstance(need.quota_bytes, int)
        else f"quota unknown ({need.quota_bytes.reason})"
    )
    files = f"{need.files_needed:,} more files"
    inodes = (
        f"{need.inodes_free:,} possible" if isinstance(need.inodes_free, int) else "how many are possible is unknown"
    )
    return f"{need.mount}: {room}: {judged}. {quota[0].upper()}{quota[1:]}; {files}, {inodes}."


def ladder_rows(plan: Plan) -> Rows:
    """The choices: (mark, row, features, with all beside, fits, splits)."""
    choice, mode = plan.recommendation.choice, plan.recommendation.mode
    return [
        (
            ">" if mode == "precomputed" and _is_chosen(rung, choice) else "",
            rung.label,
            format_bytes(rung.feature_bytes),
            format_bytes(rung.need_bytes),
            {True: "fits", False: "no", None: "unknown"}[rung.fits],
            "" if len(rung.splits) == len(plan.dataset.splits) else f"only {', '.join(rung.splits)}",
        )
        for rung in plan.ladder
    ]


def _is_chosen(rung: Rung, choice: Choice) -> bool:
    return (rung.grid, rung.dtype, rung.splits) == (choice.grid, choice.dtype, choice.splits)


def guide_table(plan: Plan) -> tuple[Rows, Rows]:
    """The guide's numbers: (what, guide, computed, measured), and the notes that the rows point to."""
    rows: Rows = []
    notes: Rows = []
    for row in plan.guide:
        mark = ""
        if row.note:
            known = [note for _, note in notes]
            if row.note not in known:
                notes.append((f"[{len(notes) + 1}]", row.note))
            mark = f" [{known.index(row.note) + 1 if row.note in known else len(notes)}]"
        rows.append((row.what, row.guide, row.computed + mark, row.measured))
    return rows, notes


def staged_words(plan: Plan) -> str:
    """The staged strategy in sentences."""
    first = plan.staged[0]
    epochs = first.argv[first.argv.index("--epochs") + 1]
    took = format_duration(int(epochs) * plan.time.realtime_epoch.likely)
    return (
        f"If the code is new to you: {epochs} epochs in realtime first (about {took}), to see the loss fall and the data "
        f"pipeline work; then extract, and do everything on stored features. {STAGED_WARNING} "
        "`fsgr-tui plan --staged --out plan.toml` saves these steps."
    )


def plan_page(plan: Plan) -> str:
    """The plan as Markdown."""
    verdict, choice = plan.recommendation, plan.recommendation.choice
    stored = f": {choice.tokens} x {choice.width} {choice.dtype}, {format_bytes(choice.feature_bytes)}"
    if verdict.cache:
        stored = " from cached pixels"
    parts = [f"# Plan: {verdict.mode}{stored if verdict.mode == 'precomputed' or verdict.cache else ''}"]
    parts += [f"**Simulated, not this machine:** {escape(line)}" for line in plan.simulated]
    guide, notes = guide_table(plan)
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
        "## The ways", grid(("", "A realtime", "B precomputed", "cached pixels"), way_rows(plan)),
        "\n".join(f"- {way.name}: {escape(way.exactness)}" for way in plan.ways), escape(time_words(plan)),
    ]  # fmt: skip
    if plan.models:
        parts += ["## CLIP models", grid(MODEL_COLUMNS, model_rows(plan)), keep_words(plan)]
    if plan.memory.gpus:
        parts += ["## GPU memory", grid(gpu_columns(plan), gpu_rows(plan))]
        parts += ["\n".join(f"- {name}: {escape(note)}" for name, note in gpu_notes(plan))] if gpu_notes(plan) else []
    parts.append("## Storage")
    for need in plan.storage.filesystems:
        parts += [grid(("what", "size", "remark"), storage_tree(plan, need)), escape(need_words(need))]
    parts += [
        "## Choices, largest first",
        grid(("", "row", "features", "with all beside", "fits", "splits"), ladder_rows(plan)),
        "## The guide's numbers", grid(("", "guide", "computed", "measured"), guide),
        "\n".join(f"- {escape(number)} {escape(note)}" for number, note in notes),
    ]  # fmt: skip
    if plan.commands:
        commands = tuple(printable(shlex.join(step.argv)) for step in plan.commands)
        parts += ["## Next", "```sh\n" + "\n".join(commands) + "\n```"]
    if plan.staged and not plan.intent.staged:
        parts += ["## Or in two stages", escape(staged_words(plan))]
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
        [*parts, grid(columns, rows), escape(basis_words([row.epoch for row in comparison.alternatives]))]
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
