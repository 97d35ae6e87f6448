"""The guide's criteria as pure functions of facts: each gives a row with its reason. `decision` makes a verdict of them."""

from __future__ import annotations

import re

from fsgr_tui.core.criteria_space import checkpoints, disk_space, images
from fsgr_tui.core.facts import BOTH, Facts
from fsgr_tui.core.language import mark, sentences, tr
from fsgr_tui.core.plan import Criterion, Vote
from fsgr_tui.core.units import Unknown, format_duration, format_gib

MANY_EXPERIMENTS = 3
MANY_SWAPS = 3
SMALL_BATCH = 64
LARGE_BATCH = 100
DECISIVE = 12
"""A weight above all other votes together: a question of what is trained or asked for, not of what it costs."""

CPU_EPOCH_LIMIT_S = 2 * 3600
"""Without a GPU, realtime counts as possible where an epoch takes no longer: twenty of them then fit into two days."""

EXPERIMENTS = mark("experiments")
GPU_MEMORY = mark("GPU memory")
TIME = mark("time")
CLIP_CHANGES = mark("CLIP changes")
BATCH_SIZE = mark("batch size")
PAPER = mark("paper reproduction")
TRAINED_INSIDE = mark("trained inside CLIP")
QUICK_CHECK = mark("quick check")
# Names are keys for programs; they are shown with `tr`.


def experiments(facts: Facts) -> Criterion:
    """Many runs share one extraction."""
    count = facts.situation.intent.experiments
    if count is None:
        return Criterion(
            EXPERIMENTS,
            tr("not said"),
            tr("guide: many -> B"),
            "neutral",
            0,
            tr("Say --experiments N to have it counted."),
        )
    vote: Vote = "B" if count >= MANY_EXPERIMENTS else "neutral"
    why = (
        tr("Every further run reuses the same features.")
        if vote == "B"
        else tr("One or two runs decide nothing by themselves.")
    )
    return Criterion(
        EXPERIMENTS,
        str(count),
        tr("many ({least} or more) -> B", least=MANY_EXPERIMENTS),
        vote,
        2 if vote == "B" else 0,
        why,
    )


def gpu_memory(facts: Facts) -> Criterion:
    """Realtime keeps CLIP and its activations on the GPU."""
    name, threshold, memory = GPU_MEMORY, tr("guide: limited -> B"), facts.memory
    machine = facts.situation.machine
    if not machine.gpus:
        epoch = facts.time.realtime_epoch.likely
        works = facts.situation.intent.quick_check or epoch <= CPU_EPOCH_LIMIT_S
        why = tr(
            "Without a GPU, CLIP in every step makes an epoch of {epoch}; stored features pay once.",
            epoch=format_duration(epoch),
        )
        observed = _short(machine.gpu_report.message) or tr("no GPU")
        return Criterion(name, observed, threshold, "B", 2, why, () if works else ("realtime",))
    if isinstance(memory.free_bytes, Unknown):
        return Criterion(name, str(memory.free_bytes), threshold, "neutral", 0, tr("Free GPU memory is not known."))
    observed = tr("{size} free", size=format_gib(memory.free_bytes))
    if memory.largest_precomputed_batch == 0:
        why = tr("Not even one image a step finds room; wait until the GPU is free, or use another.")
        return Criterion(name, observed, threshold, "blocks", 4, why, BOTH)
    if memory.realtime.likely <= memory.free_bytes:
        return Criterion(
            name,
            observed,
            threshold,
            "neutral",
            0,
            tr("Realtime at batch {batch} fits, and so does precomputed.", batch=memory.realtime_batch),
        )
    least = memory.largest_realtime_batch
    if least == 0:
        return Criterion(
            name, observed, threshold, "B", 3, tr("CLIP itself finds no room beside the caption model."), ("realtime",)
        )
    why = tr(
        "Realtime at batch {batch} needs about {size}; at most batch {largest} fits.",
        batch=memory.realtime_batch,
        size=format_gib(memory.realtime.likely),
        largest=least,
    )
    if memory.precomputed.likely > memory.free_bytes:
        other = tr(
            "Precomputed takes batch {largest} instead of {batch}.",
            largest=memory.largest_precomputed_batch,
            batch=memory.precomputed_batch,
        )
        return Criterion(name, observed, threshold, "B", 2, sentences(why, other))
    other = tr("Precomputed fits at batch {batch}.", batch=memory.precomputed_batch)
    return Criterion(name, observed, threshold, "B", 3, sentences(why, other))


def _short(message: str) -> str:
    """A driver's message without its remedy, which stands with the machine."""
    return re.split(r";|\. |；|。", message, maxsplit=1)[0]


def break_even(facts: Facts) -> Criterion:
    """Does the extraction pay for itself within the planned epochs?"""
    intent, point, name = facts.situation.intent, facts.time.break_even_epochs, TIME
    count = intent.model_count
    observed = (
        tr("{epochs} epochs, {models} models", epochs=intent.planned_epochs, models=count)
        if count > 1
        else tr("{epochs} epochs", epochs=intent.planned_epochs)
    )
    if intent.quick_check:
        return Criterion(
            name, tr("a first look"), tr("break-even"), "neutral", 0, tr("A first look has no epochs to save time in.")
        )
    if isinstance(point, Unknown):
        return Criterion(name, observed, tr("break-even"), "A", 2, tr("Precomputing saves no time here."))
    threshold = (
        tr("pays after {epochs:.2g} epochs a model", epochs=point.likely)
        if count > 1
        else tr("pays after {epochs:.2g} epochs", epochs=point.likely)
    )
    if intent.epochs_per_model > point.likely:
        saving = facts.time.net_saving
        why = tr(
            "Saves about {time} in all, the extraction counted ({basis}).",
            time=format_duration(max(0.0, saving.likely)),
            basis=tr(saving.basis),
        )
        return Criterion(name, observed, threshold, "B", 2, why)
    return Criterion(name, observed, threshold, "A", 2, tr("The extraction would not pay for itself."))


def clip_models(facts: Facts) -> Criterion:
    """Every exchange of CLIP needs a new extraction, unless each model is trained long enough to pay for it."""
    intent, name, threshold = facts.situation.intent, CLIP_CHANGES, tr("guide: often -> A")
    swaps = intent.model_count - 1
    named = len(intent.models)
    observed = tr("{models} models", models=named) if named > 1 else str(swaps) if swaps else tr("none")
    point, epochs = facts.time.break_even_epochs, intent.epochs_per_model
    pays = not isinstance(point, Unknown) and epochs > point.likely
    if not pays and swaps >= MANY_SWAPS:
        return Criterion(
            name, observed, threshold, "A", 2, tr("Each model is trained too briefly to pay for its extraction.")
        )
    if not swaps:
        return Criterion(name, observed, threshold, "neutral", 0, tr("The features stay valid."))
    files = _files_words(facts)
    if isinstance(point, Unknown) or not pays:
        return Criterion(name, observed, threshold, "neutral", 0, files)
    why = tr(
        "Each model is trained {epochs:.3g} epochs, and its extraction pays after {point:.2g}.",
        epochs=epochs,
        point=point.likely,
    )
    return Criterion(name, observed, threshold, "neutral", 0, sentences(why, files))


def _files_words(facts: Facts) -> str:
    if facts.models_need is None or facts.models_need.fits is None:
        return tr("One model's file at a time is enough.")
    if facts.models_need.fits:
        return tr("The files of all models fit beside each other.")
    return tr("They do not all fit beside each other: keep one model's file at a time.")


def batch_size(facts: Facts) -> Criterion:
    """A weak hint at the size of the undertaking."""
    size, name, threshold = (
        facts.situation.intent.batch_size,
        BATCH_SIZE,
        tr("guide: under {least} -> A", least=SMALL_BATCH),
    )
    if size is None:
        return Criterion(name, tr("not said"), threshold, "neutral", 0, tr("A weak hint in any case."))
    if size < SMALL_BATCH:
        return Criterion(
            name, str(size), threshold, "A", 0.5, tr("Small batches hint at small experiments; never decisive.")
        )
    if size >= LARGE_BATCH:
        return Criterion(
            name, str(size), threshold, "B", 0.5, tr("Large batches leave little room for CLIP on the GPU.")
        )
    return Criterion(name, str(size), threshold, "neutral", 0, tr("Fits both ways."))


def paper(facts: Facts) -> Criterion:
    """Reproducing published numbers is done on stored features, for a frozen CLIP."""
    intent, name, threshold = facts.situation.intent, PAPER, tr("guide: yes -> B")
    if not intent.paper:
        return Criterion(name, tr("no"), threshold, "neutral", 0, tr("Say --paper if you reproduce one."))
    if intent.adapters:
        why = tr(
            "Papers precompute for a frozen CLIP; with adapters or prompts trained in it, stored tokens are another model."
        )
        return Criterion(name, tr("yes, with adapters in CLIP"), threshold, "neutral", 0, why)
    return Criterion(name, tr("yes"), threshold, "B", 2, tr("The usual way in papers, for a frozen CLIP."))


def trained_inside(facts: Facts) -> Criterion:
    """What is trained inside CLIP cannot be trained on what CLIP gave before."""
    name, threshold = TRAINED_INSIDE, tr("adapters, prompts -> A")
    if not facts.situation.intent.adapters:
        return Criterion(
            name,
            tr("frozen"),
            threshold,
            "neutral",
            0,
            tr("Stored tokens are exact for a frozen CLIP; say --adapters if yours is not."),
        )
    why = tr("Stored final tokens cannot train what lies before them; stored pictures can (pixels, exact).")
    return Criterion(name, tr("adapters or prompts"), threshold, "A", DECISIVE, why)


def quick_check(facts: Facts) -> Criterion:
    """To see that the code runs needs no extraction."""
    name, threshold = QUICK_CHECK, tr("guide: yes -> A")
    if not facts.situation.intent.quick_check:
        return Criterion(name, tr("no"), threshold, "neutral", 0, tr("Real training is planned."))
    return Criterion(name, tr("yes"), threshold, "A", DECISIVE, tr("An extraction is not worth it for a first look."))


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
