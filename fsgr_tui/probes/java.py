"""Java: whether METEOR, SPICE and the PTB tokenizer would find one that runs, and how it writes numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Final

from fsgr_tui.core.lab import Java
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import Unknown, printable

DEADLINE_S: Final = 10.0

_VERSION: Final = re.compile(r'(?:^\s*java\.version = |version ")([^\s"]+)', re.MULTILINE)
_PROPERTY: Final = r"^\s*user\.{name}(?:\.format)? = (\S+)"


def probe_java(program: str = "java", deadline_s: float = DEADLINE_S) -> Java:
    """The Java on PATH, asked with this process's environment, as a child of the training would be.

    Never raises; a Java that hangs is ended after `deadline_s` seconds.
    """
    path = shutil.which(program)
    if path is None:
        return Java("", Unknown(tr("not on PATH")), Unknown(tr("no Java")))
    try:
        done = subprocess.run(
            [path, "-XshowSettings:properties", "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_s,
            check=False,  # a Java that fails is what we are after
        )
    except subprocess.TimeoutExpired:
        return Java(
            path,
            Unknown(tr("no answer within {deadline_s:g} s", deadline_s=deadline_s)),
            Unknown(tr("it gave no answer")),
        )
    except OSError as error:
        return Java(path, Unknown(error.strerror or str(error)), Unknown(tr("it does not run")))
    said = f"{done.stderr}\n{done.stdout}"
    version = _VERSION.search(said)
    if done.returncode != 0 or version is None:
        first = next((line.strip() for line in said.splitlines() if line.strip()), tr("it printed nothing"))
        return Java(
            path,
            Unknown(tr("exit {returncode}: {first}", returncode=done.returncode, first=printable(first))),
            Unknown(tr("it does not run")),
        )
    return Java(path, version[1], _language(said))


def _language(said: str) -> str | Unknown:
    """Language and country of the format locale, as in `it_CH`; the format's own where it differs from the display's."""
    parts = []
    for name in ("language", "country"):
        found = {
            match[0].split(" = ")[0].strip(): match[1]
            for match in re.finditer(_PROPERTY.format(name=name), said, re.MULTILINE)
        }
        parts.append(found.get(f"user.{name}.format", found.get(f"user.{name}", "")))
    return "_".join(part for part in parts if part) if parts[0] else Unknown(tr("Java does not tell its locale"))
