"""A lab's checkout: what its training script takes and does, read from the source. Nothing in it is imported or run."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

from fsgr_tui.core.errors import BadRequest, did_you_mean
from fsgr_tui.core.lab import Checkout, Copies, Place, ScriptFlag
from fsgr_tui.core.language import tr

SCRIPT: Final = "train_transformer.py"
"""The name of the training script in the FSGR, RSTNet and DLCT code bases; M2 Transformer calls its own train.py."""

_SCRIPTS: Final = (SCRIPT, "train.py")
_MOST_FILES: Final = 5000
_MOST_SOURCE_BYTES: Final = 2**20
_SKIPPED_FOLDERS: Final = frozenset({
    "__pycache__", "node_modules", "site-packages", "venv", "env", "datasets", "features", "save_models", "tensorboard_logs",
    "build", "dist",
})  # fmt: skip
# The two files that a lab edits by hand and copies before it does: old copies are what a wrong import finds.
_EDITED: Final = ("field",)
_COPY_MARKS: Final = r"(?:[ _.-]*(?:copy|bak|old|orig|backup|new|v?\d+|\(\d+\)|\(copy\)))+"


def probe_checkout(root: Path, script: str = "") -> Checkout:
    """Read a checkout.

    Args:
        root: its folder.
        script: the training script, relative to it; empty for `train_transformer.py` or `train.py`.

    Raises:
        BadRequest: there is no such folder, no such script, or it is no Python.
    """
    if not root.is_dir():
        raise BadRequest(
            tr("There is no checkout {root}.", root=root), tr("Name the folder with the training script in --repo.")
        )
    sources = sorted(python_sources(root))
    chosen = _chosen_script(root, script, sources)
    read, unread = read_modules(root, chosen, sources)
    if chosen not in read:
        raise BadRequest(
            tr("{path} cannot be read: {reason}.", path=root / chosen, reason=unread[0].text),
            tr("Mend it, or name another script with --script-name."),
        )
    seen = _Seen(root)
    for path, tree in read.items():
        seen.look(path, tree)
    own = _local_names(sources) | sys.stdlib_module_names
    return Checkout(
        root=str(root),
        script=str(chosen),
        flags=tuple(seen.flags),
        takes_any_flag=seen.takes_any_flag,
        unread=tuple(unread),
        device_lines=tuple(seen.device_lines),
        grid_lines=tuple(seen.grid_lines),
        spacy_models=tuple(seen.spacy_models),
        java_lines=tuple(seen.java_lines),
        imports=frozenset(seen.imports - own),
        perhaps=frozenset(seen.imports - seen.certain - own),
        vocabularies=tuple(seen.vocabularies),
        copies=tuple(_copies(root, chosen, sources, set(read))),
    )


def python_sources(root: Path) -> Iterator[Path]:
    """Python files and their left-over copies, relative to the root; folders of data and of environments are left out."""
    found = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name.lower() not in _SKIPPED_FOLDERS
        )
        for name in files:
            if ".py" in name and not name.endswith((".pyc", ".pyi", ".pyx")):
                yield Path(folder, name).relative_to(root)
                found += 1
                if found >= _MOST_FILES:
                    return


def _chosen_script(root: Path, script: str, sources: list[Path]) -> Path:
    if script:
        if not (root / script).is_file():
            scripts = [str(path) for path in sources if path.suffix == ".py"]
            raise BadRequest(
                tr("{root} has no script {script}.", root=root, script=script),
                did_you_mean(script, scripts) or tr("Look at --script-name."),
            )
        return Path(script)
    for name in _SCRIPTS:
        here = [path for path in sources if path.name == name]
        if here:
            return min(here, key=lambda path: (len(path.parts), path))
    raise BadRequest(
        tr("{root} has no {scripts}.", root=root, scripts=tr(" or ").join(_SCRIPTS)),
        tr("Name the training script with --script-name."),
    )


def read_modules(root: Path, script: Path, sources: list[Path]) -> tuple[dict[Path, ast.Module], list[Place]]:
    """The script and, through its imports, the checkout's own modules; and the files that are no Python of today.

    Args:
        script, sources: relative to the root; see `python_sources`.
    """
    modules = {_module_name(path, script.parent): path for path in sources if path.suffix == ".py"}
    read: dict[Path, ast.Module] = {}
    unread: list[Place] = []
    waiting, known = [script], {script}
    while waiting:
        path = waiting.pop(0)
        tree = _parsed(root, path, unread)
        if tree is None:
            continue
        read[path] = tree
        name = _module_name(path, script.parent)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported in _imported(tree, package):
            for part in _prefixes(imported):
                found = modules.get(part)
                if found and found not in known:
                    known.add(found)
                    waiting.append(found)
    return read, unread


def _module_name(path: Path, base: Path) -> str:
    """The name by which a script in `base` imports a file."""
    try:
        relative = path.relative_to(base)
    except ValueError:
        relative = path
    parts = relative.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".") if package else []
                base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
            yield from ([base] if base else [])
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _parsed(root: Path, path: Path, unread: list[Place]) -> ast.Module | None:
    try:
        if (root / path).stat().st_size > _MOST_SOURCE_BYTES:
            unread.append(Place(str(path), 0, tr("larger than 1 MiB")))
            return None
        return ast.parse((root / path).read_bytes(), str(path))
    except SyntaxError as error:
        unread.append(
            Place(str(path), error.lineno or 0, tr("{error} in line {line}", error=error.msg, line=error.lineno))
        )
    except (OSError, ValueError, RecursionError) as error:
        unread.append(Place(str(path), 0, getattr(error, "strerror", None) or str(error)))
    return None


class _Seen:
    """What the trees of a checkout say, gathered one file after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.flags: list[ScriptFlag] = []
        self.takes_any_flag = False
        self.device_lines: list[Place] = []
        self.grid_lines: list[Place] = []
        self.spacy_models: list[Place] = []
        self.imports: set[str] = set()
        self.certain: set[str] = set()
        self.java_lines: list[Place] = []
        self.vocabularies: list[str] = []

    def look(self, path: Path, tree: ast.Module) -> None:
        """Take in one file."""
        self.certain |= {name for node in _certain_imports(tree.body) for name in _packages(node)}
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self.imports |= _packages(node)
            elif isinstance(node, ast.Assign):
                self._assignment(path, node)
            elif isinstance(node, ast.Call):
                self._call(path, node)
            if isinstance(node, ast.expr) and _is_grid(node):
                self._note(self.grid_lines, path, node, ast.unparse(node)[:60])
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._vocabulary(node.value)
                if node.value == "java":
                    self._note(self.java_lines, path, node, "java")

    def _assignment(self, path: Path, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Subscript) and _text(target.slice) == "CUDA_VISIBLE_DEVICES":
                self._note(self.device_lines, path, node, _text(node.value) or ast.unparse(node.value))

    def _call(self, path: Path, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = _text(node.args[0]) if node.args else None
        if name == "add_argument" and (flag := _flag(node)):
            self.flags.append(flag)
        elif name == "parse_known_args":
            self.takes_any_flag = True
        elif name == "putenv" and first == "CUDA_VISIBLE_DEVICES" and len(node.args) > 1:
            self._note(self.device_lines, path, node, _text(node.args[1]) or ast.unparse(node.args[1]))
        elif (
            name == "load"
            and isinstance(node.func, ast.Attribute)
            and getattr(node.func.value, "id", "") == "spacy"
            and first
        ):
            self._note(self.spacy_models, path, node, first)
        elif name == "set_device" and node.args and isinstance(node.args[0], ast.Constant):
            self._note(self.device_lines, path, node, str(node.args[0].value))

    def _vocabulary(self, text: str) -> None:
        if text.endswith((".pkl", ".pickle")) and text not in self.vocabularies and (self.root / text).is_file():
            self.vocabularies.append(text)

    def _note(self, places: list[Place], path: Path, node: ast.expr | ast.stmt, text: str) -> None:
        place = Place(str(path), node.lineno, text)
        if all((place.file, place.line) != (other.file, other.line) for other in places):
            places.append(place)


def _packages(node: ast.Import | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {node.module.partition(".")[0]} if node.module and not node.level else set()


def _certain_imports(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run whenever the module is loaded: those on its own level, outside of `try` and `if`."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node


def _flag(node: ast.Call) -> ScriptFlag | None:
    """What a call of add_argument declares; None for positional arguments and names that are computed."""
    names = tuple(text for text in map(_text, node.args) if text and text.startswith("-"))
    if not names:
        return None
    given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    action = _text(given.get("action"))
    kinds: dict[str, Literal["int", "float"]] = {"int": "int", "float": "float"}
    kind = given.get("type")
    choices = given.get("choices")
    required = given.get("required")
    return ScriptFlag(
        names=names,
        takes_value=action in (None, "store", "append", "extend"),
        required=isinstance(required, ast.Constant) and required.value is True,
        kind=kinds.get(kind.id, "") if isinstance(kind, ast.Name) else "",
        choices=tuple(str(each.value) for each in choices.elts if isinstance(each, ast.Constant))
        if isinstance(choices, (ast.List, ast.Tuple, ast.Set))
        else (),
        default=_text(given.get("default")) or "",
    )


def _is_grid(node: ast.expr) -> bool:
    """Whether a node writes 14 twice in a row, as in `.view(b, 14, 14, c)`, `(14, 14)` or `h=14, w=14`."""
    if isinstance(node, ast.Call):
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
    elif isinstance(node, (ast.Tuple, ast.List)):
        values = list(node.elts)
    else:
        return False
    numbers = [value.value if isinstance(value, ast.Constant) else None for value in values]
    return any(one == other == 14 for one, other in pairwise(numbers))


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _local_names(sources: list[Path]) -> set[str]:
    return {part.removesuffix(".py") for path in sources for part in path.parts}


def _copies(root: Path, script: Path, sources: list[Path], read: set[Path]) -> Iterator[Copies]:
    """Files that are called like the script or like an edited module, and say something else than the one in use."""
    for stem in (script.stem, *_EDITED):
        used = script if stem == script.stem else next((path for path in sorted(read) if path.stem == stem), None)
        if used is None:
            continue
        name = re.compile(rf"{re.escape(stem)}(?:{_COPY_MARKS})?\.py(?:{_COPY_MARKS})?", re.IGNORECASE)
        content = _content(root / used)
        different = [
            str(path)
            for path in sources
            if path != used and name.fullmatch(path.name) and _content(root / path) != content
        ]
        if different:
            yield Copies(str(used), tuple(different))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
