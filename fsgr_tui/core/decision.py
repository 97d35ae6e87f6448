"""From a situation to a verdict: the ladder is walked, the criteria vote, and what is impossible is left out.

`decide` is cheap and pure; `flips` asks it again with other values to find what would change the answer.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from fsgr_tui.core.criteria import CRITERIA, DECISIVE
from fsgr_tui.core.facts import Facts
from fsgr_tui.core.language import listed, sentences, tr
from fsgr_tui.core.memory import memory_plan
from fsgr_tui.core.plan import Criterion, FilesystemNeed, Rung, TimePlan, Way
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.storage import Stored, breakdown, ladder, need_on_features_disk
from fsgr_tui.core.timeplan import time_plan
from fsgr_tui.core.tower import FeatureShape, Tower
from fsgr_tui.core.units import Estimate, Unknown

PIXELS: Literal["pixels"] = "pixels"


class Decision(msgspec.Struct, frozen=True):
    """A verdict with all that it stands on.

    Attributes:
        mode: the way that is recommended; cache: "pixels" where the pictures are best stored.
        rows: every criterion; blocking: the rows that make a way impossible.
        confidence: share of the votes' weight that agrees, 0..1.
        pixels_need: of the features' disk, with the stored pictures.
    """

    facts: Facts
    rows: tuple[Criterion, ...]
    mode: Way
    cache: Literal["", "pixels"]
    confidence: float
    pixels_need: FilesystemNeed

    @property
    def blocking(self) -> tuple[Criterion, ...]:
        """The rows that make a way impossible."""
        return tuple(row for row in self.rows if row.blocks)

    def blocked(self, way: Way) -> Criterion | None:
        """The first reason why a way is impossible."""
        return next((row for row in self.rows if way in row.blocks), None)

    @property
    def outcome(self) -> str:
        """The answer in a few words, for programs; two situations with the same words have the same answer."""
        if self.mode == "precomputed" and self.facts.chosen:
            only = (
                ""
                if len(self.facts.chosen.splits) == len(self.facts.wanted.splits)
                else f" of {self.facts.chosen.splits[0]}"
            )
            return f"precomputed, {self.facts.chosen.label}{only}"
        return {"none": "neither way", "realtime": "realtime"}.get(self.mode, self.mode) + (
            " from cached pixels" if self.cache else ""
        )

    @property
    def outcome_words(self) -> str:
        """The same in the user's language."""
        if self.mode == "precomputed" and self.facts.chosen:
            row, splits = self.facts.chosen.label, self.facts.chosen.splits
            if len(splits) == len(self.facts.wanted.splits):
                return tr("precomputed, {row}", row=row)
            return tr("precomputed, {row} of {split}", row=row, split=splits[0])
        if self.mode == "none":
            return tr("neither way")
        return tr("realtime from cached pixels") if self.cache else tr(self.mode)


def decide(situation: Situation, time: TimePlan | None = None) -> Decision:
    """The verdict for a situation.

    Args:
        time: other times than the estimated ones, to see how much hangs on them.
    """
    facts = facts_of(situation, time)
    rows = tuple(criterion(facts) for criterion in CRITERIA)
    blocked = {way for row in rows for way in row.blocks}
    for_a = sum(row.weight for row in rows if row.vote == "A")
    for_b = sum(row.weight for row in rows if row.vote == "B")
    mode: Way = "realtime" if for_a > for_b else "precomputed"
    if "precomputed" in blocked:
        mode = "none" if "realtime" in blocked else "realtime"
    elif "realtime" in blocked:
        mode = "precomputed"
    winning = for_a if mode == "realtime" else for_b
    votes = for_a + for_b
    confidence = 1.0 if mode == "none" or mode in _only_way(blocked) else winning / votes if votes else 0.5
    pixels = need_on_features_disk(situation, (pixel_file(situation),))
    wants_pixels = mode == "realtime" and situation.intent.adapters and not situation.intent.quick_check
    cache: Literal["", "pixels"] = PIXELS if wants_pixels and pixels.fits and situation.features_disk.writable else ""
    return Decision(facts, rows, mode, cache, round(confidence, 2), pixels)


def _only_way(blocked: set[Way]) -> tuple[Way, ...]:
    """The way that is left when the other one is impossible."""
    return ("realtime",) if "precomputed" in blocked else ("precomputed",) if "realtime" in blocked else ()


def facts_of(situation: Situation, time: TimePlan | None = None) -> Facts:
    """What the criteria look at."""
    rungs = ladder(situation, situation.tower)
    wanted = wanted_rung(rungs, situation)
    chosen = next((rung for rung in rungs[rungs.index(wanted) :] if rung.fits is not False), None)
    judged = chosen or rungs[-1]
    storage = breakdown(situation, (file_of(judged, situation.tower),))
    several = situation.towers if len(situation.towers) > 1 else ()
    files = tuple(model_file(tower, judged) for tower in several)
    return Facts(
        situation=situation,
        rungs=rungs,
        wanted=wanted,
        chosen=chosen,
        time=time or time_plan(situation),
        memory=memory_plan(situation),
        features_need=storage.filesystems[-1],
        images_need=storage.filesystems[0],
        models_fit=tuple(need_on_features_disk(situation, (file,)).fits for file in files),
        models_need=need_on_features_disk(situation, files) if files else None,
    )


def wanted_rung(rungs: tuple[Rung, ...], situation: Situation) -> Rung:
    """The rung that was asked for; a tower whose native grid is 7x7 has no other 7x7."""
    shape = situation.asked_shape(situation.tower)
    grid = shape.grid if any(rung.grid == shape.grid for rung in rungs) else "native"
    return next(rung for rung in rungs if rung.grid == grid and rung.dtype == shape.dtype)


def file_of(rung: Rung, tower: Tower) -> Stored:
    """The feature file that a rung stands for."""
    return Stored(FeatureShape(tower, rung.grid, rung.dtype), rung.splits)


def model_file(tower: Tower, rung: Rung) -> Stored:
    """The file of any model with a rung's dtype and splits, and its grid where the tower gives that."""
    shape = FeatureShape(tower, rung.grid, rung.dtype)
    native = FeatureShape(tower, "native", rung.dtype)
    is_native = rung.grid == "7x7" and tower.side == shape.side
    return Stored(native if is_native or shape.side > shape.native_side else shape, rung.splits)


def pixel_file(situation: Situation, tower: Tower | None = None) -> Stored:
    """The resized pictures of all splits, by default at the size of the plan's own tower."""
    return Stored(FeatureShape(tower or situation.tower, stage="pixels"), situation.dataset.split_names)


def certainty(decision: Decision) -> str:
    """How sure a verdict is, in words: what agrees, and whether it holds over the whole span of the estimates."""
    words = [_agreement(decision)]
    point = decision.facts.time.break_even_epochs
    if isinstance(point, Estimate) and decision.mode != "none" and not decision.blocking:
        ends = [_at(decision, end) for end in (point.low, point.high)]
        other = next((end for end in ends if end.outcome != decision.outcome), None)
        words.append(
            tr(
                "At an end of the time estimates it would be {outcome}; `fsgr-tui bench` narrows them.",
                outcome=other.outcome_words,
            )
            if other
            else tr("It holds over the whole span of the time estimates.")
        )
    if unknown := _unread(decision):
        words.append(tr("Not known: {names}.", names=listed(map(tr, unknown))))
    return sentences(*words)


def _unread(decision: Decision) -> list[str]:
    """Names of the criteria that could not vote for want of a reading."""
    facts = decision.facts
    readings = (
        facts.situation.features_disk.free_bytes,
        facts.features_need.free_bytes,
        facts.images_need.free_bytes,
        facts.memory.free_bytes,
    )
    shown = {str(reading) for reading in readings if isinstance(reading, Unknown)}
    return [row.name for row in decision.rows if row.vote == "neutral" and row.observed in shown]


def _at(decision: Decision, break_even_epochs: float) -> Decision:
    point = Estimate.exact(break_even_epochs, "count")
    time = msgspec.structs.replace(decision.facts.time, break_even_epochs=point)
    return decide(decision.facts.situation, time)


def _agreement(decision: Decision) -> str:
    if decision.mode == "none":
        return tr("Certain: both ways are impossible.")
    blocked = decision.blocked("precomputed" if decision.mode == "realtime" else "realtime")
    if blocked:
        return tr("Certain: the other way is impossible here ({name}).", name=tr(blocked.name))
    deciding = next((row for row in decision.rows if row.weight >= DECISIVE), None)
    if deciding:
        return tr(
            "Decided by one row, whatever the others say: {name}, {observed}.",
            name=tr(deciding.name),
            observed=deciding.observed,
        )
    sure = decision.confidence
    if sure >= 0.8:
        return tr("Sure: {share:.0%} of the votes' weight agrees.", share=sure)
    if sure >= 0.6:
        return tr("Fairly sure: {share:.0%} of the votes' weight agrees.", share=sure)
    return tr("A close call: {share:.0%} of the votes' weight agrees.", share=sure)
