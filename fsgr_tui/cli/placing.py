"""The flags that say where a command runs: taken out of command lines, read from plans, and put into them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr
from fsgr_tui.core.plan import Step
from fsgr_tui.core.planfile import PlanStep
from fsgr_tui.service.running import PROGRAM

PLACED = frozenset({"extract", "train"})
"""Commands of this program that have such flags."""

_HERE = {
    "--backend": True, "--profile": True, "--nodes": True, "--detach": False, "--json": False, "--dry-run": False,
}  # fmt: skip
"""Flags that say where a command runs and how it is watched, and whether a value follows."""


def without_place(words: Sequence[str]) -> tuple[str, ...]:
    """A command line without the flags that say where it runs."""
    kept = []
    skip = False
    for word in words:
        flag, sign, _ = word.replace("_", "-").partition("=")
        if skip:
            skip = False
        elif flag in _HERE:
            skip = _HERE[flag] and not sign
        else:
            kept.append(word)
    return tuple(kept)


def _value(words: Sequence[str], flag: str) -> str:
    """What a flag of a command line says; empty where it is not there."""
    for number, word in enumerate(words):
        name, sign, value = word.partition("=")
        if name == flag:
            return value if sign else next(iter(words[number + 1 :]), "")
    return ""


def profile_of_plan(steps: Sequence[PlanStep]) -> str | None:
    """The profile that the steps of a plan name, empty for the default one; None when none of them goes to Slurm.

    Raises:
        BadRequest: they name several.
    """
    named = {
        _value(step.argv, "--profile")
        for step in steps
        if _value(step.argv, "--backend") == "slurm" or _value(step.argv, "--profile")
    }
    if len(named) > 1:
        raise BadRequest(
            tr(
                "The steps name several profiles: {profiles}.",
                profiles=", ".join(sorted(name or "-" for name in named)),
            ),
            tr("A chain has one; `light_partition` in it is for the steps that need no GPU."),
        )
    return next(iter(named), None)


def steps_of_chain(steps: Sequence[PlanStep]) -> tuple[PlanStep, ...]:
    """The steps of a plan without the flags that say where they run."""
    return tuple(
        msgspec.structs.replace(step, argv=(step.argv[0], *without_place(step.argv[1:])))
        if Path(step.argv[0]).name == PROGRAM
        else step
        for step in steps
    )


def placed(steps: Sequence[Step], profile: str) -> tuple[Step, ...]:
    """The commands of a plan, to be run in Slurm.

    Args:
        profile: empty for the default one.
    """
    flags = ("--profile", profile) if profile else ("--backend", "slurm")
    return tuple(
        msgspec.structs.replace(step, argv=(*step.argv, *flags)) if step.argv[1:2] and step.argv[1] in PLACED else step
        for step in steps
    )
