"""What a job came to, for a person: names for the keys of a result, and values in units instead of all their digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsgr_tui.core import jsontext
from fsgr_tui.core.language import listed, mark, tr
from fsgr_tui.core.units import format_bytes, format_duration, printable
from fsgr_tui.service.curves import number

NAMES = {
    "mode": mark("way"), "steps": mark("steps"), "epochs_done": mark("epochs done"), "batch_size": mark("batch size"),
    "processes": mark("processes"), "first_loss": mark("first loss"), "last_loss": mark("last loss"),
    "val_loss": mark("validation loss"), "metrics": mark("scores"), "java_metrics": mark("scores with METEOR"),
    "best": mark("best"), "step_s": mark("a step took"), "pairs_per_s": mark("pairs a second"),
    "epoch_s": mark("an epoch takes"), "data_wait_share": mark("share of waiting for data"),
    "peak_memory_bytes": mark("most memory"), "baseline_memory_bytes": mark("memory before the training"),
    "memory_kind": mark("memory as"), "largest_batch": mark("largest batch"), "checkpoint": mark("checkpoint"),
    "checkpoint_bytes": mark("checkpoints take"), "logs": mark("TensorBoard logs"),
    "trained_parameters": mark("trained parameters"), "samples": mark("captions"), "output": mark("output"),
    "images": mark("images"), "refused": mark("refused images"), "file_bytes": mark("the file takes"),
    "seconds": mark("extraction took"), "images_per_s": mark("images a second"), "precision": mark("precision"),
    "limit_relative_l2": mark("limit of the relative difference"), "limit_cosine": mark("least cosine allowed"),
    "worst_relative_l2": mark("largest relative difference"), "worst_id": mark("image that differs most"),
    "least_cosine": mark("least cosine"), "largest_difference": mark("largest difference"), "good": mark("good"),
}  # fmt: skip
"""Keys of the results of this program's children; those of others are shown as they are."""

DRAWN = ("curve", "steps_timed")
"""What the page shows as curves, and what only the arithmetic behind a row needs."""

_SAMPLES = 5


def rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A result as rows; what is empty or unknown is left out."""
    told = []
    for key, value in result.items():
        if key in DRAWN or value is None or value in ({}, [], ""):
            continue
        name = tr(NAMES[key]) if key in NAMES else key.replace("_", " ")
        told.append((printable(name), printable(_words(key, value))))
    return told


def _words(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return tr("yes") if value else tr("no")
    if isinstance(value, (int, float)):
        return _number(key, value)
    if key == "mode" and value in ("realtime", "precomputed"):
        return tr(value)
    if key == "best" and isinstance(value, dict) and isinstance(value.get("value"), float):
        return tr(
            "{metric} {value}, at step {step}", metric=value["by"], value=number(value["value"]), step=value["step"]
        )
    if key == "samples" and isinstance(value, list):
        return " | ".join(_sample(sample) for sample in value[:_SAMPLES])
    if isinstance(value, dict) and all(isinstance(part, (int, float)) for part in value.values()):
        return listed(f"{name} {number(part)}" for name, part in value.items())
    return value if isinstance(value, str) else jsontext.encode(value).decode()


def _number(key: str, value: float) -> str:
    if key.endswith("_bytes"):
        return format_bytes(value)
    if key == "seconds" or (key.endswith("_s") and not key.endswith("per_s")):
        return format_duration(value) if value >= 1 else f"{value * 1000:.3g} ms"
    if key.endswith("_share"):
        return f"{value:.1%}"
    return (
        f"{value:,}"
        if isinstance(value, int) and not key.endswith("_id")
        else number(value)
        if isinstance(value, float)
        else str(value)
    )


def _sample(sample: Any) -> str:
    if not isinstance(sample, dict):
        return str(sample)
    said = sample.get("caption") or tr("nothing said")
    return tr("{image}: {caption}", image=sample.get("image_id", "?"), caption=said)
