"""What all tests share: folders of their own for runs and for what is remembered, one demo data set, one feature file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# As the runner does for its children; it has to be set before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Expectations are English, whatever the locale of the one who runs the tests.
os.environ["FSGR_TUI_LANG"] = "en"

import numpy as np
import pytest

from fsgr_tui.features.build import FeatureBuild
from fsgr_tui.features.manifest import Manifest

WAITING = ("slurm", "terminal")
"""Folders whose tests wait for other programs most of their time."""


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores, since many tests wait."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process is left with it at the end."""
    items.sort(key=lambda item: not any(part in WAITING for part in item.path.parts))


def own_folders(parent: Path) -> dict[str, str]:
    """The variables that keep the program away from the user's own folders."""
    return {
        "FSGR_TUI_RUNS": str(parent / "runs"),
        "FSGR_TUI_STATE": str(parent / "fsgr-tui"),
        "XDG_STATE_HOME": str(parent / "state"),
        "XDG_CACHE_HOME": str(parent / "cache"),
    }


@pytest.fixture(scope="session", autouse=True)
def nothing_of_the_user(tmp_path_factory):
    """Fixtures of more than one test, too, leave the user's folders alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in own_folders(tmp_path_factory.mktemp("session")).items():
            patch.setenv(name, folder)
        yield


@pytest.fixture(autouse=True)
def own_runs(tmp_path_factory, monkeypatch):
    """Jobs of a test, and what the program remembers, go into folders of its own; returns that of the jobs.

    What the user's own folders hold would change results: a bench's rates go into a plan, and so do remembered counts.
    """
    parent = tmp_path_factory.mktemp("user")
    for name, folder in own_folders(parent).items():
        monkeypatch.setenv(name, folder)
    runs = parent / "runs"
    runs.mkdir()
    return runs


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory) -> Path:
    """A small demo data set: 24 training and 12 validation images."""
    from fsgr_tui.demo.dataset import write_dataset

    root = tmp_path_factory.mktemp("demo") / "data"
    write_dataset(root, train=24, val=12, seed=0)
    return root


def run_cli(*argv: str, cwd: Path | None = None, env: dict[str, str] | None = None, timeout: float = 120):
    """The real program in a process of its own, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "fsgr_tui", *argv],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="session")
def demo_features(demo_root, tmp_path_factory) -> Path:
    """Features of the demo data set: demo tower, random weights, fp32."""
    path = tmp_path_factory.mktemp("features") / "demo.hdf5"
    done = run_cli(
        "extract", "--image-root", str(demo_root / "images"), "--split", "karpathy", "--output-path", str(path),
        "--clip-model", "fsgr-demo-16", "--weights", "random:0", "--precision", "fp32", "--batch-size", "16",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return path


def make_manifest(**changes) -> Manifest:
    """A manifest of rows small enough for thousands of them."""
    values = {
        "clip_model": "ViT-B-16", "weights": "random:0", "weights_sha256": "0" * 64, "activation": "gelu", "image_px": 224,
        "resize": "squash", "interpolation": "bicubic", "antialias": True, "decoder": "Pillow", "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25), "stage": "post-ln_post", "grid": "7x7", "pooling": "average 2x2", "tokens": 49, "width": 8,
        "dtype": "float16", "precision": "fp32", "splits": ("train2014",),
    }  # fmt: skip
    return Manifest(**{**values, **changes})


def smooth_rows(count: int, tokens: int = 49, width: int = 8, seed: int = 0, dtype=np.float16) -> np.ndarray:
    """Rows whose neighbouring tokens resemble each other, as real features do."""
    generator = np.random.default_rng(seed)
    side = round(tokens**0.5)
    y, x = np.mgrid[0:side, 0:side].reshape(2, -1) / side
    phases = generator.uniform(0, 6, (count, 1, width))
    waves = np.sin(3 * x[None, :, None] * generator.uniform(0.5, 1, (count, 1, width)) + phases) + y[None, :, None]
    return waves.astype(dtype)


def build_file(path: Path, ids, rows=None, **manifest) -> Path:
    """A published feature file."""
    made = make_manifest(**manifest)
    build = FeatureBuild.start(path, made, ids)
    data = smooth_rows(len(ids), made.tokens, made.width) if rows is None else rows
    build.write(range(len(ids)), data.astype(made.dtype))
    build.publish()
    build.close()
    return path
