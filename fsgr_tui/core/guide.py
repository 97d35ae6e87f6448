"""The guide that labs follow by hand: its numbers beside what arithmetic gives. Its errors are named, not repeated."""

from __future__ import annotations

import msgspec

from fsgr_tui.core import coco
from fsgr_tui.core.tower import KNOWN, FeatureShape
from fsgr_tui.core.units import format_bytes, format_duration

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


def epoch_s(captions: int, batch_size: int, step_s: float) -> float:
    """Seconds of an epoch at a step time, the last incomplete batch dropped."""
    return captions // batch_size * step_s


def guide_rows() -> tuple[GuideRow, ...]:
    """The guide's numbers, audited."""
    b16, l14 = KNOWN["ViT-B-16"], KNOWN["ViT-L-14"]
    train, val = coco.SPLITS["train2014"], coco.SPLITS["val2014"]
    pooled, native = FeatureShape(b16, "7x7", "float32"), FeatureShape(b16, "native", "float32")
    large = FeatureShape(l14, "8x8", "float32")
    realtime = epoch_s(coco.KARPATHY_TRAIN_CAPTIONS, GUIDE_REALTIME_BATCH, GUIDE_REALTIME_STEP_S)
    precomputed = epoch_s(coco.KARPATHY_TRAIN_CAPTIONS, GUIDE_PRECOMPUTED_BATCH, GUIDE_PRECOMPUTED_STEP_S)
    per_pair = (GUIDE_REALTIME_STEP_S / GUIDE_REALTIME_BATCH) / (GUIDE_PRECOMPUTED_STEP_S / GUIDE_PRECOMPUTED_BATCH)
    return (
        GuideRow(
            "images of train2014", f"{GUIDE_EXPECTED_SAMPLES:,}", f"{train.images:,}",
            note=f"{GUIDE_EXPECTED_SAMPLES:,} is train2017; the Karpathy split has {coco.KARPATHY_IMAGES:,} images.",
        ),
        GuideRow(
            "features of train2014, ViT-B/16", "18 GB",
            f"{format_bytes(pooled.feature_bytes(train.images))} (49 tokens), {format_bytes(native.feature_bytes(train.images))} (196)",
            note="float32; float16 is half. 18 GB is train2017 with 49 tokens.",
        ),
        GuideRow(
            "features of val2014, ViT-B/16", "2 GB",
            f"{format_bytes(pooled.feature_bytes(val.images))} (49 tokens), {format_bytes(native.feature_bytes(val.images))} (196)",
            note="val2014 has 0.489 times the images of train2014.",
        ),
        GuideRow(
            "features of train2014, ViT-L/14", "30 GB", f"{format_bytes(large.feature_bytes(train.images))} (64 tokens)",
            note="30 GB is train2017.",
        ),
        GuideRow(
            "gzip", "15-20 GB compressed", "2-6 % saved",
            note="Compression hardly helps and makes reading 10-60 times slower; dtype and grid are the levers.",
        ),
        GuideRow(
            "realtime epoch", "2 h", format_duration(realtime),
            note=f"{GUIDE_REALTIME_STEP_S} s a step, batch {GUIDE_REALTIME_BATCH}, Karpathy training captions.",
        ),
        GuideRow(
            "precomputed epoch", "40 min", format_duration(precomputed),
            note=f"{GUIDE_PRECOMPUTED_STEP_S} s a step, batch {GUIDE_PRECOMPUTED_BATCH}.",
        ),
        GuideRow(
            "20 epochs", "40 h against 13 h", f"{format_duration(20 * realtime)} against {format_duration(20 * precomputed)}",
            note="By the guide's own step times.",
        ),
        GuideRow(
            "speed-up", "3-5x", f"{per_pair:.1f}x by pairs a second", note="From the guide's own step times and batches."
        ),
        GuideRow("time saved", "27 h", "less the extraction", note="The guide leaves out the 3-4 h of extraction."),
    )  # fmt: skip
