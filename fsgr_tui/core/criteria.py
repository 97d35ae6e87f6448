"""The guide's criteria as pure functions of facts: each gives a row with its reason; the rows give the verdict."""

from __future__ import annotations

import msgspec

from fsgr_tui.core.machine import Disk, Machine
from fsgr_tui.core.plan import Choice, Criterion, Intent, MemoryPlan, Recommendation, Rung, TimePlan, Vote, Way
from fsgr_tui.core.tower import Tower
from fsgr_tui.core.units import Unknown, format_bytes, format_duration, format_gib

MANY_EXPERIMENTS = 3
MANY_SWAPS = 3
SMALL_BATCH = 64
LARGE_BATCH = 100
GUIDE_DISK = "guide: 100 GB free"

ADAPTER_WARNING = (
    "FSGR trains adapters and prompts inside CLIP, so stored final-layer features train an approximation, "
    "not the same model; they are exact only for a frozen CLIP."
)
STAGED_WARNING = (
    "If you begin with realtime and change to precomputed, start a new baseline: the curves are not comparable."
)


class Facts(msgspec.Struct, frozen=True):
    """All that the criteria look at."""

    intent: Intent
    tower: Tower
    machine: Machine
    features_disk: Disk
    rungs: tuple[Rung, ...]
    wanted: Rung
    chosen: Rung | None
    time: TimePlan
    memory: MemoryPlan


def disk_space(facts: Facts) -> Criterion:
    """Does what would be stored fit? The guide's flat 100 GB is replaced by the computed need."""
    free, rung = facts.features_disk.free_bytes, facts.chosen
    if isinstance(free, Unknown):
        return Criterion(
            "disk for features", str(free), GUIDE_DISK, "neutral", 0, "Free space is not known; look before extracting."
        )
    observed = f"{format_bytes(free)} free"
    if not facts.features_disk.writable:
        return Criterion(
            "disk for features", "not writable", "writable", "blocks", 4, f"{facts.features_disk.path} is not writable."
        )
    if rung is None:
        least = facts.rungs[-1]
        return Criterion(
            "disk for features", observed, f"{format_bytes(least.need_bytes)} needed", "blocks", 4,
            f"Even {least.label} needs {format_bytes(least.need_bytes)} with checkpoints and reserve.",
        )  # fmt: skip
    why = f"{rung.label} takes {format_bytes(rung.feature_bytes)}; with checkpoints and reserve {format_bytes(rung.need_bytes)}, not 100 GB."
    return Criterion("disk for features", observed, GUIDE_DISK, "B", 3, why)


def experiments(facts: Facts) -> Criterion:
    """Many runs share one extraction."""
    count = facts.intent.experiments
    if count is None:
        return Criterion(
            "experiments", "not said", "guide: many -> B", "neutral", 0, "Say --experiments N to have it counted."
        )
    vote: Vote = "B" if count >= MANY_EXPERIMENTS else "neutral"
    why = (
        "Every further run reuses the same features."
        if vote == "B"
        else "One or two runs decide nothing by themselves."
    )
    return Criterion(
        "experiments", str(count), f"many ({MANY_EXPERIMENTS} or more) -> B", vote, 2 if vote == "B" else 0, why
    )


def gpu_memory(facts: Facts) -> Criterion:
    """Realtime keeps CLIP and its activations on the GPU."""
    name, threshold = "GPU memory", "guide: limited -> B"
    memory = facts.memory
    if not facts.machine.gpus:
        why = "Without a GPU, CLIP in every step is paid for at every step; stored features pay once."
        return Criterion(name, facts.machine.gpu_report.message or "no GPU", threshold, "B", 2, why)
    if isinstance(memory.free_bytes, Unknown):
        return Criterion(name, str(memory.free_bytes), threshold, "neutral", 0, "Free GPU memory is not known.")
    observed = f"{format_gib(memory.free_bytes)} free"
    if memory.realtime.likely > memory.free_bytes:
        if memory.precomputed.likely > memory.free_bytes:
            why = f"Batch {memory.precomputed_batch} fits in neither way; {memory.largest_precomputed_batch} fits precomputed."
            return Criterion(name, observed, threshold, "B", 2, why)
        why = f"Realtime at batch {memory.realtime_batch} needs about {format_gib(memory.realtime.likely)}; precomputed fits."
        return Criterion(name, observed, threshold, "B", 3, why)
    return Criterion(name, observed, threshold, "neutral", 0, "Both ways fit.")


def clip_swaps(facts: Facts) -> Criterion:
    """Every exchange of CLIP needs a new extraction, unless each model is trained long enough to pay for it."""
    swaps = facts.intent.clip_swaps
    name, threshold = "CLIP changes", "guide: often -> A"
    if swaps < MANY_SWAPS:
        return Criterion(name, str(swaps) if swaps else "none", threshold, "neutral", 0, "The features stay valid.")
    point = facts.time.break_even_epochs
    epochs = _epochs_per_model(facts)
    if not isinstance(point, Unknown) and epochs > point.likely:
        why = f"Each model is trained {epochs:.0f} epochs, and an extraction pays after {point.likely:.1f}: one model's file at a time."
        return Criterion(name, str(swaps), threshold, "neutral", 0, why)
    return Criterion(
        name, str(swaps), threshold, "A", 2, "Each model is trained too briefly to pay for its extraction."
    )


def _epochs_per_model(facts: Facts) -> float:
    """Epochs that share one extraction."""
    return facts.intent.epochs * (facts.intent.experiments or 1) / (facts.intent.clip_swaps + 1)


def batch_size(facts: Facts) -> Criterion:
    """A weak hint at the size of the undertaking."""
    size = facts.intent.batch_size
    name, threshold = "batch size", f"guide: under {SMALL_BATCH} -> A"
    if size is None:
        return Criterion(name, "not said", threshold, "neutral", 0, "A weak hint in any case.")
    if size < SMALL_BATCH:
        return Criterion(
            name, str(size), threshold, "A", 0.5, "Small batches hint at small experiments; never decisive."
        )
    if size >= LARGE_BATCH:
        return Criterion(name, str(size), threshold, "B", 0.5, "Large batches leave no room for CLIP on the GPU.")
    return Criterion(name, str(size), threshold, "neutral", 0, "Fits both ways.")


def paper(facts: Facts) -> Criterion:
    """Reproducing published numbers is done on stored features, with one caveat."""
    if not facts.intent.paper:
        return Criterion(
            "paper reproduction", "no", "guide: yes -> B", "neutral", 0, "Say --paper if you reproduce one."
        )
    if facts.intent.adapters:
        return Criterion(
            "paper reproduction", "yes, with adapters in CLIP", "guide: yes -> B", "neutral", 0, ADAPTER_WARNING
        )
    return Criterion(
        "paper reproduction", "yes", "guide: yes -> B", "B", 2, "The usual way in papers, for a frozen CLIP."
    )


def quick_check(facts: Facts) -> Criterion:
    """To see that the code runs needs no extraction."""
    if not facts.intent.quick_check:
        return Criterion("quick check", "no", "guide: yes -> A", "neutral", 0, "Real training is planned.")
    return Criterion("quick check", "yes", "guide: yes -> A", "A", 6, "An extraction is not worth it for a first look.")


def break_even(facts: Facts) -> Criterion:
    """Does the extraction pay for itself within the planned epochs?"""
    planned = facts.intent.epochs * (facts.intent.experiments or 1)
    point = facts.time.break_even_epochs
    name = "time"
    observed = f"{planned} epochs planned" + (
        f" with {facts.intent.clip_swaps + 1} models" if facts.intent.clip_swaps else ""
    )
    if isinstance(point, Unknown):
        return Criterion(name, observed, "break-even", "A", 2, "Precomputing saves no time here.")
    threshold = f"pays after {point.likely:.1f} epochs a model"
    if _epochs_per_model(facts) > point.likely:
        saved = facts.time.realtime_total.likely - facts.time.precomputed_total.likely
        why = f"Saves about {format_duration(saved)}, the extraction counted."
        return Criterion(name, observed, threshold, "B", 2, why)
    return Criterion(name, observed, threshold, "A", 2, "The extraction would not pay for itself.")


CRITERIA = (disk_space, experiments, gpu_memory, break_even, clip_swaps, batch_size, paper, quick_check)


def recommend(facts: Facts) -> Recommendation:
    """The verdict from all rows. Where the votes are even, precomputing wins: it is the field's usual way."""
    rows = tuple(criterion(facts) for criterion in CRITERIA)
    for_a = sum(row.weight for row in rows if row.vote == "A")
    for_b = sum(row.weight for row in rows if row.vote == "B")
    blocked = next((row for row in rows if row.vote == "blocks"), None)
    mode: Way = "realtime" if blocked or for_a > for_b else "precomputed"
    realtime_works = _realtime_works(facts)
    if blocked and not realtime_works:
        mode = "none"
    winning = for_a if mode == "realtime" else for_b
    confidence = 1.0 if blocked else (winning / (for_a + for_b) if for_a + for_b else 0.5)
    rung = facts.chosen or facts.rungs[-1]
    choice = Choice(
        facts.tower.name, rung.grid, rung.dtype, rung.splits, rung.tokens, rung.width,
        rung.feature_bytes // (rung.tokens * rung.width * (2 if rung.dtype == "float16" else 4)), rung.feature_bytes,
    )  # fmt: skip
    return Recommendation(
        mode=mode,
        confidence=round(confidence, 2),
        reason=_reason(mode, rows, blocked, facts),
        choice=choice,
        criteria=rows,
        flips=_flips(mode, facts),
        warnings=_warnings(mode, facts),
    )


def _realtime_works(facts: Facts) -> bool:
    largest = facts.memory.largest_realtime_batch
    return bool(facts.machine.gpus) and (isinstance(largest, Unknown) or largest >= 1)


def _reason(mode: Way, rows: tuple[Criterion, ...], blocked: Criterion | None, facts: Facts) -> str:
    if mode == "none":
        least = facts.rungs[-1]
        return (
            f"Neither way works here: {blocked.why if blocked else ''} And realtime needs a GPU with free memory. "
            f"The shortest way out: {format_bytes(least.need_bytes)} of free disk for {least.label}."
        )
    if blocked:
        return f"Features cannot be stored: {blocked.why}"
    voted = [row for row in rows if row.vote in ("A", "B")]
    agree = [row for row in voted if row.vote == ("A" if mode == "realtime" else "B")]
    if not voted:
        return "No criterion votes; precomputing is the usual way."
    return f"{len(agree)} of {len(voted)} criteria that vote agree, nothing blocks."


def _flips(mode: Way, facts: Facts) -> tuple[str, ...]:
    flips = []
    free = facts.features_disk.free_bytes
    if isinstance(free, int):
        larger = [
            rung for rung in facts.rungs if facts.chosen is None or rung.feature_bytes > facts.chosen.feature_bytes
        ]
        fitting = [rung for rung in larger if rung.fits]
        if fitting and facts.chosen is not None:
            flips.append(
                f"{fitting[0].label} fits too ({format_bytes(fitting[0].feature_bytes)}): {_flags(fitting[0])}."
            )
        short = [rung for rung in larger if rung.fits is False]
        if short:
            flips.append(f"With {format_bytes(short[-1].need_bytes - free)} more free, {short[-1].label} would fit.")
    point = facts.time.break_even_epochs
    if mode == "precomputed" and not isinstance(point, Unknown):
        flips.append(
            f"Below {max(1.0, point.likely):.1f} epochs in all, or for a first look (--quick-check), realtime would do."
        )
    if mode == "realtime" and not isinstance(point, Unknown) and facts.chosen is not None:
        flips.append(f"From {point.likely:.1f} epochs on, precomputing pays.")
    return tuple(flips)


def _flags(rung: Rung) -> str:
    return f"--grid {rung.grid} --dtype {rung.dtype}"


def _warnings(mode: Way, facts: Facts) -> tuple[str, ...]:
    warnings = []
    if facts.intent.adapters:
        warnings.append(ADAPTER_WARNING)
    if facts.intent.paper and not facts.intent.adapters:
        warnings.append(f"{ADAPTER_WARNING} Say --adapters if yours do.")
    if facts.chosen is not None and facts.chosen.splits != facts.wanted.splits:
        dropped = ", ".join(name for name in facts.wanted.splits if name not in facts.chosen.splits)
        warnings.append(f"Only {', '.join(facts.chosen.splits)} fits; {dropped} must be extracted in realtime.")
    elif facts.chosen is not None and facts.chosen != facts.wanted:
        warnings.append(f"{facts.wanted.label} does not fit; {facts.chosen.label} does.")
    quota = facts.features_disk.quota_bytes
    if isinstance(quota, Unknown):
        warnings.append(f"The quota on {facts.features_disk.mount} is unknown: {quota.reason}.")
    if mode == "realtime" and facts.intent.experiments and facts.intent.experiments > 1:
        warnings.append(STAGED_WARNING)
    return tuple(warnings)
