"""The extraction pipeline: one bad picture stops nothing, and standing still is told."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from fsgr_tui.core.tower import FeatureShape, find_tower  # noqa: E402 - only with the extract extra
from fsgr_tui.extract import pipeline  # noqa: E402
from fsgr_tui.extract.encoder import PixelEncoder  # noqa: E402
from fsgr_tui.extract.pipeline import Extraction  # noqa: E402
from fsgr_tui.features.images import Image  # noqa: E402

pytestmark = pytest.mark.torch


class Store:
    """Rows in memory."""

    def __init__(self, count: int) -> None:
        self.rows: dict[int, bytes] = {}
        self.refused: dict[int, str] = {}
        self.missing = list(range(count))
        self.done_count = 0

    def write(self, rows, features, class_tokens=None) -> None:
        self.rows |= {row: features[number].tobytes() for number, row in enumerate(rows)}

    def refuse(self, row, path, reason) -> None:
        self.refused[row] = reason

    def commit(self) -> None:
        pass


class Told:
    """Events in memory."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.steps: list[int] = []
        self.rates: list[float | None] = []

    def phase(self, *_) -> None:
        pass

    def progress(self, step, total=None, rate=None, stages=None, bottleneck="") -> None:
        self.steps.append(step)
        self.rates.append(rate)

    def warning(self, text) -> None:
        self.warnings.append(text)

    def refused(self, *_) -> None:
        pass


class Held(PixelEncoder):
    """An encoder that stands still until it is let go."""

    def __init__(self, shape, gate: threading.Event) -> None:
        super().__init__(shape)
        self.gate = gate

    def encode(self, pixels):
        self.gate.wait(30)
        return super().encode(pixels)


def pictures(root: Path) -> tuple[Image, ...]:
    paths = sorted((root / "images/train2014").glob("*.jpg"))[:21]
    return tuple(Image(number, str(path)) for number, path in enumerate(paths))


def extraction(images, store, told, encoder, **options) -> Extraction:
    asked = {"resize": "squash", "batch_size": 8, "workers": 2, "stopping": lambda: False, **options}
    return Extraction(store, images, encoder, events=told, **asked)


def shape() -> FeatureShape:
    return FeatureShape(find_tower("fsgr-demo-16"), stage="pixels")


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_one_cut_off_picture_among_twenty_is_refused_and_stops_nothing(demo_root, tmp_path, workers):
    images = list(pictures(demo_root))
    whole = Store(21)
    assert extraction(images, whole, Told(), PixelEncoder(shape())).run()
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(Path(images[4].path).read_bytes()[:900])
    images[4] = Image(4, str(cut))
    store = Store(21)
    assert extraction(images, store, Told(), PixelEncoder(shape()), workers=workers).run()
    assert list(store.refused) == [4]
    assert store.rows == {row: data for row, data in whole.rows.items() if row != 4}


def test_standing_still_is_told_once(demo_root, monkeypatch):
    monkeypatch.setattr(pipeline, "TELL_S", 0.01)
    monkeypatch.setattr(pipeline, "STALL_S", 0.1)
    gate, told = threading.Event(), Told()
    release = threading.Timer(0.6, gate.set)
    release.start()
    assert extraction(pictures(demo_root), Store(21), told, Held(shape(), gate)).run()
    release.join()
    assert len(told.warnings) == 1
    assert "No image was finished" in told.warnings[0]
    assert told.steps[-1] == 21
