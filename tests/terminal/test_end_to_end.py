"""The whole way through the screen, as a user goes it over a line that breaks: plan, extract, lose the terminal, check."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import RunFolder, all_runs, runner_pid
from tests.conftest import own_folders
from tests.terminal.in_tmux import Tmux
from tests.terminal.on_pty import environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.torch,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux"),
]


@pytest.fixture
def opened(tmp_path, own_runs, demo_root):
    """Opens the screen in an empty folder beside which a demo data set lies; jobs that are left are stopped."""
    (tmp_path / "work").mkdir()
    env = environment(str(tmp_path), **own_folders(own_runs.parent))

    def open_screen(name: str) -> Tmux:
        args = ["--image-root", str(demo_root / "images")]
        return Tmux(tmp_path / name, args, env, tmp_path / "work", (110, 36))

    yield open_screen
    for run in all_runs():
        if runner_pid(run) is not None:
            control.stop(RunFolder(run.folder), gentle_s=5)


def test_plan_extract_lose_the_terminal_and_find_it_all_well(opened, tmp_path):
    pytest.importorskip("torch")
    with opened("first") as screen:
        screen.wait_for("Found here", "36 images in")
        screen.press("Enter")
        screen.wait_for("PRECOMPUTED", "--clip-model ViT-B-16", without="Found here")
        plan_the_demo_model(screen)
        screen.press_until("e", "Ready", "36 images")
        screen.press_until("C-s", "Started extract-")
        screen.kill_session()

    (run,) = all_runs()
    with opened("second") as screen:
        # What was planned is there again, without a greeting.
        screen.wait_for("PRECOMPUTED", "fsgr-demo-16")
        screen.press("3")
        # `done` is a column's heading, too.
        screen.wait_for_line(run.name[:20], "done")
        # Jobs has an output and a key for its check, too.
        shown = screen.press_until("4", "held against", ".hdf5", "c Check")
        assert "unfinished" not in shown
        screen.press_until("c", "GOOD   36 images")
        screen.press("q")
        screen.wait_for("no server running")

    assert run.read_status().state == "done"
    (made,) = Path(tmp_path, "work", "features").glob("*.hdf5")
    assert made.stat().st_size > 0


def plan_the_demo_model(screen: Tmux) -> None:
    """Name the small model with random weights, as the intent's form asks for it."""
    screen.press_until("i", "What is planned", "Enter plan with this")
    screen.wait_for(without="looking ...")
    screen.press("Down", "Down", "Down", "Down")
    screen.fill("CLIP model", "fsgr-demo-16")
    screen.press("Down")
    screen.fill("weights", "random:0")
    screen.press("Enter")
    screen.wait_for("--clip-model fsgr-demo-16", without="What is planned")
