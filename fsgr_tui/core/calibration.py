"""What was measured on this machine: the document that a calibration keeps and later plans read instead of priors."""

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec

from fsgr_tui.core import jsontext
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.machine import Host
from fsgr_tui.core.units import Estimate, Unknown

NOT_MEASURED = mark("not measured")

CALIBRATION_SCHEMA = "fsgr-tui/calibration/1"

LEAST_PAIR_SHARE = 0.1
"""Share of a measured step that a pair costs at the least, whatever the fixed part seemed to be: both are noisy."""


class MemoryLine(msgspec.Struct, frozen=True):
    """GPU memory of training as a line over the batch size, from the peaks of two batch sizes.

    Attributes:
        fixed_bytes: at batch 0: weights, optimizer, what driver and allocator take.
        per_image_bytes: for every image of the batch.
    """

    fixed_bytes: int
    per_image_bytes: int

    def bytes_for(self, batch_size: int) -> int:
        """Bytes at a batch size."""
        return self.fixed_bytes + batch_size * self.per_image_bytes


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """The rates of one machine, one device and one CLIP model; every estimate has the basis "measured".

    Attributes:
        machine: host name and CPU; device: the GPU's name, or "cpu".
        clip_model: canonical name of the tower; precision: arithmetic of the tower.
        measured_at: ISO 8601, UTC.
        workers: decoding workers that were used.
        decode: images/s of decoding and preprocessing with these workers.
        encode: images/s of the tower alone; extract: of both, overlapped, as the extraction runs.
        write_bytes_per_s: of rows into a feature file on the features' file system, synced.
        read: rows/s of random reads there, the page cache dropped where that is allowed (`read_cold` tells).
        realtime, precomputed: caption pairs/s of training steps at `realtime_batch` and `precomputed_batch`.
        step_fixed_s: seconds of a training step that do not depend on its batch (the optimizer's above all), which a small
            batch pays for few pairs.
        realtime_memory, precomputed_memory: GPU memory; Unknown without a GPU.
        bottleneck: one sentence: what holds the rate down and what to do about it.
        decode_one: images/s of decoding and preprocessing with a single worker.
        batch_size: images that went through the tower at once in `encode` and `extract`.
        weights: as given; rates do not depend on them.
        grid, dtype, row_bytes: what a stored row was.
        images: picture files that were used; generated: whether they were made for the measurement.
        image_bytes: average size of a picture file; images_cold: whether the page cache was dropped for them.
        features_mount, filesystem: mount point and type of the features' file system.
        captions: "synthetic", or the annotation folder.
        notes: what a person should know about the measurement.
    """

    machine: str
    device: str
    clip_model: str
    precision: str
    measured_at: str
    workers: int
    decode: Estimate | Unknown
    encode: Estimate | Unknown
    extract: Estimate | Unknown
    write_bytes_per_s: Estimate | Unknown
    read: Estimate | Unknown
    realtime: Estimate | Unknown
    precomputed: Estimate | Unknown
    features_path: str = ""
    read_cold: bool = False
    realtime_batch: int = 0
    precomputed_batch: int = 0
    step_fixed_s: float = 0.0
    realtime_memory: MemoryLine | Unknown = Unknown(NOT_MEASURED)
    precomputed_memory: MemoryLine | Unknown = Unknown(NOT_MEASURED)
    bottleneck: str = ""
    decode_one: Estimate | Unknown = Unknown(NOT_MEASURED)
    batch_size: int = 0
    weights: str = ""
    grid: str = ""
    dtype: str = ""
    row_bytes: int = 0
    images: int = 0
    generated: bool = False
    image_bytes: int = 0
    images_cold: bool = False
    features_mount: str = ""
    filesystem: str = ""
    captions: str = ""
    notes: tuple[str, ...] = ()
    schema: str = CALIBRATION_SCHEMA

    def realtime_at(self, batch_size: int) -> Estimate | Unknown:
        """Caption pairs/s of realtime training at a batch size."""
        return _at_batch(self.realtime, self.realtime_batch, batch_size, self.step_fixed_s)

    def precomputed_at(self, batch_size: int) -> Estimate | Unknown:
        """Caption pairs/s of precomputed training at a batch size."""
        return _at_batch(self.precomputed, self.precomputed_batch, batch_size, self.step_fixed_s)

    @property
    def file_name(self) -> str:
        """Where it is kept: one name for each machine, device and model, readable at its beginning."""
        # Only what is written anew needs a name; readers, a plan among them, do not load this.
        import hashlib

        key = f"{self.machine}\0{self.device}\0{self.clip_model}"
        words = re.sub(r"[^A-Za-z0-9]+", "-", f"{self.clip_model}-{self.device}").strip("-")[:80]
        return f"{words}-{hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()[:12]}.json"


def _at_batch(rate: Estimate | Unknown, measured: int, wanted: int, fixed_s: float) -> Estimate | Unknown:
    """A rate measured at one batch size, at another: what a step costs in any case is shared by more pairs, or fewer.

    The span goes from the rate as it was measured to the scaled one, so that it holds the truth if the scaling does not.
    """
    if isinstance(rate, Unknown) or not measured or measured == wanted or fixed_s <= 0:
        return rate

    def scaled(pairs_per_s: float) -> float:
        pair_s = max(1 / pairs_per_s - fixed_s / measured, LEAST_PAIR_SHARE / pairs_per_s)
        return 1 / (pair_s + fixed_s / wanted)

    low, likely, high = scaled(rate.low), scaled(rate.likely), scaled(rate.high)
    return Estimate(min(rate.low, low), likely, max(rate.high, high), rate.unit, rate.basis)


def machine_words(host: Host) -> str:
    """What names a machine: host name and CPU."""
    return f"{host.name}, {host.cpu}"


def read_calibration(text: bytes) -> Calibration:
    """The calibration of a JSON document.

    Raises:
        msgspec.MsgspecError: it is no JSON, no calibration of this version, or a rate in it cannot be one.
    """
    found: Any = jsontext.decode(text, Any)
    if not isinstance(found, dict) or found.get("schema") != CALIBRATION_SCHEMA:
        raise msgspec.ValidationError(tr("it is no document of {schema}", schema=CALIBRATION_SCHEMA))
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(Calibration):
        if field.name in found:
            values[field.name] = _value(field.name, found[field.name], field.type)
        elif field.required:
            raise msgspec.ValidationError(tr("`{field}` is missing", field=field.name))
    return Calibration(**values)


def _value(name: str, value: Any, kind: Any) -> Any:
    """A field's value. A reading is told from an Unknown by its key, as documents carry no tags for msgspec's unions."""
    if Unknown in get_args(kind):
        is_unknown = isinstance(value, dict) and "unknown" in value
        kind = Unknown if is_unknown else next(each for each in get_args(kind) if each is not Unknown)
    read = msgspec.convert(value, kind)
    if isinstance(read, float) and not 0 <= read < float("inf"):
        raise msgspec.ValidationError(tr("`{field}` is no duration: {value}", field=name, value=read))
    if isinstance(read, Estimate) and not 0 < read.low <= read.likely <= read.high < float("inf"):
        raise msgspec.ValidationError(
            tr(
                "`{field}` is no rate: {low} to {high}, likely {likely}",
                field=name,
                low=read.low,
                high=read.high,
                likely=read.likely,
            )
        )
    return read
