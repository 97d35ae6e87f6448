"""What the tests of training share: a small data set with its features, and runs that are heard."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import msgspec
import numpy as np

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.coco import image_id
from fsgr_tui.core.event import EVENTS_VARIABLE, EventReader, EventWriter, Metric, Notice, Result
from fsgr_tui.core.extraction import ExtractSpec, ModelChoice
from fsgr_tui.core.training import CaptionerSize, TrainSpec
from fsgr_tui.demo.dataset import write_dataset
from fsgr_tui.features.images import Image, write_image_list

MODEL = ModelChoice(clip_model="fsgr-demo-16", weights="random:0", precision="fp32", device="cpu")
SMALL = CaptionerSize(d_model=64, layers=1, heads=4, feed_forward=128, dropout=0.1)
TRAIN, VAL, BATCH = 30, 16, 16
# 30 pictures of train2014 and 8 of restval with five captions each.
PER_EPOCH = (TRAIN + VAL // 2) * 5 // BATCH

numbers = itertools.count()


@dataclass(frozen=True)
class Data:
    """Where the data set, its features and its pixel cache are."""

    root: Path
    annotations: Path
    images_file: Path
    features: Path
    pixels: Path

    def spec(self, **changes) -> TrainSpec:
        """A run of four steps, unless told otherwise."""
        given = {
            "mode": "precomputed",
            "annotation_folder": str(self.annotations),
            "output": str(self.root / f"run{next(numbers)}"),
            "exp_name": "demo",
            "features": str(self.features),
            "images_file": str(self.images_file),
            "model": MODEL,
            "size": SMALL,
            "batch_size": BATCH,
            "learning_rate": 3e-3,
            "warmup": 4,
            "max_steps": 4,
            "workers": 0,
            "device": "cpu",
            "beam": 2,
            **changes,
        }
        return TrainSpec(**given)


class StopAfter(Stopper):
    """Takes no signals: wishes to stop when it is asked for the n-th time."""

    def __init__(self, asked: float = math.inf) -> None:
        self.signal = None
        self._left = asked

    def __call__(self) -> bool:
        """Whether to stop."""
        self._left -= 1
        if self._left < 0:
            self.signal = signal.SIGTERM
        return self.signal is not None


@dataclass(frozen=True)
class Told:
    """What a run told, and its exit code."""

    code: int
    events: list

    def all(self, kind):
        """Its events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def losses(self) -> dict[int, float]:
        """By step."""
        return self.metric("loss")

    def metric(self, name: str) -> dict[int, float]:
        """The values of a metric by step."""
        return {event.step: event.values[name] for event in self.all(Metric) if name in event.values}

    @property
    def warnings(self) -> list[str]:
        """Their texts."""
        return [event.text for event in self.all(Notice) if event.level == "warning"]

    @property
    def notices(self) -> list[str]:
        """Their texts, warnings included."""
        return [event.text for event in self.all(Notice)]

    @property
    def result(self) -> dict:
        """The last one."""
        return self.all(Result)[-1].values


def run(spec: TrainSpec, stopper: Stopper | None = None) -> Told:
    """Train in this process and hear every step."""
    from fsgr_tui.train.run import train

    told = Path(spec.output).with_name(f"events{next(numbers)}.jsonl")
    code = train(spec, EventWriter(str(told)), stopper or StopAfter(), tell_s=0.0)
    return Told(code, list(EventReader(told).new()))


def start_child(module: str, spec, folder: Path) -> tuple[subprocess.Popen, Path]:
    """A child of the program in a session of its own, and the file of its events."""
    number = next(numbers)
    spec_file, events = folder / f"spec{number}.json", folder / f"events{number}.jsonl"
    spec_file.write_bytes(msgspec.json.encode(spec))
    environment = {**os.environ, EVENTS_VARIABLE: str(events)}
    child = subprocess.Popen([sys.executable, "-m", module, str(spec_file)], env=environment, start_new_session=True)
    return child, events


def image_ids(data: Data, name: str) -> list[int]:
    """Image ids of one of M2's lists, an id a caption."""
    entries = [
        entry
        for split in ("train2014", "val2014")
        for entry in json.loads((data.annotations / f"captions_{split}.json").read_text())["annotations"]
    ]
    by_id = {entry["id"]: entry["image_id"] for entry in entries}
    return [by_id[int(number)] for number in np.load(data.annotations / f"coco_{name}_ids.npy")]


def write_foreign_features(path: Path, ids, poisoned=()) -> None:
    """A file of another program: random features, some of them not a number."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number in ids:
            rows = np.full((49, 32), np.nan) if number in poisoned else rng.standard_normal((49, 32))
            file[f"{number}_grids"] = rows.astype(np.float32)


def make_data(root: Path) -> Data:
    """The data set in a new folder, with both files extracted from it."""
    write_dataset(root / "coco", train=TRAIN, val=VAL)
    pictures = sorted((root / "coco" / "images").rglob("*.jpg"))
    write_image_list(root / "images", [Image(image_id(path.name), str(path)) for path in pictures])
    made = {"features": MODEL, "pixels": msgspec.structs.replace(MODEL, stage="pixels")}
    children = [
        start_child(
            "fsgr_tui.extract",
            ExtractSpec(model=model, images_file=str(root / "images"), output=str(root / f"{name}.hdf5"), workers=1),
            root,
        )[0]
        for name, model in made.items()
    ]
    assert [child.wait(120) for child in children] == [0, 0]
    return Data(root, root / "coco" / "m2_annotations", root / "images", root / "features.hdf5", root / "pixels.hdf5")
