"""Facts for plans: disks, GPUs, machines and data sets that nobody has to own."""

from __future__ import annotations

from fsgr_tui.core import coco
from fsgr_tui.core.calibration import Calibration, MemoryLine
from fsgr_tui.core.dataset import DatasetFacts, SplitFacts, training_captions
from fsgr_tui.core.machine import CpuBudget, Disk, Gpu, GpuReport, Host, Machine, MemoryBudget
from fsgr_tui.core.plan import Criterion, Intent, Plan
from fsgr_tui.core.planner import plan_for
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.tower import KNOWN, Tower, find_tower
from fsgr_tui.core.units import GB, GIB, Estimate, Unknown

B16 = KNOWN["ViT-B-16"]
NO_QUOTA = Unknown("quota not checked: no quota command")


def split(name: str, *, found: bool = True) -> SplitFacts:
    published = coco.SPLITS[name]
    images = published.images if found else 0
    return SplitFacts(name, f"/data/{name}", images, images * coco.AVERAGE_JPEG_BYTES, published.images)


def dataset(*names: str, found: bool = True) -> DatasetFacts:
    splits = tuple(split(name, found=found) for name in names or coco.KARPATHY_SPLITS)
    return DatasetFacts("/data/images" if found else "", splits, training_captions(splits), assumed=not found)


def disk(
    free: int | Unknown = 500 * GB,
    mount: str = "/data",
    *,
    writable: bool = True,
    quota: int | Unknown = NO_QUOTA,
    inodes: int | Unknown = 10**9,
    filesystem: str = "ext4",
    total: int | Unknown = 2000 * GB,
) -> Disk:
    return Disk(f"{mount}/features", mount, filesystem, f"/dev{mount}", total, free, quota, inodes, writable)


def gpu(
    name: str = "NVIDIA GeForce RTX 3090",
    free: int | Unknown = 24 * GIB,
    total: int | Unknown = 24 * GIB,
    index: int = 0,
    *,
    elsewhere: int = 0,
    mig: bool = False,
    shared: bool = False,
) -> Gpu:
    used = total - free if isinstance(total, int) and isinstance(free, int) else Unknown("not told")
    return Gpu(index, f"GPU-{index}", name, total, free, used, 0, elsewhere, mig, shared)


def host(cpus: int = 16, memory: int | Unknown = 64 * GIB, source: str = "host", cpu: str = "AMD EPYC 7302") -> Host:
    budget = memory if isinstance(memory, Unknown) else MemoryBudget(memory, memory - 4 * GIB, source)
    return Host("node", "Linux 6.8", "3.11.7", cpu, CpuBudget(cpus, source, max(cpus, 16)), budget)


def machine(
    *gpus: Gpu, on: Host | None = None, report: GpuReport | None = None, disks: tuple[Disk, ...] = ()
) -> Machine:
    found = GpuReport("ok", gpus, "555.42") if gpus else GpuReport("no_driver", message="no NVIDIA driver here")
    return Machine(disks or (disk(),), report or found, on or host())


def situation(
    free: int | Unknown = 500 * GB,
    *gpus: Gpu,
    facts: DatasetFacts | None = None,
    features: Disk | None = None,
    images: Disk | None = None,
    on: Host | None = None,
    report: GpuReport | None = None,
    towers: tuple[Tower, ...] = (),
    measured: tuple[Calibration, ...] = (),
    workers: int = 15,
    **intent,
) -> Situation:
    wanted = Intent(**intent)
    target = features or disk(free)
    named = towers or tuple(find_tower(name) for name in wanted.models or (wanted.clip_model,))
    place = images or target
    here = machine(*gpus, on=on, report=report, disks=(place, target) if place != target else (target,))
    return Situation(here, facts or dataset(), wanted, named, place, target, workers, measured)


def plan(free: int | Unknown = 500 * GB, *gpus: Gpu, **more) -> Plan:
    """The plan for so much free space, these GPUs, and an intent; the images are here unless said otherwise."""
    return plan_for(situation(free, *gpus, **more))


def rows(made: Plan) -> dict[str, Criterion]:
    return {row.name: row for row in made.recommendation.criteria}


def votes(made: Plan) -> dict[str, str]:
    return {name: row.vote for name, row in rows(made).items()}


def calibration(**changes) -> Calibration:
    """What a bench on a 3090 might have kept."""
    rate = lambda value, unit="images/s": Estimate.around(value, 0.05, unit, "measured")  # noqa: E731
    known = {
        "machine": "node, AMD EPYC 7302", "device": "NVIDIA GeForce RTX 3090", "clip_model": "ViT-B-16", "precision": "fp16",
        "measured_at": "2026-11-24T10:00:00Z", "workers": 15, "decode": rate(4000), "encode": rate(1500), "extract": rate(1400),
        "write_bytes_per_s": Estimate.around(9e8, 0.05, "bytes/s", "measured"), "read": rate(5000, "rows/s"),
        "realtime": rate(300, "pairs/s"), "precomputed": rate(1500, "pairs/s"), "realtime_batch": 64, "precomputed_batch": 150,
        "realtime_memory": MemoryLine(2 * GB, 100_000_000), "precomputed_memory": MemoryLine(GB, 20_000_000),
    }  # fmt: skip
    return Calibration(**{**known, **changes})
