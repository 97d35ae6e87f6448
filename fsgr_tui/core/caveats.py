"""What a person should know before acting on a verdict, and the verdict's reason in a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from fsgr_tui.core import coco
from fsgr_tui.core.criteria import CPU_EPOCH_LIMIT_S
from fsgr_tui.core.decision import Decision, decide, pixel_file
from fsgr_tui.core.flips import MOST_FREE_BYTES, MOST_GPU_BYTES, first_change, with_a_gpu
from fsgr_tui.core.language import listed, mark, sentences, tr
from fsgr_tui.core.machine import UNLIMITED
from fsgr_tui.core.timing import SUSPICIOUS_IMAGES_PER_S
from fsgr_tui.core.units import Estimate, Unknown, format_bytes, format_duration, format_gib

ADAPTER_WARNING = mark(
    "FSGR trains adapters and prompts inside CLIP, so stored final-layer features train an approximation, "
    "not the same model; they are exact only for a frozen CLIP."
)
LEAST_GAIN = 0.05
"""A shorter epoch by less than this share is no gain worth a number among guesses."""

STAGED_WARNING = mark(
    "If you begin with realtime and change to precomputed, start a new baseline: the curves are not comparable."
)
PROMPTS_ARE_YOURS = mark(
    "The built-in captioner trains adapters but no prompts: for those read the pixel file in your own code, "
    "f['9_pixels'] is the resized picture in uint8."
)


def reason(decision: Decision) -> str:
    """The verdict's reason."""
    if decision.mode == "none":
        why = dict.fromkeys(row.why for row in decision.blocking)
        return sentences(tr("Neither way works here."), *why, way_out(decision))
    if decision.mode == "realtime" and (row := decision.blocked("precomputed")):
        return tr("Features cannot be stored: {why}", why=row.why)
    if decision.mode == "precomputed" and (row := decision.blocked("realtime")):
        return tr("Realtime is not possible: {why}", why=row.why)
    own = "A" if decision.mode == "realtime" else "B"
    voted = [row for row in decision.rows if row.vote in ("A", "B")]
    agree = [tr(row.name) for row in voted if row.vote == own]
    against = [tr(row.name) for row in voted if row.vote != own]
    if not voted:
        return tr("No criterion votes; precomputing is the usual way.")
    return sentences(
        tr("For it: {names}.", names=listed(agree)) if agree else tr("Nothing votes for it, and nothing against."),
        tr("Against it: {names}.", names=listed(against)) if against else tr("Nothing votes against it."),
    )


def way_out(decision: Decision) -> str:
    """The shortest way out of "neither": found by asking with more disk, and with a GPU."""
    situation, ways = decision.facts.situation, []
    free = situation.features_disk.free_bytes
    if isinstance(free, int) and (found := first_change(decision, situation.with_free, free, MOST_FREE_BYTES)):
        at, then = found
        disk = decision.facts.features_need.mount
        ways.append(
            tr(
                "free {size} on {mount} ({outcome})",
                size=format_bytes(at - free),
                mount=disk,
                outcome=then.outcome_words,
            )
        )
    gpu = with_a_gpu(decision, 0)
    if gpu:
        size, outcome = format_gib(gpu[0]), gpu[1].outcome_words
        ways.append(tr("use a GPU with {size} free ({outcome})", size=size, outcome=outcome))
    if not ways:
        looked = situation.with_free(MOST_FREE_BYTES).with_gpu_memory(MOST_GPU_BYTES)
        both = decide(looked).mode != "none"
        return (
            tr("The shortest way out: more disk and a free GPU.")
            if both
            else tr("The shortest way out: another machine or folder.")
        )
    return tr("The shortest way out: {ways}.", ways=tr(", or ").join(ways))


def warnings(decision: Decision) -> tuple[str, ...]:
    """Everything worth a line, the gravest first."""
    return tuple(_warnings(decision))


def _warnings(decision: Decision) -> Iterator[str]:
    situation = decision.facts.situation
    intent = situation.intent
    yield from _inside_clip(decision)
    if intent.labels and intent.grid != "native":
        yield tr("Patch labels belong to the native grid (196 indices an image for ViT-B/16): plan with --grid native.")
    yield from _smaller(decision)
    if situation.dataset.missing_bytes:
        yield _download(decision)
    yield from _machine(decision)
    if decision.mode == "realtime" and intent.runs > 1 and not intent.adapters:
        yield tr(STAGED_WARNING)


def _inside_clip(decision: Decision) -> Iterator[str]:
    situation, need = decision.facts.situation, decision.pixels_need
    intent = situation.intent
    if intent.adapters:
        yield tr(ADAPTER_WARNING)
        if decision.cache:
            size = format_bytes(pixel_file(situation).feature_bytes(situation))
            advice = tr(
                "Exact for them is the pixel cache: the resized pictures, {size}, read in every step instead of being decoded.",
                size=size,
            )
            yield sentences(advice, _pixel_gain(decision))
            yield tr(PROMPTS_ARE_YOURS)
        elif need.fits is False:
            whole = format_bytes(need.need_bytes + need.reserve_bytes)
            yield tr("The pixel cache, exact for them, needs {whole} with all that lies beside it.", whole=whole)
    elif intent.paper:
        yield sentences(tr(ADAPTER_WARNING), tr("Say --adapters if yours do."))


def _smaller(decision: Decision) -> Iterator[str]:
    """What a smaller choice than the one that was asked for means."""
    chosen, wanted = decision.facts.chosen, decision.facts.wanted
    if decision.mode != "precomputed" or chosen is None or chosen == wanted:
        return
    if chosen.splits == wanted.splits:
        yield tr("{wanted} does not fit; {chosen} does.", wanted=wanted.label, chosen=chosen.label)
        return
    dropped = ", ".join(name for name in wanted.splits if name not in chosen.splits)
    kept = ", ".join(chosen.splits)
    yield tr("Only {kept} fits; {dropped} must be extracted in realtime.", kept=kept, dropped=dropped)
    if set(wanted.splits) >= set(coco.KARPATHY_SPLITS):
        yield tr(
            "The Karpathy split trains on 30,504 images of val2014 too (restval): without them it is a smaller "
            "training set."
        )


def _pixel_gain(decision: Decision) -> str:
    """What reading pictures instead of decoding them brings here."""
    time = decision.facts.time
    realtime, pixels = time.realtime_epoch.likely, time.pixels_epoch.likely
    if pixels > (1 - LEAST_GAIN) * realtime:
        return tr("It halves the loader's work; the epochs stay as long, since the GPU holds the rate here.")
    return tr(
        "It halves the loader's work, and an epoch takes {pixels} instead of {realtime}.",
        pixels=format_duration(pixels),
        realtime=format_duration(realtime),
    )


def _download(decision: Decision) -> str:
    names = [split.name for split in decision.facts.situation.dataset.splits if not split.found]
    size = format_bytes(decision.facts.situation.dataset.missing_bytes)
    return sentences(
        tr(
            "The images of {splits} are not here yet ({size}). JPEGs do not compress: a zip that is kept while it is unpacked "
            "needs its size again.",
            splits=tr(" and ").join(names),
            size=size,
        ),
        _sources(names),
    )


def _sources(names: list[str]) -> str:
    published = [name for name in names if name in coco.SPLITS]
    if not published:
        return ""
    sources = " ".join(f"http://images.cocodataset.org/zips/{name}.zip" for name in published)
    return tr("Their source: {sources}", sources=sources)


def _machine(decision: Decision) -> Iterator[str]:
    facts, situation = decision.facts, decision.facts.situation
    quota = situation.features_disk.quota_bytes
    if isinstance(quota, Unknown) and quota.reason not in UNLIMITED:
        yield tr("The quota on {mount} is unknown: {why}.", mount=situation.features_disk.mount, why=quota.why)
    if isinstance(free := situation.features_disk.free_bytes, Unknown):
        yield tr("The free space on {mount} is unknown: {why}.", mount=situation.features_disk.mount, why=free.why)
    epoch = facts.time.precomputed_epoch.likely
    if not situation.machine.gpus and epoch > CPU_EPOCH_LIMIT_S and decision.mode != "none":
        yield tr(
            "On these CPUs the extraction takes about {extraction} and an epoch on stored features {epoch}: "
            "do both where there is a GPU (on a cluster: on a compute node); `plan --gpu NAME` plans for it from here.",
            extraction=format_duration(facts.time.extraction.likely),
            epoch=format_duration(epoch),
        )
    rate = facts.time.extraction_rate
    if situation.gpu is not None and rate.basis == "measured" and rate.likely < SUSPICIOUS_IMAGES_PER_S:
        yield tr(
            "The measured extraction, {rate:.0f} images/s on a GPU, is below {least:.0f}: something "
            "holds it up (batch 1, one decoding worker, a slow disk). Mend that first.",
            rate=rate.likely,
            least=SUSPICIOUS_IMAGES_PER_S,
        )
    for measured in situation.measured:
        if measured.bottleneck and isinstance(measured.extract, Estimate):
            yield tr("Measured: {bottleneck}", bottleneck=measured.bottleneck)
