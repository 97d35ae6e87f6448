"""What is recorded of a job's surroundings: variables that its work depends on, and the git checkout it works in."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fsgr_tui.core.job import GitState
from fsgr_tui.core.units import Unknown

GIT_S = 1.0
"""How long `git status` may take: on a large checkout on a share it takes longer, and the start does not wait for it."""

_NAMES = frozenset({
    "PATH", "VIRTUAL_ENV", "JAVA_HOME", "TMPDIR", "TZ", "LANG", "XDG_CACHE_HOME", "PYTHONPATH", "PYTHONHOME", "PYTHONHASHSEED",
    "CUBLAS_WORKSPACE_CONFIG",
})  # fmt: skip
_PREFIXES = (
    "CONDA_", "LC_", "LD_", "CUDA_", "CUDNN_", "NVIDIA_", "NCCL_", "GLOO_", "OMP_", "MKL_", "OPENBLAS_", "KMP_", "TORCH",
    "PYTORCH_", "TRITON_", "HF_", "TRANSFORMERS_", "TOKENIZERS_", "HDF5_", "OPENCV_",
)  # fmt: skip
_SECRET = re.compile(r"TOKEN(?!IZERS)|KEY|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def recorded(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a run depends on; never one that may hold a secret.

    Inside a Slurm job the GPUs belong to the allocation, and the next one has others: they are left out there.
    """
    found = {
        name: value
        for name, value in environ.items()
        if (name in _NAMES or name.startswith(_PREFIXES)) and not _SECRET.search(name)
    }
    if "SLURM_JOB_ID" in environ:
        found.pop("CUDA_VISIBLE_DEVICES", None)
    return found


def git_state(folder: Path) -> GitState | None:
    """The checkout around a folder; None when there is none. The commit is read from its files, without git."""
    root = next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)
    if root is None:
        return None
    try:
        commit, branch = _head(root / ".git")
    except (OSError, ValueError) as error:
        return GitState(str(root), Unknown(f"{root / '.git'} cannot be read: {error}"))
    return GitState(str(root), commit, branch, _dirty(root))


def _head(git: Path) -> tuple[str | Unknown, str]:
    """Commit and branch (gitrepository-layout(5))."""
    if git.is_file():
        # A worktree or submodule: the file names the true folder.
        git = git.parent / git.read_text().partition("gitdir:")[2].strip()
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref:"):
        return head if _HASH.fullmatch(head) else Unknown("HEAD holds no commit"), ""
    ref = head.partition(":")[2].strip()
    common = git
    if (git / "commondir").is_file():
        common = git / (git / "commondir").read_text().strip()
    branch = ref.removeprefix("refs/heads/")
    for place in (git / ref, common / ref):
        if place.is_file() and _HASH.fullmatch(text := place.read_text().strip()):
            return text, branch
    packed = common / "packed-refs"
    if packed.is_file():
        for line in packed.read_text().splitlines():
            commit, _, name = line.partition(" ")
            if name == ref and _HASH.fullmatch(commit):
                return commit, branch
    if (common / "reftable").exists():
        return Unknown("its references are a table that only git reads"), branch
    return Unknown("no commit yet"), branch


def _dirty(root: Path) -> bool | Unknown:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"],
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Unknown(f"git gave no answer within {GIT_S:g} s")
    except OSError:
        return Unknown("no git command")
    if done.returncode:
        return Unknown((done.stderr.decode(errors="replace").splitlines() or ["git failed"])[0])
    return bool(done.stdout.strip())
