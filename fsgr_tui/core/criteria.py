"""The guide's criteria as pure functions of facts: each gives a row with its reason. `decision` makes a verdict of them."""

from __future__ import annotations

import msgspec

from fsgr_tui.core.guide import GUIDE_DISK_BYTES
from fsgr_tui.core.plan import Criterion, FilesystemNeed, MemoryPlan, Rung, TimePlan, Vote, Way
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.storage import CHECKPOINT_BYTES, checkpoint_bytes
from fsgr_tui.core.units import Unknown, format_bytes, format_duration, format_gib

MANY_EXPERIMENTS = 3
MANY_SWAPS = 3
SMALL_BATCH = 64
LARGE_BATCH = 100
DECISIVE = 12
"""A weight above all other votes together: a question of what is trained or asked for, not of what it costs."""

CPU_EPOCH_LIMIT_S = 2 * 3600
"""Without a GPU, realtime counts as possible where an epoch takes no longer: twenty of them then fit into two days."""

LEAST_CHECKPOINTS = 2
"""Last and best: without room for them no training can be kept."""

GUIDE_DISK = f"guide: {format_bytes(GUIDE_DISK_BYTES)} free"

BOTH: tuple[Way, ...] = ("realtime", "precomputed")


class Facts(msgspec.Struct, frozen=True):
    """All that the criteria look at.

    Attributes:
        wanted: the rung that was asked for; chosen: the largest one from there down that fits.
        models_need: of the features' disk with the files of all models; None for one model.
        features_need, images_need: of the two file systems as chosen (the same where they are one).
    """

    situation: Situation
    rungs: tuple[Rung, ...]
    wanted: Rung
    chosen: Rung | None
    time: TimePlan
    memory: MemoryPlan
    features_need: FilesystemNeed
    images_need: FilesystemNeed
    models_fit: tuple[bool | None, ...] = ()
    models_need: FilesystemNeed | None = None


def disk_space(facts: Facts) -> Criterion:
    """Does what would be stored fit? The guide's flat 100 GB is replaced by the computed need."""
    name, disk, rung = "disk for features", facts.situation.features_disk, facts.chosen
    blocks: tuple[Way, ...] = ("precomputed",)
    if disk.silence is not None:
        why = f"The disk of {disk.path} did not answer; name another --features-dir, or look again when it is back."
        return Criterion(name, str(disk.silence), "an answer", "blocks", 4, why, blocks)
    if not disk.writable:
        why = f"{disk.path} is not writable; name another --features-dir."
        return Criterion(name, "not writable", "writable", "blocks", 4, why, blocks)
    need = facts.features_need
    if need.too_few_files:
        why = f"{need.mount} takes {need.inodes_free} more files, and {need.files_needed:,} are needed."
        return Criterion(
            name, f"{need.inodes_free} inodes free", f"{need.files_needed:,} files", "blocks", 4, why, blocks
        )
    free = disk.free_bytes
    if isinstance(free, Unknown):
        return Criterion(name, str(free), GUIDE_DISK, "neutral", 0, "Free space is not known; look before extracting.")
    observed = f"{format_bytes(free)} free"
    if rung is None:
        least = facts.rungs[-1]
        why = f"Even {least.label} of {', '.join(least.splits)} needs {format_bytes(least.need_bytes)} with all that lies beside it."
        return Criterion(name, observed, f"{format_bytes(least.need_bytes)} needed", "blocks", 4, why, blocks)
    why = (
        f"{rung.label} takes {format_bytes(rung.feature_bytes)}; with all that lies beside it and the reserve "
        f"{format_bytes(rung.need_bytes)}, not 100 GB."
    )
    return Criterion(name, observed, GUIDE_DISK, "B", 3, why)


def images(facts: Facts) -> Criterion:
    """Are the images here, or is there room for them?"""
    name, dataset, need = "disk for images", facts.situation.dataset, facts.images_need
    if not dataset.missing_bytes:
        return Criterion(
            name,
            f"{format_bytes(dataset.image_bytes)} here",
            "room for images",
            "neutral",
            0,
            "Nothing has to be brought here.",
        )
    missing = sum(split.images for split in dataset.splits if not split.found)
    threshold = f"{format_bytes(dataset.missing_bytes)}, {missing:,} files"
    free = need.free_bytes
    observed = str(free) if isinstance(free, Unknown) else f"{format_bytes(free)} free"
    if isinstance(need.inodes_free, int) and need.inodes_free < missing:
        why = f"{need.mount} takes {need.inodes_free:,} more files, and every image is one."
        return Criterion(name, f"{need.inodes_free:,} inodes free", threshold, "blocks", 4, why, BOTH)
    if not facts.situation.images_disk.writable:
        why = f"{facts.situation.images_disk.path} is not writable, and the images are not there yet."
        return Criterion(name, "not writable", threshold, "blocks", 4, why, BOTH)
    if isinstance(free, int) and free < dataset.missing_bytes:
        why = (
            f"The images alone take {format_bytes(dataset.missing_bytes)}; {need.mount} has {format_bytes(free)} free."
        )
        return Criterion(name, observed, threshold, "blocks", 4, why, BOTH)
    why = f"{missing:,} images have to be brought here; each needs an inode, and its zip lies beside them while it is unpacked."
    return Criterion(name, observed, threshold, "neutral", 0, why)


def checkpoints(facts: Facts) -> Criterion:
    """Checkpoints grow with the epochs unless they are capped."""
    intent, free = facts.situation.intent, facts.features_need.free_bytes
    size = checkpoint_bytes(intent.epochs, intent.runs)
    name, least = "disk for checkpoints", LEAST_CHECKPOINTS * CHECKPOINT_BYTES
    observed = str(free) if isinstance(free, Unknown) else f"{format_bytes(free)} free"
    threshold = f"{format_bytes(size.likely)} capped, {format_bytes(size.high)} not"
    if isinstance(free, int) and free < least:
        why = f"Not even the last and the best checkpoint ({format_bytes(least)}) find room on {facts.features_need.mount}."
        return Criterion(name, observed, threshold, "blocks", 4, why, BOTH)
    runs = f"{intent.runs} experiments of {intent.epochs} epochs" if intent.runs > 1 else f"{intent.epochs} epochs"
    beside = facts.features_need.need_bytes - size.likely
    if isinstance(free, int) and beside + size.high > free:
        why = f"One an epoch, {runs} leave {format_bytes(size.high)}, which does not fit: keep last and best, delete the rest."
    else:
        why = f"Kept after every epoch, {runs} leave up to {format_bytes(size.high)}."
    return Criterion(name, observed, threshold, "neutral", 0, why)


def experiments(facts: Facts) -> Criterion:
    """Many runs share one extraction."""
    count = facts.situation.intent.experiments
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
    name, threshold, memory = "GPU memory", "guide: limited -> B", facts.memory
    machine = facts.situation.machine
    if not machine.gpus:
        epoch = facts.time.realtime_epoch.likely
        works = facts.situation.intent.quick_check or epoch <= CPU_EPOCH_LIMIT_S
        why = f"Without a GPU, CLIP in every step makes an epoch of {format_duration(epoch)}; stored features pay once."
        observed = _short(machine.gpu_report.message) or "no GPU"
        return Criterion(name, observed, threshold, "B", 2, why, () if works else ("realtime",))
    if isinstance(memory.free_bytes, Unknown):
        return Criterion(name, str(memory.free_bytes), threshold, "neutral", 0, "Free GPU memory is not known.")
    observed = f"{format_gib(memory.free_bytes)} free"
    if memory.largest_precomputed_batch == 0:
        why = "Not even one image a step finds room; wait until the GPU is free, or use another."
        return Criterion(name, observed, threshold, "blocks", 4, why, BOTH)
    if memory.realtime.likely <= memory.free_bytes:
        return Criterion(
            name,
            observed,
            threshold,
            "neutral",
            0,
            f"Realtime at batch {memory.realtime_batch} fits, and so does precomputed.",
        )
    least = memory.largest_realtime_batch
    if least == 0:
        return Criterion(
            name, observed, threshold, "B", 3, "CLIP itself finds no room beside the caption model.", ("realtime",)
        )
    why = f"Realtime at batch {memory.realtime_batch} needs about {format_gib(memory.realtime.likely)}; at most batch {least} fits. "
    if memory.precomputed.likely > memory.free_bytes:
        why += f"Precomputed takes batch {memory.largest_precomputed_batch} instead of {memory.precomputed_batch}."
        return Criterion(name, observed, threshold, "B", 2, why)
    return Criterion(name, observed, threshold, "B", 3, f"{why}Precomputed fits at batch {memory.precomputed_batch}.")


def _short(message: str) -> str:
    """A driver's message without its remedy, which stands with the machine."""
    return message.split(";", maxsplit=1)[0].split(". ", maxsplit=1)[0]


def break_even(facts: Facts) -> Criterion:
    """Does the extraction pay for itself within the planned epochs?"""
    intent, point, name = facts.situation.intent, facts.time.break_even_epochs, "time"
    count = intent.model_count
    observed = f"{intent.planned_epochs} epochs" + (f", {count} models" if count > 1 else "")
    if intent.quick_check:
        return Criterion(
            name, "a first look", "break-even", "neutral", 0, "A first look has no epochs to save time in."
        )
    if isinstance(point, Unknown):
        return Criterion(name, observed, "break-even", "A", 2, "Precomputing saves no time here.")
    threshold = f"pays after {point.likely:.2g} epochs{' a model' if count > 1 else ''}"
    if intent.epochs_per_model > point.likely:
        saving = facts.time.net_saving
        why = f"Saves about {format_duration(max(0.0, saving.likely))} in all, the extraction counted ({saving.basis})."
        return Criterion(name, observed, threshold, "B", 2, why)
    return Criterion(name, observed, threshold, "A", 2, "The extraction would not pay for itself.")


def clip_models(facts: Facts) -> Criterion:
    """Every exchange of CLIP needs a new extraction, unless each model is trained long enough to pay for it."""
    intent, name, threshold = facts.situation.intent, "CLIP changes", "guide: often -> A"
    swaps = intent.model_count - 1
    named = len(intent.models)
    observed = f"{named} models" if named > 1 else str(swaps) if swaps else "none"
    point, epochs = facts.time.break_even_epochs, intent.epochs_per_model
    pays = not isinstance(point, Unknown) and epochs > point.likely
    if not pays and swaps >= MANY_SWAPS:
        return Criterion(
            name, observed, threshold, "A", 2, "Each model is trained too briefly to pay for its extraction."
        )
    if not swaps:
        return Criterion(name, observed, threshold, "neutral", 0, "The features stay valid.")
    files = _files_words(facts)
    if isinstance(point, Unknown) or not pays:
        return Criterion(name, observed, threshold, "neutral", 0, files)
    why = f"Each model is trained {epochs:.3g} epochs, and its extraction pays after {point.likely:.2g}. {files}"
    return Criterion(name, observed, threshold, "neutral", 0, why)


def _files_words(facts: Facts) -> str:
    if facts.models_need is None or facts.models_need.fits is None:
        return "One model's file at a time is enough."
    if facts.models_need.fits:
        return "The files of all models fit beside each other."
    return "They do not all fit beside each other: keep one model's file at a time."


def batch_size(facts: Facts) -> Criterion:
    """A weak hint at the size of the undertaking."""
    size, name, threshold = facts.situation.intent.batch_size, "batch size", f"guide: under {SMALL_BATCH} -> A"
    if size is None:
        return Criterion(name, "not said", threshold, "neutral", 0, "A weak hint in any case.")
    if size < SMALL_BATCH:
        return Criterion(
            name, str(size), threshold, "A", 0.5, "Small batches hint at small experiments; never decisive."
        )
    if size >= LARGE_BATCH:
        return Criterion(name, str(size), threshold, "B", 0.5, "Large batches leave little room for CLIP on the GPU.")
    return Criterion(name, str(size), threshold, "neutral", 0, "Fits both ways.")


def paper(facts: Facts) -> Criterion:
    """Reproducing published numbers is done on stored features, for a frozen CLIP."""
    intent, name, threshold = facts.situation.intent, "paper reproduction", "guide: yes -> B"
    if not intent.paper:
        return Criterion(name, "no", threshold, "neutral", 0, "Say --paper if you reproduce one.")
    if intent.adapters:
        why = "Papers precompute for a frozen CLIP; with adapters or prompts trained in it, stored tokens are another model."
        return Criterion(name, "yes, with adapters in CLIP", threshold, "neutral", 0, why)
    return Criterion(name, "yes", threshold, "B", 2, "The usual way in papers, for a frozen CLIP.")


def trained_inside(facts: Facts) -> Criterion:
    """What is trained inside CLIP cannot be trained on what CLIP gave before."""
    name, threshold = "trained inside CLIP", "adapters, prompts -> A"
    if not facts.situation.intent.adapters:
        return Criterion(
            name,
            "frozen",
            threshold,
            "neutral",
            0,
            "Stored tokens are exact for a frozen CLIP; say --adapters if yours is not.",
        )
    why = "Stored final tokens cannot train what lies before them; stored pictures can (pixels, exact)."
    return Criterion(name, "adapters or prompts", threshold, "A", DECISIVE, why)


def quick_check(facts: Facts) -> Criterion:
    """To see that the code runs needs no extraction."""
    name, threshold = "quick check", "guide: yes -> A"
    if not facts.situation.intent.quick_check:
        return Criterion(name, "no", threshold, "neutral", 0, "Real training is planned.")
    return Criterion(name, "yes", threshold, "A", DECISIVE, "An extraction is not worth it for a first look.")


CRITERIA = (
    disk_space,
    experiments,
    gpu_memory,
    break_even,
    clip_models,
    batch_size,
    paper,
    trained_inside,
    quick_check,
    images,
    checkpoints,
)
