"""The demo: the whole way on a small data set that is made here, with the numbers that it measured."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.language import tr
from fsgr_tui.core.plan import Intent
from fsgr_tui.core.tower import FeatureShape, find_tower
from fsgr_tui.core.training import MODES, CaptionerSize, Mode, TrainSpec
from fsgr_tui.features.check import CheckReport
from fsgr_tui.service import training
from fsgr_tui.service.checking import CheckRequest
from fsgr_tui.service.extraction import ExtractRequest, default_workers
from fsgr_tui.service.markdown import Rows
from fsgr_tui.service.model_choice import require_packages
from fsgr_tui.service.training_request import TrainRequest

GUIDE_SPEED_UP = "3-5x"
"""Of section 1 of the guide."""

DEMO_SCHEMA = "fsgr-tui/demo/1"
DEMO_MODEL = "fsgr-demo-16"
DEMO_WEIGHTS = "random:0"
TRAIN_IMAGES, VAL_IMAGES = 200, 80
SPLITS = ("train2014", "val2014")
_EPOCHS: dict[Mode, int] = {"realtime": 2, "precomputed": 8}
"""Realtime takes a multiple of the time and is there to be compared, step by step."""

_BATCH = 32
STATED_CIDER = 1.1
"""What the captioner reaches on the demo's own data and the control does not: with seeds 0 to 2 it came to 1.56-1.85, the
control to 0.53-0.73 (best of eight epochs, 20 images held out)."""

CONTROL = "control"
_SIZE = CaptionerSize(d_model=128, layers=1, heads=4, feed_forward=256, dropout=0.0)


class Demo(msgspec.Struct, frozen=True):
    """Where the demo works and what it uses.

    Attributes:
        root: its folder; everything it makes lies there.
    """

    root: str
    clip_model: str = DEMO_MODEL
    weights: str = DEMO_WEIGHTS

    @property
    def image_root(self) -> str:
        """The generated images."""
        return f"{self.root}/images"

    @property
    def annotations(self) -> str:
        """The generated captions and id files."""
        return f"{self.root}/m2_annotations"

    @property
    def features(self) -> str:
        """The feature file."""
        return f"{self.root}/features/demo_{find_tower(self.clip_model).name.lower()}_7x7.hdf5"

    @property
    def model(self) -> ModelChoice:
        """The tower, with its stored grid."""
        return ModelChoice(clip_model=self.clip_model, weights=self.weights)

    @property
    def intent(self) -> Intent:
        """What the plan is asked for."""
        return Intent(
            clip_model=self.clip_model, splits=SPLITS, epochs=max(_EPOCHS.values()), experiments=2, batch_size=_BATCH
        )

    def extraction(self) -> ExtractRequest:
        """The extraction of both splits into one file."""
        return ExtractRequest(
            image_root=self.image_root, splits=SPLITS, output=self.features, model=self.model, batch_size=_BATCH,
            workers=default_workers(), overwrite=True, shown=("fsgr-tui", "demo"),
        )  # fmt: skip

    def check(self) -> CheckRequest:
        """The check of every row, against the annotations, with eight images extracted again."""
        return CheckRequest(
            path=self.features, image_root=self.image_root, splits=SPLITS, annotations=self.annotations, deep=True, recompute=8,
            weights=self.weights,
        )  # fmt: skip

    def training(self, mode: Mode, *, control: bool = False) -> TrainRequest:
        """The same short training in either mode; as a control, with the images' features exchanged."""
        spec = TrainSpec(
            mode=mode, annotation_folder=self.annotations, features=self.features, model=self.model,
            output=f"{self.root}/checkpoints", exp_name=f"demo_{CONTROL if control else mode}", size=_SIZE,
            epochs=_EPOCHS[mode], batch_size=_BATCH, learning_rate=1e-3, warmup=40, beam=3,
            workers=default_workers() if mode == "realtime" else 0, shuffle_images=control, overwrite=True,
        )  # fmt: skip
        return TrainRequest(
            spec=spec, image_root=self.image_root, splits=SPLITS, java="never", shown=("fsgr-tui", "demo")
        )


class DemoResult(msgspec.Struct, frozen=True):
    """What the demo measured; the keys of `extract` and `train` are those of the jobs' results."""

    root: str
    clip_model: str
    weights: str
    estimated_bytes: int
    extract: dict[str, Any]
    check: CheckReport
    train: dict[str, dict[str, Any]]
    seconds: float
    stated_cider: float = STATED_CIDER
    schema: str = DEMO_SCHEMA

    @property
    def cider(self) -> float:
        """The best CIDEr-D of the captioner."""
        return self.train["precomputed"]["best"]["value"] or 0.0

    @property
    def control_cider(self) -> float:
        """The best CIDEr-D of the one that saw other images' features."""
        return self.train[CONTROL]["best"]["value"] or 0.0

    @property
    def good(self) -> bool:
        """Whether every step did what it should: a good file, losses that fell, and captions that follow the pictures."""
        fell = all(run["last_loss"] < run["first_loss"] for run in self.train.values())
        return self.check.good and fell and self.control_cider < self.stated_cider <= self.cider


def make_data(demo: Demo) -> dict[str, Any]:
    """Make the images, captions and id files; what is there already is kept.

    Returns:
        Counts and bytes.

    Raises:
        MissingExtra: Pillow is not installed.
        MachineCannot: the folder cannot be used.
    """
    require_packages("demo")
    argv = [sys.executable, "-m", "fsgr_tui.demo", demo.root, "--train", str(TRAIN_IMAGES), "--val", str(VAL_IMAGES)]
    made = subprocess.run(argv, capture_output=True, text=True, check=False)
    if made.returncode:
        # As this program tells a problem: what is wrong, and below it, indented, the remedy.
        lines = [line for line in made.stderr.splitlines() if line.strip()] or [""]
        told = lines[-2:] if lines[-1].startswith(" ") else lines[-1:]
        raise MachineCannot(
            told[0] or tr("The demo data was not made (exit code {code}).", code=made.returncode),
            told[1].strip() if len(told) > 1 else tr("Choose another --dir."),
        )
    facts: dict[str, Any] = msgspec.json.decode(made.stdout)
    return facts


def estimated_bytes(demo: Demo, images: int) -> int:
    """What the planner's arithmetic says the features take."""
    return FeatureShape(find_tower(demo.clip_model), "7x7", "float16").feature_bytes(images)


def require(status: JobStatus) -> dict[str, Any]:
    """The result of a step's job.

    Raises:
        MachineCannot: the step failed, so that the demo cannot go on.
    """
    if status.state != "done" or not status.result:
        told = (
            status.cause.text
            if status.cause
            else tr("{state}, exit code {code}", state=tr(status.state), code=status.exit_code)
        )
        raise MachineCannot(
            tr("The step {step} did not finish: {told}", step=status.kind, told=told),
            tr("The log: fsgr-tui logs {name}", name=status.name),
        )
    return dict(status.result)


def summary(result: DemoResult) -> Rows:
    """The closing table: (what, realtime, precomputed, the guide's V100 realtime and precomputed)."""
    rows: Rows = [
        (what, here, there, guide_here, guide_there)
        for (what, here, guide_here), (_, there, guide_there) in zip(
            *(training.measured_rows(result.train[mode]) for mode in MODES), strict=True
        )
    ]
    realtime, precomputed = (result.train[mode] for mode in MODES)
    faster = precomputed["pairs_per_s"] / realtime["pairs_per_s"]
    said = tr("{number} said", number=GUIDE_SPEED_UP)
    rows.insert(training.EPOCH_ROW, (tr("faster by"), "1x", f"{faster:.1f}x", "1x", said))
    step, *losses = same_step(realtime, precomputed)
    rows.append((tr("validation loss, step {step:,.0f}", step=step), *(f"{loss:.3f}" for loss in losses), "-", "-"))
    return rows


def same_step(one: dict[str, Any], other: dict[str, Any]) -> tuple[float, float, float]:
    """The last step after which both runs were validated, and both validation losses there."""
    theirs = {point["step"]: point["val_loss"] for point in other["curve"]}
    step, loss = [(point["step"], point["val_loss"]) for point in one["curve"] if point["step"] in theirs][-1]
    return step, loss, theirs[step]


def verdict(result: DemoResult) -> str:
    """Whether the captions follow the pictures, in a sentence."""
    reached = tr(
        "The captioner reaches CIDEr-D {score:.2f} on {images} images that it never saw, {judged} the stated {stated:g};",
        score=result.cider,
        images=VAL_IMAGES // 4,
        judged=tr("above") if result.cider >= result.stated_cider else tr("NOT above"),
        stated=result.stated_cider,
    )
    control = tr(
        "the control reaches {score:.2f} with every image's features exchanged for another one's, {judged}.",
        score=result.control_cider,
        judged=tr("below it") if result.control_cider < result.stated_cider else tr("NOT below it"),
    )
    return tr("{reached} {control}", reached=reached, control=control)
