"""Whole plans of ten typical machines, as a user reads them in 80 columns, and some of them in Chinese.

After a wanted change: `FSGR_TUI_GOLDEN=write pytest tests/unit/test_plan_golden.py`, then read what changed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.cells import cell_len

from fsgr_tui.cli import plan_view, text
from fsgr_tui.core import language
from fsgr_tui.core.compare import compare
from fsgr_tui.core.machine import GpuReport
from fsgr_tui.core.planner import plan_for
from fsgr_tui.core.situation import Situation
from fsgr_tui.core.units import GB, GIB, Unknown
from tests.fakes.planning import calibration, dataset, disk, gpu, host, situation

GOLDEN = Path(__file__).parent.parent / "golden"
NO_SIZE = Unknown("the driver reports no memory size")


def eight_a100() -> Situation:
    cards = [
        gpu("NVIDIA A100-SXM4-40GB", (38 if n else 3) * GIB, 40 * GIB, n, elsewhere=0 if n else 36 * GIB)
        for n in range(8)
    ]
    home = disk(62 * GB, "/home/lab", quota=62 * GB, inodes=180_000, filesystem="nfs4", total=80_000 * GB)
    shared = disk(
        0,
        "/datasets",
        writable=False,
        filesystem="lustre",
        total=900_000 * GB,
        inodes=Unknown("this file system reports no inode count"),
    )
    return situation(
        0, *cards, features=home, images=shared, on=host(128, 1000 * GIB), experiments=30, grid="native", workers=16
    )


MACHINES = {
    "laptop without a GPU": lambda: situation(
        120 * GB, on=host(8, 16 * GIB, cpu="Intel Core i7-1260P"), workers=7, quick_check=True
    ),
    "3090 with 80 GB free": lambda: situation(80 * GB, gpu(), experiments=20, grid="native"),
    "V100 16 GB": lambda: situation(
        400 * GB, gpu("Tesla V100-SXM2-16GB", 15 * GIB, 16 * GIB), on=host(10, 64 * GIB, "Slurm"), workers=9, paper=True, adapters=True
    ),
    "8xA100 node with a quota": eight_a100,
    "H100 MIG slice": lambda: situation(
        300 * GB, gpu("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 9 * GIB, 10 * GIB, mig=True), on=host(6, 48 * GIB, "cgroup"), workers=5,
        models=("ViT-B/16", "ViT-L/14"), clip_model="ViT-B/16", experiments=4,
    ),
    "login node": lambda: situation(
        0, features=disk(900 * GB, "/scratch", filesystem="lustre"), report=GpuReport("no_driver", message="no NVIDIA driver here"),
        on=host(2, 8 * GIB, "cgroup"), workers=1, experiments=5,
    ),
    "container with a cgroup limit": lambda: situation(
        0, gpu("NVIDIA GeForce RTX 4090", 9 * GIB, 24 * GIB, elsewhere=14 * GIB), features=disk(45 * GB, "/workspace", filesystem="overlay"),
        on=host(3, 12 * GIB, "cgroup"), workers=2, epochs=30, measured=(calibration(device="NVIDIA GeForce RTX 4090", workers=2),),
    ),
    "unified memory": lambda: situation(
        700 * GB, gpu("NVIDIA GB10", NO_SIZE, NO_SIZE, shared=True), on=host(20, 119 * GIB, cpu="Cortex-X925"), workers=15, labels=True, grid="native"
    ),
    "full disk": lambda: situation(1 * GB, gpu(), epochs=20),
    "images not yet downloaded": lambda: situation(
        0, gpu("NVIDIA A100-SXM4-80GB", 79 * GIB, 80 * GIB), facts=dataset("train2017", "val2017", found=False),
        images=disk(60 * GB, "/nfs/datasets", filesystem="nfs4"), features=disk(30 * GB, "/local"), on=host(16, 256 * GIB),
    ),
}  # fmt: skip


IN_CHINESE = ("3090 with 80 GB free", "full disk", "8xA100 node with a quota")


@pytest.fixture
def in_chinese():
    language.use("zh_CN")
    yield
    language.use("en")


@pytest.fixture
def in_80_columns(monkeypatch):
    monkeypatch.setattr(text, "width", lambda _stream=None: 80)


@pytest.mark.usefixtures("in_80_columns")
@pytest.mark.parametrize("name", MACHINES)
def test_the_plan_of_a_typical_machine(name, capsys):
    plan_view.show(plan_for(MACHINES[name]()))
    hold(name, capsys.readouterr().out)


@pytest.mark.usefixtures("in_80_columns")
def test_choices_side_by_side(capsys):
    models = ("ViT-B/16", "ViT-L/14")
    plan_view.show_comparison(compare(situation(80 * GB, gpu(), models=models, clip_model=models[0], experiments=4)))
    hold("choices side by side", capsys.readouterr().out)


@pytest.mark.usefixtures("in_80_columns", "in_chinese")
@pytest.mark.parametrize("name", IN_CHINESE)
def test_the_plan_in_chinese(name, capsys):
    plan_view.show(plan_for(MACHINES[name]()))
    hold(f"zh {name}", capsys.readouterr().out)


@pytest.mark.usefixtures("in_80_columns", "in_chinese")
def test_choices_side_by_side_in_chinese(capsys):
    models = ("ViT-B/16", "ViT-L/14")
    plan_view.show_comparison(compare(situation(80 * GB, gpu(), models=models, clip_model=models[0], experiments=4)))
    hold("zh choices side by side", capsys.readouterr().out)


def hold(name, printed):
    """Hold a text against the one that was read before."""
    too_wide = [line for line in printed.splitlines() if cell_len(line) > 80 and not line.startswith("  fsgr-tui ")]
    golden = GOLDEN / f"{name.replace(' ', '-')}.txt"
    if os.environ.get("FSGR_TUI_GOLDEN") == "write":
        golden.write_text(printed, "utf-8")
    assert too_wide == []
    assert printed == golden.read_text("utf-8"), f"{golden} differs; see this module's first lines."
