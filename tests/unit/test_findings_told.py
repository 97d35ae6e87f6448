"""A finding is told in one way, wherever it is told."""

from __future__ import annotations

import io

import pytest

from fsgr_tui.cli import findings
from fsgr_tui.core.preflight import Finding

PATH = f"/{'long/' * 30}f.hdf5"


@pytest.mark.parametrize(
    ("finding", "lines"),
    [
        (
            Finding("features", f"{PATH} is not there", "a feature file", "stop", "Make it.\nOr name another."),
            ["STOP  features", f"      {PATH}", "      is not there (needed: a feature file)", "      -> Make it.", "      -> Or name another."],
        ),
        (Finding("log-out", "jobs end with it", verdict="warn"), ["warn  log-out", "      jobs end with it"]),
    ],
)  # fmt: skip
def test_a_finding_has_its_verdict_what_was_found_and_the_remedy_and_its_paths_stay_whole(finding, lines):
    out = io.StringIO()
    findings.tell(finding, out)
    assert out.getvalue().splitlines() == lines


def test_without_a_stream_it_goes_to_standard_output(capsys):
    findings.tell(Finding("x", "y", verdict="warn"))
    assert capsys.readouterr() == ("warn  x\n      y\n", "")
