"""The guide's numbers beside what arithmetic gives and what was measured here. Its errors are named, not repeated."""

from __future__ import annotations

from fsgr_tui.core import coco
from fsgr_tui.core.calibration import Calibration, MemoryLine
from fsgr_tui.core.guide import (
    GUIDE_EXPECTED_SAMPLES,
    GUIDE_PRECOMPUTED_BATCH,
    GUIDE_PRECOMPUTED_STEP_S,
    GUIDE_REALTIME_BATCH,
    GUIDE_REALTIME_STEP_S,
    GuideRow,
)
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.memory import contrast_bytes, precomputed_bytes, realtime_bytes
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.storage import ANNOTATION_BYTES, NAMED_CHECKPOINTS, checkpoint_bytes
from fsgr_tui.core.timing import steps_per_epoch
from fsgr_tui.core.tower import KNOWN, FeatureShape
from fsgr_tui.core.units import Estimate, Unknown, format_bytes, format_duration

EPOCHS = 20
GUIDE_TRAIN_EXTRACTION_H = (2, 3)
_B16, _L14 = KNOWN["ViT-B-16"], KNOWN["ViT-L-14"]
_TRAIN, _VAL = coco.SPLITS["train2014"], coco.SPLITS["val2014"]


def epoch_s(captions: int, batch_size: int, step_s: float) -> float:
    """Seconds of an epoch at a step time, the last incomplete batch dropped."""
    return steps_per_epoch(captions, batch_size) * step_s


def guide_rows(situation: Situation | None = None) -> tuple[GuideRow, ...]:
    """The guide's numbers, section by section, audited.

    Args:
        situation: fills the column of measured values; without it nothing was measured.
    """
    measured = situation.measured_for(situation.tower) if situation else None
    return (*_ways(measured), *_extraction(situation, measured), *_training(measured), *_storage_plan(situation))


def _ways(measured: Calibration | None) -> tuple[GuideRow, ...]:
    """Section 1 and 2: the table of both ways, and the threshold of the choice."""
    pooled, native = FeatureShape(_B16, "7x7", "float32"), FeatureShape(_B16, "native", "float32")
    zips = _TRAIN.zip_bytes + _VAL.zip_bytes
    both = [format_bytes(zips + shape.feature_bytes(coco.KARPATHY_IMAGES)) for shape in (pooled, native)]
    per_pair = (GUIDE_REALTIME_STEP_S / GUIDE_REALTIME_BATCH) / (GUIDE_PRECOMPUTED_STEP_S / GUIDE_PRECOMPUTED_BATCH)
    smallest = FeatureShape(_B16).feature_bytes(coco.KARPATHY_IMAGES)
    faster = ""
    rates = (
        (measured.realtime_at(GUIDE_REALTIME_BATCH), measured.precomputed_at(GUIDE_PRECOMPUTED_BATCH))
        if measured
        else ()
    )
    if len(rates) == 2 and isinstance(rates[0], Estimate) and isinstance(rates[1], Estimate):
        faster = f"{rates[1].likely / rates[0].likely:.1f}x"
    return (
        GuideRow(tr("speed-up"), "3-5x", tr("{factor:.1f}x by pairs/s", factor=per_pair), faster, tr("3.0x by the guide's own epoch times.")),
        GuideRow(tr("disk, way A"), "20 GB", format_bytes(zips), "", tr("Images of 2014, both splits.")),
        GuideRow(tr("disk, way B"), "50 GB", f"{both[0]} / {both[1]}", "", tr("Images and float32 features, 49 / 196 tokens; the guide's own plan says 20 + 50 GB.")),
        GuideRow(
            tr("disk that decides"), "100 GB", f"{format_bytes(smallest)}",
            note=tr("49 tokens in float16. 100 GB is not defined (total or free); the computed need against the free space decides."),
        ),
    )  # fmt: skip


def _extraction(situation: Situation | None, measured: Calibration | None) -> tuple[GuideRow, ...]:
    """Section 3: extracting and checking."""
    pooled, native = FeatureShape(_B16, "7x7", "float32"), FeatureShape(_B16, "native", "float32")
    low, high = (_TRAIN.images / (hours * 3600) for hours in reversed(GUIDE_TRAIN_EXTRACTION_H))
    val = [format_duration(_VAL.images / rate) for rate in (high, low)]
    whole = [coco.KARPATHY_IMAGES / rate / 3600 for rate in (high, low)]
    rate = measured.extract if measured else Unknown(mark("nothing was measured"))
    took = {
        images: format_duration(images / rate.likely) if isinstance(rate, Estimate) else ""
        for images in (_TRAIN.images, _VAL.images, coco.KARPATHY_IMAGES)
    }
    found = {split.name: split.found for split in situation.dataset.splits} if situation else {}
    here = f"{found['train2014']:,}" if found.get("train2014") else ""
    return (
        GuideRow(
            tr("images of train2014"), f"{GUIDE_EXPECTED_SAMPLES:,}", f"{_TRAIN.images:,}", here,
            tr("{expected:,} is train2017; the Karpathy split has {karpathy:,} images.", expected=GUIDE_EXPECTED_SAMPLES, karpathy=coco.KARPATHY_IMAGES),
        ),
        GuideRow(tr("extracting train2014"), tr("2-3 h"), tr("{low:.1f}-{high:.1f} images/s", low=low, high=high), took[_TRAIN.images], tr("On one V100; published rates of that GPU are about 290 images/s.")),
        GuideRow(tr("extracting val2014"), tr("10-15 min"), tr("{low} to {high}", low=val[0], high=val[1]), took[_VAL.images], tr("val2014 has 0.489 times the images, and the rate is the same.")),
        GuideRow(tr("extracting all"), tr("3-4 h"), tr("{low:.1f}-{high:.1f} h", low=whole[0], high=whole[1]), took[coco.KARPATHY_IMAGES], tr("By its own rate for train2014.")),
        GuideRow(
            "train2014, ViT-B/16", "18 GB", _two(pooled, native, _TRAIN.images),
            note=tr("float32, 49 / 196 tokens; float16 is half. 18 GB is train2017 with 49 tokens. Restval, 30,504 images of val2014, belongs to training too."),
        ),
        GuideRow(
            "val2014, ViT-B/16", "2 GB", _two(pooled, native, _VAL.images),
            note=tr("float32, 49 / 196 tokens; val2014 has 0.489 times the images of train2014."),
        ),
        GuideRow(
            "gzip", "15-20 GB", tr("2-6 % saved"),
            note=tr("Compression hardly helps and makes reading 10-60 times slower; dtype and grid are the levers."),
        ),
        GuideRow(tr("values"), tr("-0.5 to 0.5"), tr("no such bound"), note=tr("Tokens leave a LayerNorm; the check looks for NaN, infinity and placeholders instead.")),
        GuideRow(tr("what check compares"), "encode_image", tr("same tokens"), note=tr("A pooled vector of 512 values cannot be compared with 49 x 768 tokens: `check --recompute` compares tokens.")),
    )  # fmt: skip


def _two(pooled: FeatureShape, native: FeatureShape, images: int) -> str:
    return f"{format_bytes(pooled.feature_bytes(images))} / {format_bytes(native.feature_bytes(images))}"


def _training(measured: Calibration | None) -> tuple[GuideRow, ...]:
    """Section 6: what the guide's author measured on a V100."""
    captions = coco.KARPATHY_TRAIN_CAPTIONS
    realtime = epoch_s(captions, GUIDE_REALTIME_BATCH, GUIDE_REALTIME_STEP_S)
    precomputed = epoch_s(captions, GUIDE_PRECOMPUTED_BATCH, GUIDE_PRECOMPUTED_STEP_S)
    saved_h = EPOCHS * (realtime - precomputed) / 3600
    rates = (
        (measured.realtime_at(GUIDE_REALTIME_BATCH), measured.precomputed_at(GUIDE_PRECOMPUTED_BATCH))
        if measured
        else ()
    )
    epochs = [captions / rate.likely if isinstance(rate, Estimate) else None for rate in rates] or [None, None]
    steps = [
        format_duration(batch / rate.likely) if isinstance(rate, Estimate) else ""
        for rate, batch in zip(rates, (GUIDE_REALTIME_BATCH, GUIDE_PRECOMPUTED_BATCH), strict=False)
    ] or ["", ""]
    words = ["" if each is None else format_duration(each) for each in epochs]
    all_epochs, saved = "", ""
    if epochs[0] is not None and epochs[1] is not None:
        all_epochs = f"{format_duration(EPOCHS * epochs[0])} / {format_duration(EPOCHS * epochs[1])}"
        saved = tr("{hours:.1f} h", hours=EPOCHS * (epochs[0] - epochs[1]) / 3600)
    memory = _memory_words(measured)
    contrast = contrast_bytes(_B16, GUIDE_PRECOMPUTED_BATCH)
    return (
        GuideRow(tr("step A, batch 64"), tr("2.5 s"), tr("{rate:.0f} pairs/s", rate=GUIDE_REALTIME_BATCH / GUIDE_REALTIME_STEP_S), steps[0]),
        GuideRow(tr("step B, batch 150"), tr("0.8 s"), tr("{rate:.0f} pairs/s", rate=GUIDE_PRECOMPUTED_BATCH / GUIDE_PRECOMPUTED_STEP_S), steps[1]),
        GuideRow(tr("realtime epoch"), tr("2 h"), format_duration(realtime), words[0], tr("2.5 s a step, batch 64, Karpathy training captions: 8,855 steps.")),
        GuideRow(tr("precomputed epoch"), tr("40 min"), format_duration(precomputed), words[1], tr("0.8 s a step, batch 150: 3,778 steps.")),
        GuideRow(tr("20 epochs"), tr("40 h / 13 h"), f"{format_duration(EPOCHS * realtime)} / {format_duration(EPOCHS * precomputed)}", all_epochs, tr("By the guide's own step times.")),
        GuideRow(tr("time saved"), tr("27 h"), tr("{hours:.0f} h - extraction", hours=saved_h), saved, tr("The guide leaves out the 3-4 h of extraction.")),
        GuideRow(tr("GPU memory, A"), "22 GB", format_bytes(realtime_bytes(_B16, GUIDE_REALTIME_BATCH).likely), memory[0], tr("Adapters in ViT-B/16, within 40 %.")),
        GuideRow(tr("GPU memory, B"), "16 GB", format_bytes(precomputed_bytes(GUIDE_PRECOMPUTED_BATCH).likely), memory[1],
                 tr("The patch-label contrast term adds {size} at 196 tokens.", size=format_bytes(contrast))),
    )  # fmt: skip


def _memory_words(measured: Calibration | None) -> tuple[str, str]:
    if measured is None:
        return "", ""
    lines = (
        (measured.realtime_memory, GUIDE_REALTIME_BATCH),
        (measured.precomputed_memory, GUIDE_PRECOMPUTED_BATCH),
    )
    first, second = (
        format_bytes(line.bytes_for(batch)) if isinstance(line, MemoryLine) else "" for line, batch in lines
    )
    return first, second


def _storage_plan(situation: Situation | None) -> tuple[GuideRow, ...]:
    """Section 7: the storage plan."""
    large = FeatureShape(_L14, "8x8", "float32")
    pooled = FeatureShape(_B16, "7x7", "float32")
    parts = (pooled.feature_bytes(_TRAIN.images), pooled.feature_bytes(_VAL.images), large.feature_bytes(_TRAIN.images))
    images = _TRAIN.zip_bytes + _VAL.zip_bytes
    kept = checkpoint_bytes(EPOCHS)
    here = {split.name: split.bytes for split in situation.dataset.splits if split.found} if situation else {}
    found = [here.get(split.name) for split in (_TRAIN, _VAL)]
    total = images + sum(parts) + ANNOTATION_BYTES + kept.likely
    return (
        GuideRow(
            tr("images"), "13 + 6 GB", f"{format_bytes(_TRAIN.zip_bytes)} + {format_bytes(_VAL.zip_bytes)}",
            " + ".join(format_bytes(size) for size in found if size is not None) if any(found) else "",
        ),
        GuideRow("train2014, ViT-L/14", "30 GB", f"{format_bytes(parts[2])} (64)", note=tr("30 GB is train2017.")),
        GuideRow(tr("features in all"), "50 GB", format_bytes(sum(parts)), note=tr("float32: 49 tokens of both splits, and ViT-L/14 of train2014.")),
        GuideRow(tr("annotations"), "1 GB", format_bytes(ANNOTATION_BYTES), note=tr("The guide's figure is taken over.")),
        GuideRow(
            tr("checkpoints"), "10 GB", tr("{low} to {high}", low=format_bytes(kept.low), high=format_bytes(kept.high)),
            note=tr("{named} named ones of 1.06 GB each, and one an epoch unless they are capped.", named=NAMED_CHECKPOINTS),
        ),
        GuideRow(tr("in all"), "100 GB", format_bytes(total), note=tr("The guide adds 19 GB for other things; float16 halves the features.")),
    )  # fmt: skip
