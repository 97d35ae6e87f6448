"""The shell completes commands and their options, also those that lead from one command to another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from fsgr_tui.cli.app import COMMANDS
from tests.conftest import run_cli

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")

COMPLETE = """
compopt() { :; }
complete() { :; }
eval "$SCRIPT"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_fsgr_tui_completion "$PROGRAM"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The program under its own name, as a user's PATH has it."""
    path = tmp_path_factory.mktemp("bin") / "fsgr-tui"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m fsgr_tui "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def completed(program):
    """What bash offers for the last of some words, through the function that `completion bash` prints."""
    script = run_cli("completion", "bash")
    assert script.returncode == 0, script.stderr

    def offered(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", COMPLETE, "bash", "fsgr-tui", *words],
            env={**os.environ, "SCRIPT": script.stdout, "PROGRAM": str(program)}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return offered


def test_every_command_is_offered(completed):
    assert set(completed("")) == set(COMMANDS)
    assert completed("re") == [name for name in COMMANDS if name.startswith("re")]


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("run", "--de"), "--detach"),
        (("resume", "--ag"), "--again"),
        (("rm", "--en"), "--ended"),
        (("report", "--ht"), "--html"),
        (("bench", "--sec"), "--seconds"),
        (("integrate", "--ap"), "--apply"),
        (("look", "--pa"), "--patch"),
        (("preflight", "tr"), "train"),
        (("preflight", "extract", "--pas"), "--pasted"),
        (("text-embed", "--output-p"), "--output-path"),
        (("extract", "--grid", "8"), "8x8"),
        (("--pl",), "--plan"),
        (("--plan", "--experi"), "--experiments"),
        (("train", "--rep"), "--repo"),
        (("preflight", "train", "--rep"), "--repo"),
        (("train", "--repo", "/lab", "--py"), "--python"),
        (("preflight", "train", "--repo", "/lab", "--voc"), "--vocabulary"),
    ],
)
def test_options_are_offered(completed, words, option):
    assert completed(*words) == [option]


def test_no_file_is_read_while_a_line_is_completed(completed):
    assert completed("preflight", "train", "--pasted", "/nowhere", "--featu") == ["--features-path"]
    completed("preflight", "train", "--pasted", "")
