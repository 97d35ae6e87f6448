"""What would change the answer: the decision is asked again with other values until it becomes another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fsgr_tui.core.decision import Decision, decide
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import Rung, Threshold
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.units import GIB, Unknown, format_bytes, format_gib

MOST_FREE_BYTES = 10**14
MOST_EPOCHS = MOST_EXPERIMENTS = MOST_SWAPS = 1000
MOST_GPU_BYTES = 200 * GIB


def thresholds(now: Decision) -> tuple[Threshold, ...]:
    """The values at which the answer changes, the disk first."""
    return (*_space(now), *_counts(now), *_gpu(now), *_questions(now))


def larger_that_fit(now: Decision) -> str:
    """The largest choice above the chosen one that fits as well, as a sentence; empty when there is none."""
    chosen = now.facts.chosen
    if chosen is None or now.mode != "precomputed":
        return ""
    larger = [rung for rung in now.facts.rungs if rung.fits and rung.feature_bytes > chosen.feature_bytes]
    if not larger:
        return ""
    size = format_bytes(larger[0].feature_bytes)
    return tr("{row} fits too ({size}): {flags}.", row=larger[0].label, size=size, flags=flags(larger[0]))


def flags(rung: Rung) -> str:
    """The flags that ask for a rung."""
    return f"--grid {rung.grid} --dtype {rung.dtype}"


def _outcome(decision: Decision) -> str:
    return decision.outcome


def _mode(decision: Decision) -> str:
    return decision.mode


def _stores(decision: Decision) -> str:
    return "stored" if decision.mode == "precomputed" else "not stored"


def first_change(
    now: Decision,
    ask: Callable[[int], Situation],
    start: int,
    end: int,
    answer: Callable[[Decision], str] = _outcome,
) -> tuple[int, Decision] | None:
    """The value nearest to `start`, on the way to `end`, at which the answer differs; None when none does.

    More of anything pulls in one direction, so what is found is the first of the changes that lie on the way.

    Args:
        answer: what counts as the answer; by default the way with its choice.
    """
    step = 1 if end > start else -1
    last = decide(ask(end))
    if start == end or answer(last) == answer(now):
        return None
    near, far = 0, abs(end - start)
    while far - near > 1:
        middle = (near + far) // 2
        if answer(decide(ask(start + step * middle))) == answer(now):
            near = middle
        else:
            far = middle
    return start + step * far, decide(ask(start + step * far))


def _space(now: Decision) -> Iterator[Threshold]:
    situation = now.facts.situation
    free = situation.features_disk.free_bytes
    if isinstance(free, Unknown):
        return
    if short := _next_larger(now):
        lacking = short.need_bytes - free
        yield Threshold(
            "free space", short.need_bytes, "bytes", short.label,
            tr(
                "With {lacking} more free, {row} ({size}) would fit: {flags}.",
                lacking=format_bytes(lacking), row=short.label, size=format_bytes(short.feature_bytes), flags=flags(short),
            ),
        )  # fmt: skip
    if now.mode != "precomputed" and (more := first_change(now, situation.with_free, free, MOST_FREE_BYTES)):
        at, then = more
        yield _more_free(at, free, then)
        if now.mode == "none" and then.mode == "realtime":
            again = first_change(now, situation.with_free, free, MOST_FREE_BYTES, _stores)
            if again:
                at, then = again
                yield _more_free(at, free, then)
    if free and (less := first_change(now, situation.with_free, free, 0)):
        at, then = less
        least = first_change(now, situation.with_free, at, 0, _mode) if then.mode == now.mode else None
        # Two changes so near each other that they read alike are told as the further one.
        if not (least and format_bytes(least[0] + 1) == format_bytes(at + 1)):
            yield _less_free(at, then)
        if least:
            at, then = least
            yield _less_free(at, then)


def _more_free(at: int, free: int, then: Decision) -> Threshold:
    words = tr("With {size} more free: {outcome}.", size=format_bytes(at - free), outcome=then.outcome_words)
    return Threshold("free space", at, "bytes", then.outcome, words)


def _less_free(at: int, then: Decision) -> Threshold:
    words = tr("Below {size} free: {outcome}.", size=format_bytes(at + 1), outcome=then.outcome_words)
    return Threshold("free space", at, "bytes", then.outcome, words)


def _next_larger(now: Decision) -> Rung | None:
    """The smallest larger choice that does not fit, where storing is recommended or blocked by space."""
    chosen = now.facts.chosen
    if now.mode != "precomputed" or chosen is None:
        return None
    short = [rung for rung in now.facts.rungs if rung.fits is False and rung.feature_bytes > chosen.feature_bytes]
    return short[-1] if short else None


def _counts(now: Decision) -> Iterator[Threshold]:
    situation, intent = now.facts.situation, now.facts.situation.intent
    if now.mode == "none" or intent.quick_check:
        return
    asked: tuple[tuple[str, str, int, int, int], ...] = (
        ("epochs", "epochs", intent.epochs, 1, MOST_EPOCHS),
        ("experiments", "experiments", intent.runs, 1, MOST_EXPERIMENTS),
        ("CLIP changes", "clip_swaps", intent.model_count - 1, 0, MOST_SWAPS),
    )
    for quantity, field, value, least, most in asked:
        for end in (least, most):
            found = first_change(now, lambda count, field=field: situation.with_intent(**{field: count}), value, end)  # type: ignore[misc]
            if found:
                at, then = found
                words = (
                    _from_words(field, several=intent.runs > 1)
                    if end == most
                    else _at_words(field, several=intent.runs > 1)
                )
                text = tr(words, at=at, outcome=then.outcome_words)
                yield Threshold(quantity, at, "count", then.outcome, text)


def _from_words(field: str, *, several: bool) -> str:
    if field == "epochs" and several:
        return mark("From {at} epochs in each experiment on: {outcome}.")
    return {
        "epochs": mark("From {at} epochs on: {outcome}."),
        "experiments": mark("From {at} experiments on: {outcome}."),
        "clip_swaps": mark("From {at} CLIP changes on: {outcome}."),
    }[field]


def _at_words(field: str, *, several: bool) -> str:
    if field == "epochs" and several:
        return mark("At {at} epochs in each experiment or fewer: {outcome}.")
    return {
        "epochs": mark("At {at} epochs or fewer: {outcome}."),
        "experiments": mark("At {at} experiments or fewer: {outcome}."),
        "clip_swaps": mark("At {at} CLIP changes or fewer: {outcome}."),
    }[field]


def _gpu(now: Decision) -> Iterator[Threshold]:
    situation = now.facts.situation
    free = now.facts.memory.free_bytes if situation.machine.gpus else 0
    if isinstance(free, Unknown):
        return
    if found := with_a_gpu(now, free):
        at, then = found
        words = tr("With {size} free on a GPU: {outcome}.", size=format_gib(at), outcome=then.outcome_words)
        yield Threshold("GPU memory", at, "bytes", then.outcome, words)


def with_a_gpu(now: Decision, free_bytes: int) -> tuple[int, Decision] | None:
    """The least free GPU memory, from `free_bytes` on, with the answer of a large idle GPU; None when that is the same."""
    situation = now.facts.situation
    large = decide(situation.with_gpu_memory(MOST_GPU_BYTES)).outcome

    def answer(decision: Decision) -> str:
        # A GPU that is too small for anything is worse than none, so only the large one's answer counts as a change.
        return str(decision.outcome == large)

    return first_change(now, situation.with_gpu_memory, free_bytes, MOST_GPU_BYTES, answer)


def _questions(now: Decision) -> Iterator[Threshold]:
    situation, intent = now.facts.situation, now.facts.situation.intent
    for quantity, field, begun, without in (
        (
            "quick check",
            "quick_check",
            mark("For a first look (--quick-check): {outcome}."),
            mark("Without quick check: {outcome}."),
        ),
        (
            "adapters",
            "adapters",
            mark("With adapters or prompts trained inside CLIP (--adapters): {outcome}."),
            mark("Without adapters: {outcome}."),
        ),
    ):
        asked = getattr(intent, field)
        then = decide(situation.with_intent(**{field: not asked}))
        if then.outcome != now.outcome:
            words = tr(without if asked else begun, outcome=then.outcome_words)
            yield Threshold(quantity, float(not asked), "yes", then.outcome, words)
