"""Whether the weights of an open_clip tag are in the cache, told by a short child process: importing open_clip takes seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from typing import Final

from fsgr_tui.core.lab import CachedWeights
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import Unknown, printable

DEADLINE_S: Final = 60.0

# Nothing is downloaded: the cache is only looked into, at the places where open_clip 3 puts files of either source.
_QUESTION: Final = """
import json, os, sys
from open_clip.pretrained import get_pretrained_cfg
model, tag = sys.argv[1:]
config = get_pretrained_cfg(model, tag)
found, cache, source = "", "", ""
if config.get("hf_hub"):
    import huggingface_hub
    cache, source = huggingface_hub.constants.HF_HUB_CACHE, config["hf_hub"]
    repository, name = os.path.split(source)
    for name in [name] if name else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]:
        names = [os.path.splitext(name)[0] + ".safetensors", name] if name.endswith((".bin", ".pt")) else [name]
        for each in names:
            path = huggingface_hub.try_to_load_from_cache(repository, each)
            found = found or (path if isinstance(path, str) else "")
elif config.get("url"):
    cache, source = os.path.expanduser("~/.cache/clip"), config["url"]
    path = os.path.join(cache, os.path.basename(source))
    found = path if os.path.isfile(path) else ""
print(json.dumps({"known": bool(config), "path": found, "cache": cache, "source": source}))
"""


def probe_cached_weights(model: str, tag: str, deadline_s: float = DEADLINE_S) -> CachedWeights | Unknown:
    """Where the weights of a tag lie. Never raises, and never reaches for the network.

    Args:
        model: open_clip's spelling, e.g. "ViT-B-16".
        tag: e.g. "openai".
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _QUESTION, model, tag],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_s,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Unknown(tr("open_clip gave no answer within {deadline_s:g} s", deadline_s=deadline_s))
    for line in reversed(done.stdout.splitlines()):
        with suppress(ValueError):
            told = json.loads(line)
            return CachedWeights(model, tag, **told)
    return Unknown(printable((done.stderr.strip().splitlines() or [tr("open_clip printed nothing")])[-1]))
