"""The commands of a plan, as argument lists that run as they stand."""

from __future__ import annotations

from fsgr_tui.core import coco
from fsgr_tui.core.decision import Decision, model_file
from fsgr_tui.core.language import tr
from fsgr_tui.core.plan import Intent, Step

DEFAULT_IMAGE_ROOT = "datasets/coco/images"
"""The guide's folder."""

ANNOTATION_FOLDER = "m2_annotations"
STAGED_EPOCHS = 2
"""The guide's first week: two or three epochs, to see the loss fall."""

LOOK_STEPS = 100
"""Steps of a quick check: enough to see that the loss falls."""

LONGEST_STAGED_S = 3 * 86_400
"""Realtime epochs that take longer are no first look."""

LEAST_STAGED_EPOCHS = 10

_BLOCKS = {"ViT-B": 12, "ViT-L": 24, "ViT-H": 32, "fsgr-demo": 3}
"""Transformer blocks of the published towers, and of the one that comes with this package."""


def feature_path(folder: str, clip_model: str, grid: str, splits: tuple[str, ...]) -> str:
    """A file name that tells what is in it, e.g. `features/coco_karpathy_vit-b-16_7x7.hdf5`."""
    return f"{folder.rstrip('/')}/coco_{'_'.join(splits)}_{clip_model.lower()}_{grid}.hdf5"


def commands(decision: Decision, *, keep_all: bool) -> tuple[Step, ...]:
    """What to run next.

    Args:
        keep_all: whether the files of all models fit beside each other; otherwise the first model's come alone.
    """
    if decision.mode == "none":
        return ()
    if decision.mode == "realtime":
        return _pixel_steps(decision) if decision.cache else (_realtime(decision),)
    models = [tower.name for tower in decision.facts.situation.towers]
    if len(models) == 1 or not keep_all:
        note = (
            "" if len(models) == 1 else tr("One model's file at a time: delete it, then plan {model}.", model=models[1])
        )
        return _precomputed(decision, models[0], "", note)
    return tuple(step for name in models for step in _precomputed(decision, name, f"-{name.lower()}", ""))


def staged(decision: Decision, now: tuple[Step, ...]) -> tuple[Step, ...]:
    """The guide's staged strategy: two realtime epochs first, then everything on stored features.

    Empty when it does not fit: when only one way is possible or wanted, the training is short anyway, or two
    realtime epochs take days.
    """
    facts, intent = decision.facts, decision.facts.situation.intent
    long = intent.planned_epochs >= LEAST_STAGED_EPOCHS
    brief = STAGED_EPOCHS * facts.time.realtime_epoch.likely <= LONGEST_STAGED_S
    if decision.mode != "precomputed" or decision.blocked("realtime") or intent.adapters or not (long and brief):
        return ()
    first = _realtime(decision, name="first-look", epochs=STAGED_EPOCHS, exp_name="first_look")
    later = tuple(Step(step.what, step.argv, step.needs or (first.what,), step.outputs, step.note) for step in now)
    return (first, *later)


def _realtime(
    decision: Decision,
    name: str = "train",
    epochs: int | None = None,
    exp_name: str = "",
    pictures: tuple[str, ...] = (),
) -> Step:
    """Realtime training, from the images or from `pictures`, the flags that name a pixel cache."""
    situation = decision.facts.situation
    images = pictures or ("--image-root", _root(decision), *_split_flags(situation.dataset.split_names))
    batch = _batch_that_fits(decision.facts.memory.realtime_batch, decision.facts.memory.largest_realtime_batch)
    argv = (
        "fsgr-tui", "train", "--mode", "realtime", *images,
        "--clip-model", situation.tower.name, "--weights", situation.intent.weights, *_grid_flags(decision), *_adapter_flags(decision),
        "--annotation-folder", ANNOTATION_FOLDER, "--batch-size", str(batch),
        *_length(situation.intent, epochs), *(("--exp-name", exp_name) if exp_name else ()),
    )  # fmt: skip
    note = tr("To see the loss fall; its curve is not comparable with the later ones.") if epochs else ""
    return Step(name, argv, (), ("checkpoints",), note)


def _length(intent: Intent, epochs: int | None) -> tuple[str, ...]:
    if intent.quick_check:
        return ("--epochs", "1", "--max-steps", str(LOOK_STEPS))
    return ("--epochs", str(epochs or intent.epochs))


def _grid_flags(decision: Decision) -> tuple[str, ...]:
    return ("--grid", decision.facts.wanted.grid)


def _precomputed(decision: Decision, model: str, suffix: str, note: str) -> tuple[Step, ...]:
    situation, rung = decision.facts.situation, decision.facts.chosen or decision.facts.rungs[-1]
    grid = model_file(next(each for each in situation.towers if each.name == model), rung).shape.grid
    splits = _short(rung.splits)
    path = feature_path(situation.features_disk.path, model, grid, splits)
    extract = (
        "fsgr-tui", "extract", "--image-root", _root(decision), *_split_flags(rung.splits), "--output-path", path,
        "--clip-model", model, "--weights", situation.intent.weights, "--grid", grid, "--dtype", rung.dtype,
        # Run once more, the step goes on where it was, and is done at once when the file is whole.
        "--resume",
    )  # fmt: skip
    check = ("fsgr-tui", "check", path, "--image-root", _root(decision), *_split_flags(rung.splits))
    batch = _batch_that_fits(decision.facts.memory.precomputed_batch, decision.facts.memory.largest_precomputed_batch)
    train = (
        "fsgr-tui", "train", "--mode", "precomputed", "--features-path", path, "--annotation-folder", ANNOTATION_FOLDER,
        "--batch-size", str(batch), "--epochs", str(situation.intent.epochs), *(("--exp-name", f"fsgr{suffix}") if suffix else ()),
    )  # fmt: skip
    names = [f"{what}{suffix}" for what in ("extract", "check", "train")]
    return (
        Step(names[0], extract, (), (path,), note),
        Step(names[1], check, (names[0],)),
        Step(names[2], train, (names[1],), ("checkpoints",)),
    )


def _pixel_steps(decision: Decision) -> tuple[Step, ...]:
    situation = decision.facts.situation
    names = situation.dataset.split_names
    path = feature_path(situation.features_disk.path, situation.tower.name, "pixels", _short(names))
    extract = (
        "fsgr-tui", "extract", "--image-root", _root(decision), *_split_flags(names), "--output-path", path,
        "--clip-model", situation.tower.name, "--weights", situation.intent.weights, "--stage", "pixels", "--resume",
    )  # fmt: skip
    check = ("fsgr-tui", "check", path, "--image-root", _root(decision), *_split_flags(names))
    train = _realtime(decision, pictures=("--pixels", path))
    return (
        Step("extract-pixels", extract, (), (path,)),
        Step("check-pixels", check, ("extract-pixels",)),
        Step(train.what, train.argv, ("check-pixels",), train.outputs),
    )


def _adapter_flags(decision: Decision) -> tuple[str, ...]:
    """FSGR's adapters lie in the second half of the tower: blocks 6 to 11 of ViT-B/16."""
    if not decision.facts.situation.intent.adapters:
        return ()
    blocks = next(
        (count for name, count in _BLOCKS.items() if decision.facts.situation.tower.name.startswith(name)), 12
    )
    return ("--adapter-b", str(blocks // 2), "--adapter-e", str(blocks - 1))


def _batch_that_fits(wanted: int, largest: object) -> int:
    """The planned batch, or the largest one that fits where that is smaller."""
    return min(wanted, largest) if isinstance(largest, int) and largest > 0 else wanted


def _root(decision: Decision) -> str:
    return decision.facts.situation.dataset.root or DEFAULT_IMAGE_ROOT


def _short(splits: tuple[str, ...]) -> tuple[str, ...]:
    return (coco.KARPATHY,) if set(splits) == set(coco.KARPATHY_SPLITS) else splits


def _split_flags(splits: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for name in _short(splits) for part in ("--split", name))
