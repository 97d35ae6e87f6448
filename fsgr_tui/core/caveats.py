"""What a person should know before acting on a verdict, and the verdict's reason in a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from fsgr_tui.core import coco
from fsgr_tui.core.criteria import CPU_EPOCH_LIMIT_S
from fsgr_tui.core.decision import Decision, decide, pixel_file
from fsgr_tui.core.flips import MOST_FREE_BYTES, MOST_GPU_BYTES, first_change, with_a_gpu
from fsgr_tui.core.timing import SUSPICIOUS_IMAGES_PER_S
from fsgr_tui.core.units import Estimate, Unknown, format_bytes, format_duration, format_gib

ADAPTER_WARNING = (
    "FSGR trains adapters and prompts inside CLIP, so stored final-layer features train an approximation, "
    "not the same model; they are exact only for a frozen CLIP."
)
PIXELS_ADVICE = "Exact for them is the pixel cache: the resized pictures, {size}, read in every step instead of being decoded. {gain}"

LEAST_GAIN = 0.05
"""A shorter epoch by less than this share is no gain worth a number among guesses."""
STAGED_WARNING = (
    "If you begin with realtime and change to precomputed, start a new baseline: the curves are not comparable."
)
PROMPTS_ARE_YOURS = (
    "The built-in captioner trains adapters but no prompts: for those read the pixel file in your own code, "
    "f['9_pixels'] is the resized picture in uint8."
)


def reason(decision: Decision) -> str:
    """The verdict's reason."""
    if decision.mode == "none":
        why = " ".join(dict.fromkeys(row.why for row in decision.blocking))
        return f"Neither way works here. {why} {way_out(decision)}"
    if decision.mode == "realtime" and (row := decision.blocked("precomputed")):
        return f"Features cannot be stored: {row.why}"
    if decision.mode == "precomputed" and (row := decision.blocked("realtime")):
        return f"Realtime is not possible: {row.why}"
    own = "A" if decision.mode == "realtime" else "B"
    voted = [row for row in decision.rows if row.vote in ("A", "B")]
    agree = [row.name for row in voted if row.vote == own]
    against = [row.name for row in voted if row.vote != own]
    if not voted:
        return "No criterion votes; precomputing is the usual way."
    words = f"For it: {', '.join(agree)}." if agree else "Nothing votes for it, and nothing against."
    return words + (f" Against it: {', '.join(against)}." if against else " Nothing votes against it.")


def way_out(decision: Decision) -> str:
    """The shortest way out of "neither": found by asking with more disk, and with a GPU."""
    situation, ways = decision.facts.situation, []
    free = situation.features_disk.free_bytes
    if isinstance(free, int) and (found := first_change(decision, situation.with_free, free, MOST_FREE_BYTES)):
        at, then = found
        disk = decision.facts.features_need.mount
        ways.append(f"free {format_bytes(at - free)} on {disk} ({then.outcome})")
    gpu = with_a_gpu(decision, 0)
    if gpu:
        ways.append(f"use a GPU with {format_gib(gpu[0])} free ({gpu[1].outcome})")
    if not ways:
        looked = situation.with_free(MOST_FREE_BYTES).with_gpu_memory(MOST_GPU_BYTES)
        both = decide(looked).mode != "none"
        return (
            "The shortest way out: more disk and a free GPU."
            if both
            else "The shortest way out: another machine or folder."
        )
    return f"The shortest way out: {', or '.join(ways)}."


def warnings(decision: Decision) -> tuple[str, ...]:
    """Everything worth a line, the gravest first."""
    return tuple(_warnings(decision))


def _warnings(decision: Decision) -> Iterator[str]:
    situation = decision.facts.situation
    intent = situation.intent
    yield from _inside_clip(decision)
    if intent.labels and intent.grid != "native":
        yield "Patch labels belong to the native grid (196 indices an image for ViT-B/16): plan with --grid native."
    yield from _smaller(decision)
    if situation.dataset.missing_bytes:
        yield _download(decision)
    yield from _machine(decision)
    if decision.mode == "realtime" and intent.runs > 1 and not intent.adapters:
        yield STAGED_WARNING


def _inside_clip(decision: Decision) -> Iterator[str]:
    situation, need = decision.facts.situation, decision.pixels_need
    intent = situation.intent
    if intent.adapters:
        yield ADAPTER_WARNING
        if decision.cache:
            yield PIXELS_ADVICE.format(
                size=format_bytes(pixel_file(situation).feature_bytes(situation)), gain=_pixel_gain(decision)
            )
            yield PROMPTS_ARE_YOURS
        elif need.fits is False:
            whole = format_bytes(need.need_bytes + need.reserve_bytes)
            yield f"The pixel cache, exact for them, needs {whole} with all that lies beside it."
    elif intent.paper:
        yield f"{ADAPTER_WARNING} Say --adapters if yours do."


def _smaller(decision: Decision) -> Iterator[str]:
    """What a smaller choice than the one that was asked for means."""
    chosen, wanted = decision.facts.chosen, decision.facts.wanted
    if decision.mode != "precomputed" or chosen is None or chosen == wanted:
        return
    if chosen.splits == wanted.splits:
        yield f"{wanted.label} does not fit; {chosen.label} does."
        return
    dropped = ", ".join(name for name in wanted.splits if name not in chosen.splits)
    yield f"Only {', '.join(chosen.splits)} fits; {dropped} must be extracted in realtime."
    if set(wanted.splits) >= set(coco.KARPATHY_SPLITS):
        yield (
            "The Karpathy split trains on 30,504 images of val2014 too (restval): without them it is a smaller "
            "training set."
        )


def _pixel_gain(decision: Decision) -> str:
    """What reading pictures instead of decoding them brings here."""
    time = decision.facts.time
    realtime, pixels = time.realtime_epoch.likely, time.pixels_epoch.likely
    if pixels > (1 - LEAST_GAIN) * realtime:
        return "It halves the loader's work; the epochs stay as long, since the GPU holds the rate here."
    return f"It halves the loader's work, and an epoch takes {format_duration(pixels)} instead of {format_duration(realtime)}."


def _download(decision: Decision) -> str:
    names = [split.name for split in decision.facts.situation.dataset.splits if not split.found]
    size = format_bytes(decision.facts.situation.dataset.missing_bytes)
    return (
        f"The images of {' and '.join(names)} are not here yet ({size}). JPEGs do not compress: a zip that is kept "
        f"while it is unpacked needs its size again.{_sources(names)}"
    )


def _sources(names: list[str]) -> str:
    published = [name for name in names if name in coco.SPLITS]
    if not published:
        return ""
    return f" Their source: {' '.join(f'http://images.cocodataset.org/zips/{name}.zip' for name in published)}"


def _machine(decision: Decision) -> Iterator[str]:
    facts, situation = decision.facts, decision.facts.situation
    quota = situation.features_disk.quota_bytes
    if isinstance(quota, Unknown) and not quota.reason.startswith(("the quota", "not asked")):
        yield f"The quota on {situation.features_disk.mount} is unknown: {quota.reason}."
    if isinstance(situation.features_disk.free_bytes, Unknown):
        yield f"The free space on {situation.features_disk.mount} is unknown: {situation.features_disk.free_bytes.reason}."
    epoch = facts.time.precomputed_epoch.likely
    if not situation.machine.gpus and epoch > CPU_EPOCH_LIMIT_S and decision.mode != "none":
        extraction = format_duration(facts.time.extraction.likely)
        yield (
            f"On these CPUs the extraction takes about {extraction} and an epoch on stored features {format_duration(epoch)}: "
            "do both where there is a GPU (on a cluster: on a compute node); `plan --gpu NAME` plans for it from here."
        )
    rate = facts.time.extraction_rate
    if situation.gpu is not None and rate.basis == "measured" and rate.likely < SUSPICIOUS_IMAGES_PER_S:
        yield (
            f"The measured extraction, {rate.likely:.0f} images/s on a GPU, is below {SUSPICIOUS_IMAGES_PER_S:.0f}: something "
            "holds it up (batch 1, one decoding worker, a slow disk). Mend that first."
        )
    for measured in situation.measured:
        if measured.bottleneck and isinstance(measured.extract, Estimate):
            yield f"Measured: {measured.bottleneck}"
