"""From a spec to a run: what can be refused, the device, the data, and what to say when memory runs out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.language import tr
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
        events.warning(
            tr(
                "{shared:,} images are in training and in dev: the validation loss flatters the captioner.",
                shared=shared,
            )
        )
    memory = Memory(device)
    source = open_source(spec, device, events)
    needed = {pair.image_id for pairs in (annotations.train, annotations.dev) for pair in pairs}
    source.require(needed)
    if spec.shuffle_images:
        source = ShuffledGrids(source, needed, spec.seed)
        events.notice(tr("A control: every image has the features of another one."))
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
        raise BadRequest(
            tr("{mode!r} is no way to train.", mode=spec.mode), tr("Use {modes}.", modes=tr(" or ").join(MODES))
        )
    for name, lowest in _COUNTS.items():
        value = getattr(spec, name)
        if value is not None and value < lowest:
            raise BadRequest(
                tr("{name} is {value}.", name=name, value=value), tr("It has to be {lowest} or more.", lowest=lowest)
            )
    if not 0 < spec.learning_rate < math.inf:
        raise BadRequest(
            tr("{name} is {value}.", name="learning_rate", value=spec.learning_rate),
            tr("It has to be above 0, e.g. 1e-4."),
        )
    if not spec.exp_name or "/" in spec.exp_name:
        raise BadRequest(tr("{name!r} cannot name checkpoints.", name=spec.exp_name), tr("Use a name without a slash."))
    if spec.size.d_model % spec.size.heads:
        raise BadRequest(
            tr(
                "d_model {d_model} is not a multiple of {heads} heads.",
                d_model=spec.size.d_model,
                heads=spec.size.heads,
            ),
            tr("Change one of both."),
        )
    if spec.batch_size % spec.world:
        raise BadRequest(
            tr(
                "batch_size {batch_size} does not divide among {processes} processes.",
                batch_size=spec.batch_size,
                processes=spec.world,
            ),
            tr("It is the batch of all of them together; use a multiple."),
        )
    if spec.adapters is not None and spec.mode != "realtime":
        raise BadRequest(tr("Adapters inside CLIP cannot be trained on stored features."), tr("Use --mode realtime."))
    if spec.critical.epochs:
        _check_critical(spec)


def _check_critical(spec: TrainSpec) -> None:
    if spec.critical.baseline == "mean" and spec.critical.samples < 2:
        raise BadRequest(
            tr("One sample has no others to be held against."), tr("Use 2 or more, or the greedy baseline.")
        )
    if not spec.evaluate or spec.best_by == "loss":
        raise BadRequest(
            tr("Self-critical training raises the loss on purpose, so the loss cannot name the best checkpoint."),
            tr("Leave --best-by loss out."),
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
            tr(
                "There are {gpus} GPUs for {processes} processes.",
                gpus=torch.cuda.device_count(),
                processes=spec.processes,
            ),
            tr("Use a smaller --nproc."),
        )
    return torch.device("cuda", rank % spec.processes)


def _out_of_memory(spec: TrainSpec, device: str, run: Training | None, ranks: Ranks) -> MachineCannot:
    """What to do when a GPU's memory ran out: the largest batch that fits, tried here where that is possible."""
    if run is None:
        return MachineCannot(
            tr("The memory of {device} does not hold the captioner.", device=device),
            tr("Use a smaller --d-model, or free the GPU (see nvidia-smi)."),
        )
    size = spec.batch_size
    if ranks.world > 1 or spec.critical.epochs:
        return MachineCannot(
            tr("The memory of {device} does not hold a step with batch size {size}.", device=device, size=size),
            tr("Use a smaller --batch-size (or --scst-samples), or free the GPU (see nvidia-smi)."),
        )
    fits = fitting_batch(_fits(run), size)
    if not fits:
        return MachineCannot(
            tr(
                "The memory of {device} does not hold a step with batch size {size}, nor with 1.",
                device=device,
                size=size,
            ),
            tr("Use a smaller --d-model or --grid 7x7, or free the GPU (see nvidia-smi)."),
        )
    return MachineCannot(
        tr(
            "The memory of {device} does not hold a step with batch size {size}; {fits} fit.",
            device=device,
            size=size,
            fits=fits,
        ),
        tr("Use --batch-size {fits}, or free the GPU (see nvidia-smi).", fits=fits),
    )


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
