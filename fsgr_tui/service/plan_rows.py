"""A plan's tables and sentences, as rows of text that every face lays out in its own way."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from fsgr_tui.core.caveats import STAGED_WARNING
from fsgr_tui.core.plan import Choice, FilesystemNeed, GpuFit, Plan, Rung, WayPlan
from fsgr_tui.core.units import Estimate, Unknown, format_bytes, format_duration, format_gib, printable

Rows = list[tuple[str, ...]]


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
