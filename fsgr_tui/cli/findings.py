"""How the commands tell a finding that is not fine."""

from __future__ import annotations

import sys
from typing import TextIO

from fsgr_tui.cli import text
from fsgr_tui.core.preflight import Finding
from fsgr_tui.core.units import printable

_STYLES = {"stop": "red", "warn": "yellow"}
_INDENT = 6


def tell(finding: Finding, stream: TextIO | None = None) -> None:
    """Found, needed, and the remedy of a stop or a warning, on standard output unless told otherwise."""
    out = stream or sys.stdout
    mark = f"{finding.verdict.upper() if finding.verdict == 'stop' else finding.verdict:4}"
    head = text.styled(mark, _STYLES[finding.verdict], out)
    text.echo(f"{head}  {text.styled(printable(finding.what), 'bold', out)}", out)
    needed = f" (needed: {finding.needed})" if finding.needed else ""
    text.paragraph(finding.found + needed, indent=_INDENT, stream=out)
    for line in finding.remedy.splitlines():
        text.paragraph(f"-> {line}", indent=_INDENT, stream=out)
