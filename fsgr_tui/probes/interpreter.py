"""Another Python (a conda env of the lab): what it has, told by a short child process of that interpreter."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.lab import Interpreter, TorchBuild
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import Unknown, printable

DEADLINE_S: Final = 60.0
"""Importing torch takes a second from a warm disk, and most of a minute from a busy network file system."""

# Runs on Python 3.6 and later. The first line is out before torch is imported, so that a torch that hangs hides nothing
# else. Packages are looked up without being imported: importing would run them.
_QUESTION: Final = """
import importlib.util, json, sys
def say(**facts):
    sys.stdout.write(json.dumps(facts) + "\\n"); sys.stdout.flush()
def there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except Exception:
        return False
try:
    from importlib.metadata import version
except ImportError:
    def version(name): raise LookupError
def told(name):
    for distribution in (name, name.replace("_", "-"), NAMES.get(name, name)):
        try:
            return version(distribution)
        except Exception:
            pass
    return ""
NAMES = {"open_clip": "open_clip_torch", "PIL": "pillow", "cv2": "opencv-python", "yaml": "PyYAML", "sklearn": "scikit-learn"}
asked = sys.argv[1:]
say(python=sys.version.split()[0], packages={name: told(name) for name in asked if there(name)})
if "torch" in asked and there("torch"):
    try:
        import torch
        say(torch=str(torch.__version__), cuda=str(torch.version.cuda or ""), gpus=torch.cuda.device_count() if torch.cuda.is_available() else 0)
    except BaseException as error:
        say(failed="%s: %s" % (type(error).__name__, error))
"""


def probe_interpreter(python: str, modules: Iterable[str], deadline_s: float = DEADLINE_S) -> Interpreter:
    """Ask a Python which of the modules it has, and what its torch is.

    Args:
        python: path of the program, or its name on PATH.
        modules: names of top-level modules; with "torch" among them, torch is imported in the child.
        deadline_s: then the child is ended, and what it had not told by then is Unknown.

    Raises:
        BadRequest: it is no program.
        MachineCannot: it does not run, or gave no answer at all.
    """
    program = _program(python)
    asked = sorted(set(modules))
    # From a folder without modules: what lies in the working folder must not be found in the place of a package.
    child = subprocess.Popen(
        [program, "-c", _QUESTION, *asked],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd="/",
        start_new_session=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    late = False
    try:
        out, err = child.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        late = True
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
    facts = _facts(out)
    if "python" not in facts:
        last = printable((err.strip().splitlines() or [tr("it printed nothing")])[-1])
        why = (
            tr("no answer within {deadline_s:g} s", deadline_s=deadline_s)
            if late
            else tr("exit {returncode}: {last}", returncode=child.returncode, last=last)
        )
        raise MachineCannot(
            tr("The Python {python} does not answer ({why}).", python=python, why=why),
            tr("Try it by hand, or name another with --python."),
        )
    packages: dict[str, str] = facts["packages"]
    return Interpreter(
        path=python,
        version=facts["python"],
        packages=packages,
        absent=tuple(name for name in asked if name not in packages),
        torch=_torch(
            facts,
            asked,
            packages,
            tr("no answer within {deadline_s:g} s", deadline_s=deadline_s)
            if late
            else tr("its import ended the child ({returncode})", returncode=child.returncode),
        ),
        late=late,
    )


def _program(python: str) -> str:
    path = Path(python).expanduser()
    if path.is_dir():
        inside = path / "bin" / "python"
        raise BadRequest(
            tr("--python {python} is a folder.", python=python),
            tr("Name the program in it: {inside}.", inside=inside)
            if inside.exists()
            else tr("Name the program in it."),
        )
    found = shutil.which(str(path))
    if found is None:
        raise BadRequest(
            tr("--python {python} cannot be run.", python=python)
            if path.exists()
            else tr("--python {python} is not there.", python=python),
            tr("Name a Python program, e.g. ~/miniconda3/envs/fsgr/bin/python."),
        )
    return str(Path(found).absolute())


def _facts(out: str) -> dict[str, Any]:
    """All facts of the child's lines; other lines (a sitecustomize that prints) are passed over."""
    facts: dict[str, Any] = {}
    for line in out.splitlines():
        with suppress(ValueError):
            told = json.loads(line)
            facts |= told if isinstance(told, dict) else {}
    return facts


def _torch(facts: dict[str, Any], asked: list[str], packages: dict[str, str], silence: str) -> TorchBuild | Unknown:
    if "torch" not in asked:
        return Unknown(tr("not asked"))
    if "torch" not in packages:
        return Unknown(tr("not installed there"))
    if "failed" in facts:
        return Unknown(printable(str(facts["failed"]).splitlines()[0]))
    if "torch" not in facts:
        return Unknown(silence)
    return TorchBuild(facts["torch"], facts["cuda"], int(facts["gpus"]))
