"""From facts to the plan. Pure: the same facts give the same plan, whoever asks."""

from __future__ import annotations

from fsgr_tui.core import coco, memory, timing
from fsgr_tui.core.criteria import Facts, recommend
from fsgr_tui.core.dataset import DatasetFacts
from fsgr_tui.core.guide import GUIDE_PRECOMPUTED_BATCH, GUIDE_REALTIME_BATCH, guide_rows
from fsgr_tui.core.machine import Disk, Machine
from fsgr_tui.core.plan import Intent, MemoryPlan, Plan, Recommendation, Rung, Step, TimePlan
from fsgr_tui.core.storage import breakdown, ladder
from fsgr_tui.core.tower import FeatureShape, Tower
from fsgr_tui.core.units import Unknown


def make_plan(
    machine: Machine,
    dataset: DatasetFacts,
    intent: Intent,
    tower: Tower,
    images_disk: Disk,
    features_disk: Disk,
    workers: int,
) -> Plan:
    """The plan for these facts.

    Args:
        tower: the vision tower that `intent.clip_model` names.
        images_disk, features_disk: where images are, and where features would go.
        workers: decoding workers.
    """
    FeatureShape(tower, intent.grid, intent.dtype or "float16").checked()
    times = _times(machine, dataset, intent, tower, workers)
    memories = _memory(machine, intent, tower)
    same = images_disk.mount == features_disk.mount
    rungs = ladder(tower, dataset, intent, features_disk, same)
    wanted = _wanted(rungs, intent)
    chosen = _chosen(rungs, wanted)
    facts = Facts(intent, tower, machine, features_disk, rungs, wanted, chosen, times, memories)
    verdict = recommend(facts)
    stored = chosen if verdict.mode == "precomputed" else None
    shape = FeatureShape(tower, stored.grid, stored.dtype) if stored else None
    return Plan(
        machine=machine,
        dataset=dataset,
        intent=intent,
        recommendation=verdict,
        ladder=rungs,
        storage=breakdown(dataset, intent, shape, stored.splits if stored else (), images_disk, features_disk),
        time=times,
        memory=memories,
        guide=guide_rows(),
        commands=_commands(verdict, dataset, intent, features_disk),
    )


def _wanted(rungs: tuple[Rung, ...], intent: Intent) -> Rung:
    """The rung that the user asked for; float16 unless float32 was asked for: half the bytes for a relative error of 2e-4."""
    dtype = intent.dtype or "float16"
    grid = intent.grid if any(rung.grid == intent.grid for rung in rungs) else rungs[0].grid
    return next(rung for rung in rungs if rung.grid == grid and rung.dtype == dtype)


def _chosen(rungs: tuple[Rung, ...], wanted: Rung) -> Rung | None:
    """The wanted rung, or the largest one below it that fits; unknown space counts as fitting."""
    below = rungs[rungs.index(wanted) :]
    return next((rung for rung in below if rung.fits is not False), None)


def _times(machine: Machine, dataset: DatasetFacts, intent: Intent, tower: Tower, workers: int) -> TimePlan:
    rate = timing.extraction_rate(tower, machine, workers)
    realtime, precomputed = timing.pair_rates(tower, machine, workers, adapters=intent.adapters)
    extraction = rate.seconds_for(dataset.images)
    realtime_epoch = realtime.seconds_for(dataset.captions)
    precomputed_epoch = precomputed.seconds_for(dataset.captions)
    planned = intent.epochs * (intent.experiments or 1)
    models = intent.clip_swaps + 1
    point = timing.break_even_epochs(extraction, realtime_epoch, precomputed_epoch)
    return TimePlan(
        extraction_rate=rate,
        extraction=extraction,
        realtime_epoch=realtime_epoch,
        precomputed_epoch=precomputed_epoch,
        realtime_total=realtime_epoch.times(planned),
        precomputed_total=extraction.times(models).plus(precomputed_epoch.times(planned)),
        break_even_epochs=point or Unknown("precomputing saves no time here"),
        epochs=intent.epochs,
        experiments=intent.experiments or 1,
        captions=dataset.captions,
    )


def _memory(machine: Machine, intent: Intent, tower: Tower) -> MemoryPlan:
    realtime_batch = intent.batch_size or GUIDE_REALTIME_BATCH
    precomputed_batch = intent.batch_size or GUIDE_PRECOMPUTED_BATCH
    gpu = timing.best_gpu(machine)
    free = gpu.memory_free_bytes if gpu else Unknown(machine.gpu_report.message or "no GPU")
    known = isinstance(free, int)
    return MemoryPlan(
        realtime=memory.realtime_bytes(tower, realtime_batch),
        precomputed=memory.precomputed_bytes(precomputed_batch),
        realtime_batch=realtime_batch,
        precomputed_batch=precomputed_batch,
        free_bytes=free,
        largest_realtime_batch=memory.largest_batch(tower, free, realtime=True) if known else free,  # type: ignore[arg-type]
        largest_precomputed_batch=memory.largest_batch(tower, free, realtime=False) if known else free,  # type: ignore[arg-type]
    )


def _commands(verdict: Recommendation, dataset: DatasetFacts, intent: Intent, features_disk: Disk) -> tuple[Step, ...]:
    """What to run next, ready to paste."""
    root = dataset.root or "IMAGE_ROOT"
    choice = verdict.choice
    splits = choice.splits if set(choice.splits) != set(coco.KARPATHY_SPLITS) else (coco.KARPATHY,)
    split_flags = tuple(part for name in splits for part in ("--split", name))
    features = feature_path(features_disk.path, choice.clip_model, choice.grid, splits)
    model = ("--clip-model", choice.clip_model)
    if verdict.mode == "realtime":
        argv = ("fsgr-tui", "train", "--mode", "realtime", "--image-root", root, *split_flags, *model, "--weights", "openai",
                "--annotation-folder", "m2_annotations", "--batch-size", str(intent.batch_size or GUIDE_REALTIME_BATCH))  # fmt: skip
        return (Step("train", argv),)
    if verdict.mode == "none":
        return ()
    extract = ("fsgr-tui", "extract", "--image-root", root, *split_flags, "--output-path", features, *model,
               "--weights", "openai", "--grid", choice.grid, "--dtype", choice.dtype)  # fmt: skip
    check = ("fsgr-tui", "check", features, "--image-root", root, *split_flags)
    train = ("fsgr-tui", "train", "--mode", "precomputed", "--features-path", features, "--annotation-folder", "m2_annotations",
             "--batch-size", str(intent.batch_size or GUIDE_PRECOMPUTED_BATCH))  # fmt: skip
    return (Step("extract", extract), Step("check", check), Step("train", train))


def feature_path(folder: str, clip_model: str, grid: str, splits: tuple[str, ...]) -> str:
    """A file name that tells what is in it, e.g. `features/coco_karpathy_vit-b-16_7x7.hdf5`."""
    return f"{folder.rstrip('/')}/coco_{'_'.join(splits)}_{clip_model.lower()}_{grid}.hdf5"
