"""How the commands tell a finding that is not fine."""

from __future__ import annotations

import sys
from typing import TextIO

from fsgr_tui.cli import text
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.preflight import Finding
from fsgr_tui.core.units import printable

_STYLES = {"stop": "red", "warn": "yellow"}
_WORDS = {"stop": mark("STOP"), "warn": mark("warn")}
_INDENT = 6


def tell(finding: Finding, stream: TextIO | None = None) -> None:
    """Found, needed, and the remedy of a stop or a warning, on standard output unless told otherwise."""
    out = stream or sys.stdout
    head = text.styled(text.pad(tr(_WORDS[finding.verdict]), 4), _STYLES[finding.verdict], out)
    text.echo(f"{head}  {text.styled(printable(finding.what), 'bold', out)}", out)
    found = finding.found
    if finding.needed:
        found = tr("{found} (needed: {needed})", found=found, needed=finding.needed)
    text.paragraph(found, indent=_INDENT, stream=out)
    for line in finding.remedy.splitlines():
        text.paragraph(f"-> {line}", indent=_INDENT, stream=out)
