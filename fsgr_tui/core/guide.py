"""The guide that labs follow by hand: its constants, and one statement of it beside the truth. `audit` fills the rows."""

from __future__ import annotations

import msgspec

GUIDE_REALTIME_STEP_S, GUIDE_REALTIME_BATCH = 2.5, 64
GUIDE_PRECOMPUTED_STEP_S, GUIDE_PRECOMPUTED_BATCH = 0.8, 150
GUIDE_DISK_BYTES = 100 * 10**9
GUIDE_EXPECTED_SAMPLES = 118_287


class GuideRow(msgspec.Struct, frozen=True):
    """One statement of the guide beside the truth.

    Attributes:
        what: the quantity.
        guide: what the guide says.
        computed: what arithmetic gives.
        measured: what was measured on this machine; empty where nothing was.
        note: why they differ.
    """

    what: str
    guide: str
    computed: str
    measured: str = ""
    note: str = ""
