"""Planning: probe what is here, and let the core decide."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from fsgr_tui.core import coco, compare, steps, whatif
from fsgr_tui.core.calibration import Calibration
from fsgr_tui.core.compare import Comparison
from fsgr_tui.core.dataset import DatasetFacts
from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.language import tr
from fsgr_tui.core.machine import Disk, Machine
from fsgr_tui.core.plan import Intent, Plan
from fsgr_tui.core.planner import plan_for
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.tower import FeatureShape, Tower
from fsgr_tui.core.whatif import WhatIf
from fsgr_tui.probes.counts import CountMemory
from fsgr_tui.probes.dataset import assumed_dataset, probe_dataset
from fsgr_tui.probes.disk import probe_disk
from fsgr_tui.probes.gpu import probe_gpus
from fsgr_tui.probes.host import probe_host, suggested_workers
from fsgr_tui.probes.models import find_model

DEFAULT_IMAGE_ROOT = steps.DEFAULT_IMAGE_ROOT
DEFAULT_FEATURES_DIR = "features"


def probe_machine(paths: tuple[str, ...]) -> Machine:
    """Disks of the paths, GPUs and host, read at the same time: the slowest reading decides."""
    with ThreadPoolExecutor(3, "probe") as pool:
        gpus = pool.submit(probe_gpus)
        disks = pool.map(probe_disk, paths)
        host = pool.submit(probe_host)
        return Machine(tuple(disks), gpus.result(), host.result())


def plan(
    intent: Intent,
    image_root: str | None,
    features_dir: str = DEFAULT_FEATURES_DIR,
    what_if: WhatIf | None = None,
    *,
    recount: bool = False,
) -> Plan:
    """The plan for this machine.

    Args:
        image_root: where images are; None looks at the guide's folder, and plans with published counts without it.
        features_dir: where features would go.
        what_if: what is given instead of read.
        recount: count the images again, although an earlier count would do.

    Raises:
        BadRequest: the image root, a split, a model or a simulated GPU is not there.
    """
    what_if = what_if or WhatIf()
    return plan_for(situation(intent, image_root, features_dir, what_if, recount=recount), what_if.words)


def comparison(
    intent: Intent, image_root: str | None, features_dir: str, what_if: WhatIf, *, recount: bool = False
) -> Comparison:
    """Several choices side by side on this machine; arguments and faults as of `plan`."""
    return compare.compare(situation(intent, image_root, features_dir, what_if, recount=recount), what_if.words)


def situation(
    intent: Intent, image_root: str | None, features_dir: str, what_if: WhatIf, *, recount: bool = False
) -> Situation:
    """All that a plan is computed from; arguments and faults as of `plan`."""
    what_if.checked()
    # Before the data set is counted: a mistyped model should not have to wait for it.
    towers = _towers(intent)
    dataset = _dataset(intent, image_root, what_if, recount=recount)
    return _situation(intent, towers, dataset, features_dir, what_if)


def replan(old: Plan, features_dir: str = DEFAULT_FEATURES_DIR) -> Plan:
    """The same plan on this machine as it is now; the data set is not counted again."""
    return plan_for(_situation(old.intent, _towers(old.intent), old.dataset, features_dir, WhatIf()))


def document(plan: Plan) -> dict[str, Any]:
    """The plan's JSON document; the GPUs stand beside disks and host, too, and not only in the driver's report."""
    made: dict[str, Any] = msgspec.to_builtins(plan)
    made["machine"]["gpus"] = made["machine"]["gpu_report"]["gpus"]
    return made


def _towers(intent: Intent) -> tuple[Tower, ...]:
    towers = tuple(find_model(name) for name in intent.models or (intent.clip_model,))
    for tower in towers:
        FeatureShape(tower, intent.grid, intent.dtype or "float16").checked()
    return towers


def _dataset(intent: Intent, image_root: str | None, what_if: WhatIf, *, recount: bool) -> DatasetFacts:
    if what_if.dataset:
        if image_root is not None or intent.splits:
            raise BadRequest(
                tr(
                    "--dataset {name} plans without images, and --image-root or --split name some.",
                    name=what_if.dataset,
                ),
                tr("Leave --dataset out to plan with the images that are there."),
            )
        return assumed_dataset(coco.DATASETS[what_if.dataset], karpathy=what_if.dataset == coco.KARPATHY)
    if image_root is None and Path(DEFAULT_IMAGE_ROOT).is_dir():
        image_root = DEFAULT_IMAGE_ROOT
    return probe_dataset(image_root, intent.splits, CountMemory(), recount=recount)


def _situation(
    intent: Intent, towers: tuple[Tower, ...], dataset: DatasetFacts, features_dir: str, what_if: WhatIf
) -> Situation:
    images_path = dataset.root or DEFAULT_IMAGE_ROOT
    machine = probe_machine((images_path, features_dir))
    workers = intent.workers if intent.workers is not None else suggested_workers(machine.host.cpus)
    machine = whatif.simulated(machine, what_if)
    measured = () if what_if.other_gpu else tuple(filter(None, (_calibration(machine, tower) for tower in towers)))
    images_disk, features_disk = _disk(machine, images_path), _disk(machine, features_dir)
    return Situation(machine, dataset, intent, towers, images_disk, features_disk, workers, measured)


def _calibration(machine: Machine, tower: Tower) -> Calibration | None:
    from fsgr_tui.service.calibration import latest

    return latest(machine, tower.name)


def _disk(machine: Machine, path: str) -> Disk:
    disk = machine.disk_for(path)
    if disk is None:
        raise RuntimeError(f"{path} was not probed")
    return disk
