"""The demo: the whole way on a small data set that is made here, with the numbers that it measured."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec

from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.extraction import ModelChoice
from fsgr_tui.core.guide import (
    GUIDE_PRECOMPUTED_BATCH,
    GUIDE_PRECOMPUTED_STEP_S,
    GUIDE_REALTIME_BATCH,
    GUIDE_REALTIME_STEP_S,
)
from fsgr_tui.core.job import JobStatus
from fsgr_tui.core.plan import Intent
from fsgr_tui.core.tower import FeatureShape, find_tower
from fsgr_tui.core.training import MODES, CaptionerSize, Mode
from fsgr_tui.core.units import format_bytes, format_duration
from fsgr_tui.features.check import CheckReport
from fsgr_tui.service.checking import CheckRequest
from fsgr_tui.service.extraction import ExtractRequest, default_workers
from fsgr_tui.service.markdown import Rows
from fsgr_tui.service.model_choice import require_packages
from fsgr_tui.service.training import TrainRequest

DEMO_SCHEMA = "fsgr-tui/demo/1"
DEMO_MODEL = "fsgr-demo-16"
DEMO_WEIGHTS = "random:0"
TRAIN_IMAGES, VAL_IMAGES = 200, 80
SPLITS = ("train2014", "val2014")
_EPOCHS = 4
_BATCH = 32
_SIZE = CaptionerSize(d_model=128, layers=1, heads=4, feed_forward=256, dropout=0.0)

GUIDE_REALTIME_MEMORY, GUIDE_PRECOMPUTED_MEMORY = "22 GB", "16 GB"


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
        return Intent(clip_model=self.clip_model, splits=SPLITS, epochs=_EPOCHS, experiments=2, batch_size=_BATCH)

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

    def training(self, mode: Mode) -> TrainRequest:
        """The same short training in either mode."""
        return TrainRequest(
            mode=mode, annotation_folder=self.annotations, features=self.features, image_root=self.image_root, splits=SPLITS,
            model=self.model, output=f"{self.root}/checkpoints", exp_name=f"demo_{mode}", size=_SIZE, epochs=_EPOCHS,
            batch_size=_BATCH, learning_rate=1e-3, warmup=40, workers=default_workers() if mode == "realtime" else 0,
            overwrite=True, shown=("fsgr-tui", "demo"),
        )  # fmt: skip


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
    schema: str = DEMO_SCHEMA

    @property
    def good(self) -> bool:
        """Whether every step did what it should: a good file, and losses that fell in both modes."""
        return self.check.good and all(run["last_loss"] < run["first_loss"] for run in self.train.values())


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
        lines = [line for line in made.stderr.splitlines() if line.strip()]
        raise MachineCannot(
            "\n".join(lines[-2:]) or f"The demo data was not made (exit code {made.returncode}).",
            "Choose another --dir.",
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
        told = status.cause.text if status.cause else f"{status.state}, exit code {status.exit_code}"
        raise MachineCannot(f"The step {status.kind} did not finish: {told}", f"The log: fsgr-tui logs {status.name}")
    return dict(status.result)


def summary(result: DemoResult) -> Rows:
    """The closing table: (what, realtime, precomputed, the guide's V100 realtime and precomputed)."""
    realtime, precomputed = (result.train[mode] for mode in MODES)
    faster = precomputed["pairs_per_s"] / realtime["pairs_per_s"]
    guide = (GUIDE_REALTIME_STEP_S / GUIDE_REALTIME_BATCH) / (GUIDE_PRECOMPUTED_STEP_S / GUIDE_PRECOMPUTED_BATCH)
    return [
        ("batch size", str(realtime["batch_size"]), str(precomputed["batch_size"]), str(GUIDE_REALTIME_BATCH), str(GUIDE_PRECOMPUTED_BATCH)),
        ("time per step", format_duration(realtime["step_s"]), format_duration(precomputed["step_s"]),
         f"{GUIDE_REALTIME_STEP_S} s", f"{GUIDE_PRECOMPUTED_STEP_S} s"),
        ("caption pairs/s", f"{realtime['pairs_per_s']:,.0f}", f"{precomputed['pairs_per_s']:,.0f}",
         f"{GUIDE_REALTIME_BATCH / GUIDE_REALTIME_STEP_S:.0f}", f"{GUIDE_PRECOMPUTED_BATCH / GUIDE_PRECOMPUTED_STEP_S:.0f}"),
        ("faster by", "1x", f"{faster:.1f}x", "1x", f"{guide:.1f}x"),
        ("memory beyond start", _memory(realtime), _memory(precomputed), GUIDE_REALTIME_MEMORY, GUIDE_PRECOMPUTED_MEMORY),
        ("loss, first to last", _loss(realtime), _loss(precomputed), "-", "-"),
    ]  # fmt: skip


def _memory(run: dict[str, Any]) -> str:
    """Peak less what the process held before any model was loaded: importing PyTorch alone takes hundreds of megabytes."""
    return f"{format_bytes(run['peak_memory_bytes'] - run['baseline_memory_bytes'])} {run['memory_kind']}"


def _loss(run: dict[str, Any]) -> str:
    return f"{run['first_loss']:.2f} to {run['last_loss']:.2f}"
