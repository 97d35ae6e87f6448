"""A small checkout of the kind that labs have, written here; and the other things that a preflight meets there."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path

FLAGS = (
    "exp_name", "batch_size:int", "workers:int", "m:int", "head:int", "warmup:int", "resume_last!", "resume_best!", "text!",
    "return_index!", "adapter_b:int", "adapter_e:int", "beta:float", "features_path", "labels_path", "annotation_folder",
    "text_embed_path", "pre_vs_path", "pre_name", "logs_folder", "xe_least:int", "xe_most:int", "refine_epoch_rl:int",
    "xe_base_lr:float", "rl_base_lr:float", "epochs:int",
)  # fmt: skip


def script_text(flags=FLAGS, *, head: str = "", parse: str = "parse_args()") -> str:
    """A training script: `name` takes a value, `name!` none, `name:int` a number."""
    lines = [
        "import argparse",
        "import os",
        "import torch",
        "from data import ImageDetectionsField",
        "import evaluation",
    ]
    lines += ["from models.net import Net", head, "parser = argparse.ArgumentParser(description='train')"]
    for flag in flags:
        name, _, kind = flag.partition(":")
        more = ", action='store_true'" if name.endswith("!") else f", type={kind or 'str'}"
        lines.append(f"parser.add_argument('--{name.rstrip('!')}'{more})")
    lines.append(f"args = parser.{parse}")
    return "\n".join(lines) + "\n"


_READS = """import h5py


class ImageDetectionsField:
    def preprocess(self, image_id):
        with h5py.File(self.path) as file:
            return file[f"{image_id}_grids"][()]
"""


def write_checkout(root: Path, *, script: str | None = None, hdf5: bool = True, grid: bool = False) -> Path:
    """A checkout whose code was never meant to run: reading it is all that anybody does."""
    files = {
        "train_transformer.py": script_text() if script is None else script,
        "data/__init__.py": "from .field import ImageDetectionsField\n",
        "data/field.py": _READS if hdf5 else "class ImageDetectionsField:\n    pass\n",
        "models/__init__.py": "",
        "models/net.py": "class Net:\n    def forward(self, x):\n        return x"
        + (".view(x.shape[0], 14, 14, -1)\n" if grid else "\n"),
        "evaluation/__init__.py": "from .tokenizer import PTBTokenizer\n",
        "evaluation/tokenizer.py": "class PTBTokenizer:\n    command = ['java', '-cp', 'stanford.jar']\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def write_program(path: Path, text: str) -> Path:
    """A small program in sh."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def write_python(
    path: Path, *, packages: dict[str, str], torch: dict[str, object] | None = None, version: str = "3.8.19"
) -> Path:
    """A Python that answers the question of the interpreter's probe with these facts, for the modules that it is asked for."""
    facts = [json.dumps({"python": version, "packages": packages}), *([json.dumps(torch)] if torch else [])]
    return write_program(path, "cat <<'END'\n" + "\n".join(facts) + "\nEND")


def save_tensor(path: Path, shape: tuple[int, ...], *, storage: str = "FloatStorage", wrapped: str = "") -> Path:
    """A file as torch.save writes it, without torch: a zip with the pickle of a tensor, or of a dict that holds it."""
    parts = [b"\x80\x02"]
    if wrapped:
        parts += [b"}", b"X" + struct.pack("<I", len(wrapped)) + wrapped.encode()]
    parts.append(b"ctorch._utils\n_rebuild_tensor_v2\n(")
    parts.append(
        b"(X\x07\x00\x00\x00storagectorch\n" + storage.encode() + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ"
    )
    parts.append(b"K\x00(" + b"".join(b"J" + struct.pack("<i", side) for side in shape) + b"t")
    parts.append(b"(K\x01t\x89}tR" + (b"s" if wrapped else b"") + b".")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"".join(parts))
        archive.writestr("archive/version", "3\n")
    return path


class Vocabulary:
    """Pickled as the field's code bases pickle theirs."""

    def __init__(self, words: int) -> None:
        self.itos = [f"word{number}" for number in range(words)]
        self.stoi = {word: number for number, word in enumerate(self.itos)}


def save_vocabulary(path: Path, words: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(Vocabulary(words)))
    return path
