"""`python -m fsgr_tui.service.gpus`: the GPUs as JSON, for a runner that looks for a free one.

A process of its own, so that a driver that hangs cannot hold the runner, and the runner needs no driver library.
"""

from __future__ import annotations

import sys
from typing import Final

from fsgr_tui.core import jsontext
from fsgr_tui.probes.gpu import probe_gpus

ASK: Final = (sys.executable, "-m", "fsgr_tui.service.gpus")
"""The command that asks."""

if __name__ == "__main__":
    sys.stdout.buffer.write(jsontext.encode(probe_gpus()))
