"""What children and foreign programs count, in the user's words: phases, units, stages, rates. Pure.

The documents hold the English names, which programs read; here they are told to a person. Names that are not of this
program's making (a bar's label, its unit) are told as they are.
"""

from __future__ import annotations

import re

from fsgr_tui.core.language import mark, tr

_PHASES = frozenset({
    mark("load model"), mark("extract"), mark("verify"), mark("recompute"), mark("text-embed"), mark("convert"),
    mark("measure reading"), mark("make pictures"), mark("make captioner"), mark("load"), mark("validate"),
    mark("caption"), mark("METEOR and the Penn Treebank tokenizer"), mark("first training step"), mark("training step"),
    mark("self-critical step"), mark("validation"), mark("scores"), mark("checkpoint"), mark("merge"), mark("check"),
    mark("running"),
})  # fmt: skip
_COUNTED_PHASES = (
    (re.compile(r"epoch (?P<epoch>\d+) of (?P<epochs>\d+)"), mark("epoch {epoch} of {epochs}")),
    (re.compile(r"self-critical epoch (?P<epoch>\d+) of (?P<epochs>\d+)"), mark("self-critical epoch {epoch} of {epochs}")),
    (re.compile(r"epoch (?P<epoch>\d+)"), mark("epoch {epoch}")),
    (re.compile(r"captions, beam (?P<beam>\d+)"), mark("captions, beam {beam}")),
)  # fmt: skip
_MEASURED = re.compile(r"(?P<number>\d+) of (?P<all>\d+): (?P<stage>.+)")
_STAGES = frozenset({
    mark("decode"), mark("encode"), mark("write"), mark("read"), mark("data"), mark("step"), mark("extract"),
    mark("decode with one worker"), mark("decode with all workers"), mark("train realtime"), mark("train precomputed"),
})  # fmt: skip
_UNITS = frozenset({
    mark("images"), mark("pairs"), mark("rows"), mark("classes"), mark("epochs"), mark("steps"),
})  # fmt: skip


def phase_words(name: str) -> str:
    """A phase, told to a person."""
    if name in _PHASES:
        return tr(name)
    for pattern, text in _COUNTED_PHASES:
        if found := pattern.fullmatch(name):
            return tr(text, **found.groupdict())
    if (measured := _MEASURED.fullmatch(name)) and measured["stage"] in _STAGES:
        return tr("{number} of {all}: {stage}", **{**measured.groupdict(), "stage": tr(measured["stage"])})
    return name


def stage_words(name: str) -> str:
    """A stage of the work whose share of the time is told."""
    return tr(name) if name in _STAGES else name


def unit_words(unit: str) -> str:
    """What is counted."""
    return tr(unit) if unit in _UNITS else unit


def rate_words(rate: float | None, unit: str) -> str:
    """A throughput, such as `4.2 images/s`; empty while it is not known."""
    if not rate:
        return ""
    number = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
    return tr("{number} {unit}/s", number=number, unit=unit_words(unit))
