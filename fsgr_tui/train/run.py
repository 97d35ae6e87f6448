"""From a spec to a run: what can be refused, the device, the data, and what to say when memory runs out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.training import MODES, TrainSpec
from fsgr_tui.extract.device import chosen_device
from fsgr_tui.features.captions import read_captions
from fsgr_tui.train import rehearsal
from fsgr_tui.train.data import ShuffledGrids, open_source
from fsgr_tui.train.device import Memory, fitting_batch
from fsgr_tui.train.loop import TELL_S, Training
from fsgr_tui.train.ranks import ALONE, Ranks, join, leave

_COUNTS = {
    "batch_size": 1, "epochs": 1, "warmup": 0, "workers": 0, "max_steps": 1, "max_val_batches": 1, "min_word_count": 1,
    "max_eval_images": 1, "beam": 1, "patience": 1, "keep": 0, "save_s": 0, "processes": 1, "nodes": 1,
}  # fmt: skip


def train(
    spec: TrainSpec,
    events: EventWriter,
    stopper: Stopper,
    *,
    tell_s: float = TELL_S,
    rank: int = 0,
    store: Path | None = None,
) -> int:
    """Train a captioner.

    Args:
        spec: the run.
        events: where it tells.
        stopper: asked between steps.
        tell_s: shortest pause between two metrics.
        rank: of this process, when several train together.
        store: the file that they meet through; None when this one is alone.

    Returns:
        The exit code: 0, or 130 or 143 when stopped; the checkpoint then holds every step done.

    Raises:
        Problem: the request, the data or the machine is not fit for it, or the loss stayed non-finite.
    """
    check(spec)
    device = device_of(spec, rank)
    ranks = ALONE if store is None else join(rank, spec.world, store, device, spec.nodes)
    try:
        code = _train(spec, ranks, device, events, stopper, tell_s)
        # Nobody leaves while another one still listens.
        ranks.any(False)
        return code
    finally:
        leave()


def _train(
    spec: TrainSpec, ranks: Ranks, device: torch.device, events: EventWriter, stopper: Stopper, tell_s: float
) -> int:
    captions = read_captions(Path(spec.annotation_folder))
    for notice in captions.notices:
        events.notice(notice)
    annotations = captions.annotations
    if shared := annotations.shared_images:
        events.warning(f"{shared:,} images are in training and in dev: the validation loss flatters the captioner.")
    memory = Memory(device)
    source = open_source(spec, device, events)
    needed = {pair.image_id for pairs in (annotations.train, annotations.dev) for pair in pairs}
    source.require(needed)
    if spec.shuffle_images:
        source = ShuffledGrids(source, needed, spec.seed)
        events.notice("A control: every image has the features of another one.")
    run = None
    try:
        run = Training(
            spec, source, annotations, device=device, ranks=ranks, events=events, stopper=stopper,
            tell_s=tell_s,
        )  # fmt: skip
        return rehearsal.rehearse(run, spec, memory, events) if spec.rehearsal else run.run(memory)
    except torch.OutOfMemoryError:
        told = str(device)
    raise _out_of_memory(spec, told, run, ranks)


def check(spec: TrainSpec) -> None:
    """Refuse what no data could make right, before anything is loaded.

    Raises:
        BadRequest: a setting is out of its range, or settings do not go together.
    """
    if spec.mode not in MODES:
        raise BadRequest(f"{spec.mode!r} is no way to train.", f"Use {' or '.join(MODES)}.")
    for name, lowest in _COUNTS.items():
        value = getattr(spec, name)
        if value is not None and value < lowest:
            raise BadRequest(f"{name} is {value}.", f"It has to be {lowest} or more.")
    if not 0 < spec.learning_rate < math.inf:
        raise BadRequest(f"learning_rate is {spec.learning_rate}.", "It has to be above 0, e.g. 1e-4.")
    if not spec.exp_name or "/" in spec.exp_name:
        raise BadRequest(f"{spec.exp_name!r} cannot name checkpoints.", "Use a name without a slash.")
    if spec.size.d_model % spec.size.heads:
        raise BadRequest(
            f"d_model {spec.size.d_model} is not a multiple of {spec.size.heads} heads.", "Change one of both."
        )
    if spec.batch_size % spec.world:
        raise BadRequest(
            f"batch_size {spec.batch_size} does not divide among {spec.world} processes.",
            "It is the batch of all of them together; use a multiple.",
        )
    if spec.adapters is not None and spec.mode != "realtime":
        raise BadRequest("Adapters inside CLIP cannot be trained on stored features.", "Use --mode realtime.")
    if spec.critical.epochs:
        _check_critical(spec)


def _check_critical(spec: TrainSpec) -> None:
    if spec.critical.baseline == "mean" and spec.critical.samples < 2:
        raise BadRequest("One sample has no others to be held against.", "Use 2 or more, or the greedy baseline.")
    if not spec.evaluate or spec.best_by == "loss":
        raise BadRequest(
            "Self-critical training raises the loss on purpose, so the loss cannot name the best checkpoint.",
            "Leave --best-by loss out.",
        )


def device_of(spec: TrainSpec, rank: int) -> torch.device:
    """The device of a process.

    Raises:
        BadRequest, MachineCannot: see `chosen_device`; also when there are fewer GPUs than processes.
    """
    device = chosen_device(spec.device)
    if spec.world == 1 or (spec.processes == 1 and device.index is not None):
        return device
    if device.type == "cpu":
        # Each would take all cores.
        torch.set_num_threads(max(1, torch.get_num_threads() // spec.processes))
        return device
    if torch.cuda.device_count() < spec.processes:
        raise MachineCannot(
            f"There are {torch.cuda.device_count()} GPUs for {spec.processes} processes.", "Use a smaller --nproc."
        )
    return torch.device("cuda", rank % spec.processes)


def _out_of_memory(spec: TrainSpec, device: str, run: Training | None, ranks: Ranks) -> MachineCannot:
    """What to do when a GPU's memory ran out: the largest batch that fits, tried here where that is possible."""
    what = f"The memory of {device} does not hold a step with batch size {spec.batch_size}"
    rest = "or free the GPU (see nvidia-smi)."
    if run is None:
        return MachineCannot(f"The memory of {device} does not hold the captioner.", f"Use a smaller --d-model, {rest}")
    if ranks.world > 1 or spec.critical.epochs:
        return MachineCannot(f"{what}.", f"Use a smaller --batch-size (or --scst-samples), {rest}")
    fits = fitting_batch(_fits(run), spec.batch_size)
    if not fits:
        return MachineCannot(f"{what}, nor with 1.", f"Use a smaller --d-model or --grid 7x7, {rest}")
    return MachineCannot(f"{what}; {fits} fit.", f"Use --batch-size {fits}, {rest}")


def _fits(run: Training) -> Callable[[int], bool]:
    def fits(size: int) -> bool:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            run.try_step(size)
        except torch.OutOfMemoryError:
            return False
        return True

    return fits
