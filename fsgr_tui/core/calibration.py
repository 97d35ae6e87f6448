"""What was measured on this machine: the document that a calibration keeps and later plans read instead of priors."""

from __future__ import annotations

import msgspec

from fsgr_tui.core.units import Estimate, Unknown

CALIBRATION_SCHEMA = "fsgr-tui/calibration/1"


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
        realtime_memory, precomputed_memory: GPU memory; Unknown without a GPU.
        bottleneck: one sentence: what holds the rate down and what to do about it.
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
    realtime_memory: MemoryLine | Unknown = Unknown("not measured")
    precomputed_memory: MemoryLine | Unknown = Unknown("not measured")
    bottleneck: str = ""
    schema: str = CALIBRATION_SCHEMA
