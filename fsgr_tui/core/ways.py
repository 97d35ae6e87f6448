"""The three ways side by side: realtime, precomputed, and realtime from cached pixels."""

from __future__ import annotations

from fsgr_tui.core.decision import Decision, file_of, pixel_file
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import FilesystemNeed, WayName, WayPlan
from fsgr_tui.core.storage import need_on_features_disk
from fsgr_tui.core.units import Estimate

EXACT_REALTIME = mark("Exact: CLIP runs in every step, so anything in it can be trained.")
EXACT_FROZEN = mark("Exact for a frozen CLIP, up to float16 storage (2e-4 relative).")
EXACT_FROZEN_32 = mark("Exact for a frozen CLIP.")
ANOTHER_MODEL = mark(
    "Another model: adapters and prompts inside CLIP cannot be trained on its stored output (0.23 relative off at the start)."
)
EXACT_PIXELS = mark(
    "Exact, also for adapters and prompts inside CLIP: the resized picture is all that stays the same while they train."
)


def way_plans(decision: Decision) -> tuple[WayPlan, ...]:
    """What each way costs, and whether it is possible here."""
    facts, situation = decision.facts, decision.facts.situation
    time, memory, intent = facts.time, facts.memory, situation.intent
    rung = facts.chosen or facts.rungs[-1]
    pixels = pixel_file(situation)
    plain = need_on_features_disk(situation, ())
    with_features = need_on_features_disk(situation, (file_of(rung, situation.tower),))
    frozen = EXACT_FROZEN if rung.dtype == "float16" else EXACT_FROZEN_32
    none = Estimate.exact(0, "s")
    realtime = decision.blocked("realtime") is None

    def way(
        name: WayName,
        need: FilesystemNeed,
        stored: int,
        times: tuple[Estimate, Estimate, Estimate],
        exactness: str,
        *,
        fits: bool | None,
    ) -> WayPlan:
        precomputed = name == "precomputed"
        return WayPlan(
            name, fits, stored, need.need_bytes + need.reserve_bytes, *times,
            memory.precomputed if precomputed else memory.realtime,
            memory.precomputed_batch if precomputed else memory.realtime_batch,
            exactness != ANOTHER_MODEL, tr(exactness),
        )  # fmt: skip

    return (
        way("realtime", plain, 0, (none, time.realtime_epoch, time.realtime_total), EXACT_REALTIME, fits=realtime),
        way(
            "precomputed", with_features, rung.feature_bytes,
            (time.extraction, time.precomputed_epoch, time.precomputed_total),
            ANOTHER_MODEL if intent.adapters else frozen,
            fits=False if decision.blocked("precomputed") else with_features.fits,
        ),
        way(
            "pixels", decision.pixels_need, pixels.feature_bytes(situation),
            (time.pixels_extraction, time.pixels_epoch, time.pixels_total), EXACT_PIXELS,
            fits=realtime and situation.features_disk.writable and decision.pixels_need.fits,
        ),
    )  # fmt: skip
