"""All that the criteria of a verdict look at."""

from __future__ import annotations

import msgspec

from fsgr_tui.core.plan import FilesystemNeed, MemoryPlan, Rung, TimePlan, Way
from fsgr_tui.core.situation import Situation

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
