"""What if: another GPU, another amount of free space, another data set, without any of them being there."""

from __future__ import annotations

import msgspec

from fsgr_tui.core.coco import DATASETS
from fsgr_tui.core.errors import BadRequest, did_you_mean
from fsgr_tui.core.gpus import gpus_like
from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import NOT_ASKED_SIMULATED, Gpu, GpuReport, Machine
from fsgr_tui.core.timing import best_gpu
from fsgr_tui.core.units import GIB, Unknown, format_bytes, format_gib, parse_size

NO_GPU = "none"


MEANT_AS_BYTES = 10**6
"""A number without a unit below this is taken for a forgotten unit: nobody plans for less than a megabyte."""


class WhatIf(msgspec.Struct, frozen=True):
    """What is given instead of read; everything empty for this machine as it is.

    Attributes:
        gpu: as people write it, e.g. `RTX 3090`, `8xA100 40GB`, `H100 MIG 1g.10gb`, or `none`.
        vram: memory of the GPU, e.g. `24GB`; makers count 2^30 bytes as one, and so is it here.
        disk_free: free space of the features' file system (and of the images', where they are one), e.g. `80GB`.
        dataset: `karpathy`, `coco2014` or `coco2017`, none of its images being here.
    """

    gpu: str = ""
    vram: str = ""
    disk_free: str = ""
    dataset: str = ""

    @property
    def other_gpu(self) -> bool:
        """Whether the GPU is another one than the machine's."""
        return bool(self.gpu or self.vram)

    @property
    def vram_bytes(self) -> int | None:
        """Bytes of the GPU's memory."""
        text = self.vram.strip()
        return parse_size(text.upper().replace("GB", "GIB") if text else "") if text else None

    @property
    def words(self) -> tuple[str, ...]:
        """What is simulated, one line each."""
        lines = []
        if self.gpu == NO_GPU:
            lines.append(tr("no GPU"))
        elif self.gpu:
            gpus = gpus_like(self.gpu, self.vram_bytes)
            size = gpus[0].memory_total_bytes
            each = format_gib(size) if isinstance(size, int) else tr("unified memory")
            lines.append(
                tr("GPU: {number} x {name}, {size}", number=len(gpus), name=gpus[0].name, size=each)
                if len(gpus) > 1
                else tr("GPU: {name}, {size}", name=gpus[0].name, size=each)
            )
        elif self.vram:
            lines.append(tr("GPU memory: {size}", size=format_gib(self.vram_bytes or 0)))
        if self.disk_free:
            lines.append(tr("disk: {size} free", size=format_bytes(parse_size(self.disk_free))))
        if self.dataset:
            lines.append(tr("data set: {name}, by its published counts", name=self.dataset))
        return tuple(lines)

    def checked(self) -> WhatIf:
        """This one, if all of it can be simulated.

        Raises:
            BadRequest: a size is none, or the GPU or the data set is not known; the message lists near names.
        """
        if self.dataset and self.dataset not in DATASETS:
            near = did_you_mean(self.dataset, list(DATASETS)) or tr("Known: {names}.", names=", ".join(DATASETS))
            raise BadRequest(tr("The data set {name} is not known.", name=repr(self.dataset)), near)
        if self.vram and self.gpu == NO_GPU:
            raise BadRequest(tr("--gpu none has no --vram."), tr("Leave one of them out."))
        for flag, size in (("--vram", self.vram), ("--disk-free", self.disk_free)):
            try:
                known = parse_size(size) if size else GIB
            except BadRequest as problem:
                raise BadRequest(f"{flag} {problem.what}", problem.fix) from None
            if flag == "--vram" and known < GIB // 4:
                raise BadRequest(tr("--vram {size} is less than any GPU has.", size=size), tr("Write it like 24GB."))
            if size.strip().isdigit() and known < MEANT_AS_BYTES:
                raise BadRequest(tr("{flag} {size} is {size} bytes.", flag=flag, size=size), tr("Write it like 80GB."))
        _ = self.words
        return self


def simulated(machine: Machine, what_if: WhatIf) -> Machine:
    """The machine as it would be; its host, and what was not given, stay as they are."""
    if what_if.disk_free:
        free = parse_size(what_if.disk_free)
        total = [disk.total_bytes for disk in machine.disks if isinstance(disk.total_bytes, int)]
        disks = tuple(
            msgspec.structs.replace(
                disk,
                free_bytes=free,
                total_bytes=max(free, *total) if total else free,
                quota_bytes=Unknown(NOT_ASKED_SIMULATED),
            )
            for disk in machine.disks
        )
        machine = msgspec.structs.replace(machine, disks=disks)
    if what_if.gpu == NO_GPU:
        return msgspec.structs.replace(machine, gpu_report=GpuReport("none", message=tr("no GPU (simulated)")))
    if what_if.other_gpu:
        gpus = gpus_like(what_if.gpu, what_if.vram_bytes) if what_if.gpu else (_resized(machine, what_if),)
        return msgspec.structs.replace(machine, gpu_report=GpuReport("ok", gpus))
    return machine


def _resized(machine: Machine, what_if: WhatIf) -> Gpu:
    """This machine's GPU, or one of unknown make, with other memory and idle."""
    size = what_if.vram_bytes or 0
    gpu = best_gpu(machine) or Gpu(0, "simulated-0", tr("a GPU of unknown make"), size, size, 0, 0, 0)
    return msgspec.structs.replace(
        gpu, memory_total_bytes=size, memory_free_bytes=size, memory_used_bytes=0, shared_memory=False
    )
