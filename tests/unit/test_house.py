"""The house stays in order: imports go down only, lint and types are clean, nothing heavy is loaded at the start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *argv], cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_go_down_only():
    done = run("-c", "from importlinter.cli import lint_imports_command as c; c(['--no-cache'])")
    assert done.returncode == 0, done.stdout + done.stderr


def test_lint_is_clean():
    done = run("-m", "ruff", "check", ".")
    assert done.returncode == 0, done.stdout


def test_the_format_is_the_formatters():
    done = run("-m", "ruff", "format", "--check", ".")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.torch
def test_types_are_strict_and_hold():
    done = run("-m", "mypy")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("fsgr_tui.cli.app", ("torch", "open_clip", "h5py", "numpy", "textual", "PIL", "psutil")),
        ("fsgr_tui.cli.plan", ("torch", "open_clip", "h5py", "numpy", "textual", "PIL")),
        ("fsgr_tui.tui.app", ("torch", "open_clip", "PIL")),
        ("fsgr_tui.jobs.runner", ("torch", "open_clip", "h5py", "numpy", "textual", "rich", "click")),
        ("fsgr_tui.features.reader", ("torch", "open_clip", "textual", "rich")),
    ],
)
def test_a_module_loads_without_what_it_must_not_touch(module, forbidden):
    done = run("-c", f"import sys, {module}; print([name for name in {forbidden!r} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
