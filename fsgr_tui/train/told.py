"""What a training run tells of itself in whole sentences."""

from __future__ import annotations

from fsgr_tui.core.language import mark, tr

TOO_FEW_CAPTIONS = mark("{n:,} training captions do not fill one batch of {size}.")
TOO_FEW_IMAGES = mark("{n:,} training images do not fill one batch of {size}.")

DATA_BOUND = 0.3
"""From this share of a step on, waiting for data is what holds the run down."""


def bottleneck(waiting: float, mode: str) -> str:
    """What holds the steps down.

    Args:
        waiting: share of a step that waits for its batch, 0..1.
        mode: "precomputed" or "realtime".
    """
    if waiting < DATA_BOUND:
        return tr("compute-bound: {share:.0%} of a step is computing", share=1 - waiting)
    if mode == "precomputed":
        return tr(
            "data-bound: {share:.0%} of a step waits for the feature file; more --workers help while cores are free",
            share=waiting,
        )
    return tr(
        "data-bound: {share:.0%} of a step waits for its pictures; more --workers help while cores are free",
        share=waiting,
    )


def sizes(
    *, pairs: int, steps: int, words: int, parameters: int, arithmetic: str, device: object, processes: int
) -> str:
    """What is trained on what.

    Args:
        pairs, steps: of an epoch.
        words: of the vocabulary.
        parameters: numbers that are trained, in this arithmetic.
    """
    values = {
        "pairs": pairs, "steps": steps, "words": words, "parameters": parameters, "arithmetic": arithmetic,
        "device": device,
    }  # fmt: skip
    if processes == 1:
        return tr(
            "{pairs:,} training pairs in {steps:,} steps an epoch, {words:,} words, "
            "{parameters:,} trained parameters in {arithmetic} on {device}.",
            **values,
        )
    return tr(
        "{pairs:,} training pairs in {steps:,} steps an epoch, {words:,} words, "
        "{parameters:,} trained parameters in {arithmetic} on {device}, {processes} processes.",
        processes=processes,
        **values,
    )


def patience_ends(epochs: int, best_step: int, patience: int | None) -> str:
    """So many epochs were no better than the best one."""
    return tr(
        "{epochs} epochs in a row were no better than the best one (step {best_step:,}): --patience {patience} ends them.",
        epochs=epochs,
        best_step=best_step,
        patience=patience,
    )


def critical_begins(epochs: int, images: int, best_step: int | None) -> str:
    """Self-critical training begins: from the best step so far, or from the newest weights."""
    if best_step is None:
        return tr(
            "Self-critical training begins: {epochs} epochs over {images:,} images, from the newest weights. "
            "Its loss is negative as often as not.",
            epochs=epochs,
            images=images,
        )
    return tr(
        "Self-critical training begins: {epochs} epochs over {images:,} images, from step {best_step:,}, the best so far. "
        "Its loss is negative as often as not.",
        epochs=epochs,
        images=images,
        best_step=best_step,
    )


def warmup_too_long(warmup: int, steps: int, learning_rate: float) -> str:
    """The learning rate never comes to its peak."""
    return tr(
        "The warm-up of {warmup:,} steps is no shorter than the run ({steps:,} steps): "
        "the learning rate stays below {learning_rate:g}.",
        warmup=warmup,
        steps=steps,
        learning_rate=learning_rate,
    )
