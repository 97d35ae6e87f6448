"""A plan's tables and sentences, as rows of text that every face lays out in its own way."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from fsgr_tui.core.caveats import STAGED_WARNING
from fsgr_tui.core.language import mark, sentences, tr
from fsgr_tui.core.plan import Choice, FilesystemNeed, GpuFit, Plan, Rung, WayPlan
from fsgr_tui.core.units import Estimate, Unknown, format_bytes, format_duration, format_gib, printable

Rows = list[tuple[str, ...]]


def way_rows(plan: Plan) -> Rows:
    """The three ways side by side: (what, realtime, precomputed, cached pixels), spans in a line of their own."""
    ways = plan.ways
    fits = {True: tr("yes"), False: tr("NO"), None: tr("unknown")}

    def each(label: str, show: Callable[[WayPlan], str]) -> tuple[str, ...]:
        return (label, *(show(way) for way in ways))

    rows = [
        each(tr("possible here"), lambda way: fits[way.fits]),
        each(tr("stored beside the images"), lambda way: format_bytes(way.stored_bytes) if way.stored_bytes else "-"),
        each(
            tr("before the first epoch"),
            lambda way: format_duration(way.preparation.likely) if way.stored_bytes else "-",
        ),
        each(tr("one epoch"), lambda way: format_duration(way.epoch.likely)),
        each("  " + tr("its span"), lambda way: span(way.epoch)),
        each(total_words(plan), lambda way: format_duration(way.total.likely)),
        each(tr("GPU memory"), lambda way: f"{format_gib(way.memory.likely)}"),
        each("  " + tr("at batch"), lambda way: str(way.batch)),
        each(tr("the same model"), lambda way: tr("yes") if way.exact else tr("NO")),
    ]
    return [row for row in rows if len({*row[1:]}) > 1 or row[1] != ""]


def total_words(plan: Plan) -> str:
    """What a total is of, e.g. `4 x 20 epochs in all`."""
    epochs, runs = plan.time.epochs, plan.time.experiments
    return (
        tr("{runs} x {epochs} epochs in all", runs=runs, epochs=epochs)
        if runs > 1
        else tr("{epochs} epochs in all", epochs=epochs)
    )


def span(estimate: Estimate) -> str:
    """Both ends, e.g. `26.8 h - 4.7 d`; empty for an exact value."""
    return (
        "" if estimate.low == estimate.high else f"{format_duration(estimate.low)} - {format_duration(estimate.high)}"
    )


def time_words(plan: Plan) -> str:
    """Break-even, net saving and what realtime pays for, in sentences."""
    time, point = plan.time, plan.time.break_even_epochs
    words = [
        tr(
            "Realtime encodes every image about {times:.1f} times an epoch, once for each caption.",
            times=time.encodes_per_image,
        )
    ]
    if isinstance(point, Unknown) or isinstance(time.break_even_experiments, Unknown):
        words.append(tr("Precomputing saves no time here."))
    else:
        words.append(
            tr(
                "An extraction pays after {likely:.2g} epochs ({low:.2g} - {high:.2g}), {runs:.2g} experiments of {epochs} epochs.",
                likely=point.likely,
                low=point.low,
                high=point.high,
                runs=time.break_even_experiments.likely,
                epochs=time.epochs,
            )
        )
        saved = time.net_saving.likely
        took = format_duration(abs(saved))
        words.append(
            tr("In all it saves about {time}.", time=took)
            if saved > 0
            else tr("In all it costs about {time}.", time=took)
        )
    words.append(basis_words([time.extraction, time.realtime_epoch, time.precomputed_epoch]))
    return sentences(*words)


def basis_words(estimates: Sequence[Estimate]) -> str:
    """Where times come from, and what to do about guesses."""
    known = {estimate.basis for estimate in estimates} - {"exact"}
    if known == {"measured"}:
        return tr("All times were measured here.")
    grounds = [word for word in ("measured", "table", "guess") if word in known]
    names = {"measured": tr("measured here"), "table": tr("published rates"), "guess": tr("guesses")}
    return tr(
        "Times: {grounds}; `fsgr-tui bench` measures them here in half a minute.",
        grounds=tr(" and ").join(names[word] for word in grounds),
    )


def way_columns() -> tuple[str, ...]:
    """The columns of `way_rows`."""
    return ("", tr("A realtime"), tr("B precomputed"), tr("cached pixels"))


MODEL_COLUMNS = (
    mark("model"), mark("features"), mark("fits"), mark("extraction"), mark("pays after"), mark("epochs"), mark("pays"),
)  # fmt: skip


def model_rows(plan: Plan) -> Rows:
    """Several CLIP models, one row each, under MODEL_COLUMNS."""
    return [
        (
            model.clip_model,
            format_bytes(model.feature_bytes),
            {True: tr("yes"), False: tr("NO"), None: tr("unknown")}[model.fits],
            format_duration(model.extraction.likely),
            "-"
            if isinstance(model.break_even_epochs, Unknown)
            else tr("{epochs:.2g} epochs", epochs=model.break_even_epochs.likely),
            f"{model.epochs:g}",
            tr("yes") if model.pays else tr("no"),
        )
        for model in plan.models
    ]


def keep_words(plan: Plan) -> str:
    """Whether the files of several models fit beside each other, and what they take that way and one at a time."""
    sizes = [model.feature_bytes for model in plan.models]
    words = {
        True: mark("One at a time their features take {most} at the most; side by side {sum}, which fits."),
        False: mark(
            "One at a time their features take {most} at the most; side by side {sum}, which does not fit: "
            "keep one model's file at a time."
        ),
        None: mark(
            "One at a time their features take {most} at the most; side by side {sum}, and whether that fits is not known."
        ),
    }[plan.keep_all_models]
    return tr(words, most=format_bytes(max(sizes)), sum=format_bytes(sum(sizes)))


def gpu_columns(plan: Plan) -> tuple[str, ...]:
    """The columns of `gpu_rows`."""
    memory = plan.memory
    return (
        "GPU",
        tr("free"),
        tr("A, batch {batch}", batch=memory.realtime_batch),
        tr("B, batch {batch}", batch=memory.precomputed_batch),
    )


def gpu_rows(plan: Plan) -> Rows:
    """What each GPU trains: whether the planned batch fits, and the largest that does."""

    def batch(fits: bool | None, largest: int | Unknown) -> str:
        if isinstance(largest, Unknown):
            return tr("unknown")
        return tr("fits, at most {largest}", largest=largest) if fits else tr("NO, at most {largest}", largest=largest)

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
        exact = (
            tr("{size:,.0f} bytes", size=item.bytes.likely)
            if item.bytes.basis == "exact" and item.kind == "features"
            else ""
        )
        upper = (
            ""
            if item.bytes.low == item.bytes.high
            else f"{format_bytes(item.bytes.low)} - {format_bytes(item.bytes.high)}"
        )
        here = tr("here already") if item.present_bytes else ""
        remark = tr("; ").join(part for part in (here, exact or upper, item.note) if part)
        rows.append((f"  {printable(item.name)}", format_bytes(item.bytes.likely), remark))
    return rows


def need_words(need: FilesystemNeed) -> str:
    """Whether a file system holds what is planned, with its quota and its files."""
    free, after = need.free_bytes, need.free_after_bytes
    if isinstance(free, Unknown) or isinstance(after, Unknown):
        room = tr("{need} more needed; free space {free}", need=format_bytes(need.need_bytes), free=free)
    else:
        words = (
            mark("{need} more needed, {free} free, {rest} too little")
            if after < 0
            else mark("{need} more needed, {free} free, {rest} left")
        )
        room = tr(words, need=format_bytes(need.need_bytes), free=format_bytes(free), rest=format_bytes(abs(after)))
    judged = {True: tr("fits"), False: tr("DOES NOT FIT"), None: tr("not known whether it fits")}[need.fits]
    if need.fits is False and not need.too_few_files and isinstance(after, int) and after >= 0:
        judged = tr("DOES NOT FIT with a reserve of {size}", size=format_bytes(need.reserve_bytes))
    quota = (
        tr("Quota leaves {size}", size=format_bytes(need.quota_bytes))
        if isinstance(need.quota_bytes, int)
        else tr("Quota unknown ({why})", why=need.quota_bytes.why)
    )
    files = (
        tr("{files:,} more files, {possible:,} possible", files=need.files_needed, possible=need.inodes_free)
        if isinstance(need.inodes_free, int)
        else tr("{files:,} more files, how many are possible is unknown", files=need.files_needed)
    )
    return tr(
        "{mount}: {room}: {judged}. {quota}; {files}.",
        mount=need.mount,
        room=room,
        judged=judged,
        quota=quota,
        files=files,
    )


def ladder_rows(plan: Plan) -> Rows:
    """The choices: (mark, row, features, with all beside, fits, splits)."""
    choice, mode = plan.recommendation.choice, plan.recommendation.mode
    return [
        (
            ">" if mode == "precomputed" and _is_chosen(rung, choice) else "",
            rung.label,
            format_bytes(rung.feature_bytes),
            format_bytes(rung.need_bytes),
            {True: tr("fits"), False: tr("no (does not fit)"), None: tr("unknown")}[rung.fits],
            "" if len(rung.splits) == len(plan.dataset.splits) else tr("only {splits}", splits=", ".join(rung.splits)),
        )
        for rung in plan.ladder
    ]


def ladder_columns() -> tuple[str, ...]:
    """The first columns of `ladder_rows`; the others tell what they are by themselves."""
    return ("", tr("row"), tr("features"), tr("with all beside"))


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


def guide_columns() -> tuple[str, ...]:
    """The columns of `guide_table`."""
    return ("", tr("guide"), tr("computed"), tr("measured"))


def staged_words(plan: Plan) -> str:
    """The staged strategy in sentences."""
    first = plan.staged[0]
    epochs = first.argv[first.argv.index("--epochs") + 1]
    took = format_duration(int(epochs) * plan.time.realtime_epoch.likely)
    return sentences(
        tr(
            "If the code is new to you: {epochs} epochs in realtime first (about {time}), to see the loss fall and the data "
            "pipeline work; then extract, and do everything on stored features.",
            epochs=epochs,
            time=took,
        ),
        tr(STAGED_WARNING),
        tr("`fsgr-tui plan --staged --out plan.toml` saves these steps."),
    )
