"""What a plan is computed from: all facts together, and the same facts with one of them changed."""

from __future__ import annotations

from typing import Any

import msgspec

from fsgr_tui.core.calibration import Calibration
from fsgr_tui.core.dataset import DatasetFacts
from fsgr_tui.core.gpus import gpus_like
from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import Disk, Gpu, Machine
from fsgr_tui.core.plan import Intent
from fsgr_tui.core.timing import best_gpu
from fsgr_tui.core.tower import FeatureShape, Tower


class Situation(msgspec.Struct, frozen=True):
    """The facts behind a plan.

    Attributes:
        towers: the vision towers that the intent names, the first one first.
        images_disk, features_disk: where images are, and where features would go.
        workers: decoding workers.
        measured: one calibration for each tower that has one.
    """

    machine: Machine
    dataset: DatasetFacts
    intent: Intent
    towers: tuple[Tower, ...]
    images_disk: Disk
    features_disk: Disk
    workers: int
    measured: tuple[Calibration, ...] = ()

    @property
    def tower(self) -> Tower:
        """The tower that the plan is for."""
        return self.towers[0]

    @property
    def gpu(self) -> Gpu | None:
        """The GPU with the most free memory."""
        return best_gpu(self.machine)

    @property
    def one_disk(self) -> bool:
        """Whether images and features share their space."""
        return same_space(self.images_disk, self.features_disk)

    def measured_for(self, tower: Tower) -> Calibration | None:
        """What was measured here with a tower."""
        return next((each for each in self.measured if each.clip_model == tower.name), None)

    def asked_shape(self, tower: Tower) -> FeatureShape:
        """The features of a tower that were asked for; float16 unless float32 was: half the bytes, 2e-4 relative error."""
        return FeatureShape(tower, self.intent.grid, self.intent.dtype or "float16")

    def with_intent(self, **changes: Any) -> Situation:
        """The same situation with another intent."""
        return msgspec.structs.replace(self, intent=msgspec.structs.replace(self.intent, **changes))

    def with_free(self, free_bytes: int) -> Situation:
        """The same situation with other free space on the features' file system."""
        features = msgspec.structs.replace(self.features_disk, free_bytes=free_bytes)
        images = msgspec.structs.replace(self.images_disk, free_bytes=free_bytes) if self.one_disk else self.images_disk
        return msgspec.structs.replace(self, features_disk=features, images_disk=images)

    def with_gpu_memory(self, free_bytes: int) -> Situation:
        """The same situation with other free memory on its GPU; one of unknown make where there is none."""
        gpu = self.gpu or msgspec.structs.replace(gpus_like("RTX 3090")[0], name=tr("a GPU"))
        one = msgspec.structs.replace(gpu, memory_free_bytes=free_bytes, shared_memory=False)
        report = msgspec.structs.replace(self.machine.gpu_report, status="ok", gpus=(one,))
        return msgspec.structs.replace(self, machine=msgspec.structs.replace(self.machine, gpu_report=report))


def same_space(one: Disk, other: Disk) -> bool:
    """Whether two paths draw on the same free space; two whose device could not be read do not."""
    return one.device == other.device and "unknown" not in one.device
