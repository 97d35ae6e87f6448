"""Planning: probe what is here, and let the core decide."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fsgr_tui.core.dataset import DatasetFacts
from fsgr_tui.core.machine import Disk, Machine
from fsgr_tui.core.plan import Intent, Plan
from fsgr_tui.core.planner import make_plan
from fsgr_tui.core.tower import Tower
from fsgr_tui.probes.dataset import probe_dataset
from fsgr_tui.probes.disk import probe_disk
from fsgr_tui.probes.gpu import probe_gpus
from fsgr_tui.probes.host import probe_host, suggested_workers
from fsgr_tui.probes.models import find_model

DEFAULT_IMAGE_ROOT = "datasets/coco/images"
DEFAULT_FEATURES_DIR = "features"


def probe_machine(paths: tuple[str, ...]) -> Machine:
    """Disks of the paths, GPUs and host, read at the same time: the slowest reading decides."""
    with ThreadPoolExecutor(3, "probe") as pool:
        gpus = pool.submit(probe_gpus)
        disks = pool.map(probe_disk, paths)
        host = pool.submit(probe_host)
        return Machine(tuple(disks), gpus.result(), host.result())


def plan(intent: Intent, image_root: str | None, features_dir: str = DEFAULT_FEATURES_DIR) -> Plan:
    """The plan for this machine.

    Args:
        image_root: where images are; None looks at the guide's folder, and plans with published counts without it.
        features_dir: where features would go.

    Raises:
        BadRequest: the image root, a split or the model is not there.
    """
    if image_root is None and Path(DEFAULT_IMAGE_ROOT).is_dir():
        image_root = DEFAULT_IMAGE_ROOT
    # Before the data set is counted: a mistyped model should not have to wait for it.
    tower = find_model(intent.clip_model)
    return _on_this_machine(intent, tower, probe_dataset(image_root, intent.splits), features_dir)


def replan(old: Plan, features_dir: str = DEFAULT_FEATURES_DIR) -> Plan:
    """The same plan on this machine as it is now; the data set is not counted again."""
    return _on_this_machine(old.intent, find_model(old.intent.clip_model), old.dataset, features_dir)


def _on_this_machine(intent: Intent, tower: Tower, dataset: DatasetFacts, features_dir: str) -> Plan:
    images_path = dataset.root or DEFAULT_IMAGE_ROOT
    machine = probe_machine((images_path, features_dir))
    images_disk, features_disk = _disk(machine, images_path), _disk(machine, features_dir)
    workers = intent.workers if intent.workers is not None else suggested_workers(machine.host.cpus)
    return make_plan(machine, dataset, intent, tower, images_disk, features_disk, workers)


def _disk(machine: Machine, path: str) -> Disk:
    disk = machine.disk_for(path)
    if disk is None:
        raise RuntimeError(f"{path} was not probed")
    return disk
