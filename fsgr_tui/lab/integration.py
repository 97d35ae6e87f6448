"""What a checkout needs to read feature files: the field beside its own, a switch in its own, and the script's flag.

The change is step 3 of the labs' guide: the checkout's own class keeps its way of reading images, line for line.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from difflib import diff_bytes, unified_diff
from pathlib import Path
from typing import Final, NamedTuple

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.lab import field
from fsgr_tui.lab.model import FIELD_CLASS, HDF5_SWITCH
from fsgr_tui.lab.source import Insertion, Source

FIELD_FILE: Final = "fsgr_tui_field.py"
FLAG: Final = "--use_hdf5_features"
_PATH_FLAG: Final = "--features_path"
_DEST: Final = "use_hdf5_features"
_BY_HAND: Final = "Make the change by hand (step 3 of the guide); `fsgr-tui integrate --print-field` prints the field."


class FileChange(NamedTuple):
    """One file, before (None: it is not there) and after; `path` is relative to the checkout."""

    path: Path
    before: bytes | None
    after: bytes
    what: str

    @property
    def diff(self) -> bytes:
        """Unified, with the file's own line ends: `patch -p1` takes it."""
        old = b"/dev/null" if self.before is None else b"a/" + bytes(self.path)
        lines = diff_bytes(
            unified_diff,
            (self.before or b"").splitlines(keepends=True) if self.before else [],
            self.after.splitlines(keepends=True),
            old,
            b"b/" + bytes(self.path),
        )
        return b"".join(line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n" for line in lines)


def field_source() -> bytes:
    """The file that is copied into a checkout."""
    return Path(field.__file__).read_bytes()


def needed_changes(root: Path, script: Path, trees: Mapping[Path, ast.Module]) -> list[FileChange]:
    """The changes that a checkout needs; none when it reads feature files already.

    Args:
        script: the training script, relative to the root; its folder is where imports start.
        trees: the modules that the script reaches, by their path.

    Raises:
        BadRequest: a file is not as expected; it says which line was looked for.
    """
    found = _Checkout(root, trees)
    changes = _changes(found, script)
    # Looked at once more as it will be: a change that does not take would be made again and again.
    after = {change.path: change.after for change in changes}
    left = _changes(_Checkout(root, trees, after), script)
    if left:
        raise BadRequest(
            f"{root / left[0].path} is written in a way that cannot be changed without guessing.", _BY_HAND
        )
    return changes


class _Checkout:
    """Files of a checkout, as they are, or as they would be."""

    def __init__(
        self, root: Path, trees: Mapping[Path, ast.Module], instead: Mapping[Path, bytes] | None = None
    ) -> None:
        self.root = root
        self.paths = [path for path in trees if path.name != FIELD_FILE]
        self._instead = instead or {}
        self._sources: dict[Path, Source] = {}

    def source(self, path: Path) -> Source:
        if path not in self._sources:
            raw = self._instead.get(path)
            self._sources[path] = Source.at(self.root, path) if raw is None else Source(str(path), raw)
        return self._sources[path]

    def raw(self, path: Path) -> bytes | None:
        if path in self._instead:
            return self._instead[path]
        return (self.root / path).read_bytes() if (self.root / path).is_file() else None


def _changes(checkout: _Checkout, script: Path) -> list[FileChange]:
    insertions: dict[Path, list[Insertion]] = {}
    whats: dict[Path, list[str]] = {}

    def note(path: Path, what: str, places: list[Insertion]) -> None:
        if places:
            insertions.setdefault(path, []).extend(places)
            whats.setdefault(path, []).append(what)

    path, owner = _field_class(checkout, script)
    in_field = _field_insertions(checkout.source(path), owner, beside_script=path.parent == script.parent)
    note(path, f"a switch in {FIELD_CLASS}", in_field)
    flagged = _flag_place(checkout, script)
    if flagged is not None:
        note(flagged.path, f"the flag {FLAG}", [flagged.insertion])
    for call_path, places in _call_insertions(checkout, script).items():
        note(call_path, "the flag handed to the field", places)
    changes = []
    copy = path.parent / FIELD_FILE
    if in_field or checkout.raw(copy) is not None:
        before = checkout.raw(copy)
        if before != field_source():
            changes.append(
                FileChange(copy, before, field_source(), "reads feature files" if before is None else "a newer field")
            )
    changes += [
        FileChange(
            each, checkout.source(each).raw, checkout.source(each).with_insertions(places), ", ".join(whats[each])
        )
        for each, places in insertions.items()
    ]
    return changes


def _field_class(checkout: _Checkout, script: Path) -> tuple[Path, ast.ClassDef]:
    found = [
        (path, node)
        for path in checkout.paths
        for node in ast.walk(checkout.source(path).tree)
        if isinstance(node, ast.ClassDef) and node.name == FIELD_CLASS
    ]
    if len(found) == 1:
        return found[0]
    where = f"the {len(checkout.paths)} modules that {script} reaches"
    if not found:
        raise BadRequest(
            f"{checkout.root} is not as expected: `class {FIELD_CLASS}` stands in none of {where}.", _BY_HAND
        )
    places = ", ".join(f"{path}:{node.lineno}" for path, node in found)
    raise BadRequest(
        f"{checkout.root} is not as expected: `class {FIELD_CLASS}` stands several times: {places}.", _BY_HAND
    )


def _field_insertions(source: Source, owner: ast.ClassDef, *, beside_script: bool) -> list[Insertion]:
    """The import, the switch in the signature, and what it does in `__init__` and `preprocess`."""
    init, preprocess = (_method(source, owner, name) for name in ("__init__", "preprocess"))
    names = {argument.arg for argument in (*init.args.posonlyargs, *init.args.args, *init.args.kwonlyargs)}
    if HDF5_SWITCH in names:
        return []
    if "detections_path" not in names:
        raise _unexpected(source, owner, f"def __init__(self, ..., detections_path=..., ...) in class {FIELD_CLASS}")
    if len(preprocess.args.args) < 2:
        raise _unexpected(source, preprocess, f"def preprocess(self, x, ...) in class {FIELD_CLASS}")
    own, sample = init.args.args[0].arg, preprocess.args.args[1].arg
    # M2 Transformer's own field gives features alone; FSGR's gives them between the id and a placeholder, or labels.
    alone = "" if "labels_path" in names or _returns_tuple(preprocess) else "[1]"
    handed = [name for name in ("detections_path", "labels_path", "max_detections") if name in names]
    upwards = "preprocessing, postprocessing" if {"preprocessing", "postprocessing"} <= names else ""
    module = FIELD_FILE.removesuffix(".py")
    return [
        source.after(
            _last_import(source, owner),
            [f"from {'' if beside_script else '.'}{module} import {FIELD_CLASS} as FeatureFileField"],
        ),
        Insertion(*_end_of_signature(init), f", {HDF5_SWITCH}=False"),
        source.before(
            _first_statement(source, init),
            [
                f"{own}.{HDF5_SWITCH} = {HDF5_SWITCH}",
                f"if {HDF5_SWITCH}:",
                f"\t{', '.join(f'{own}.{name}' for name in handed)} = {', '.join(handed)}",
                f"\t{own}.feature_file = FeatureFileField({', '.join(f'{name}={name}' for name in handed)})",
                f"\tsuper({FIELD_CLASS}, {own}).__init__({upwards})",
                "\treturn",
            ],
        ),
        source.before(
            _first_statement(source, preprocess),
            [
                f"if {preprocess.args.args[0].arg}.{HDF5_SWITCH}:",
                f"\treturn {preprocess.args.args[0].arg}.feature_file.preprocess({sample}){alone}",
            ],
        ),
    ]


def _method(source: Source, owner: ast.ClassDef, name: str) -> ast.FunctionDef:
    found = [each for each in owner.body if isinstance(each, ast.FunctionDef) and each.name == name]
    if len(found) != 1:
        raise _unexpected(source, owner, f"def {name}(self, ...) in class {FIELD_CLASS}")
    return found[0]


def _returns_tuple(method: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) for node in ast.walk(method))


def _first_statement(source: Source, method: ast.FunctionDef) -> ast.stmt:
    body = method.body
    is_doc = (
        isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        and isinstance(body[0].value.value, str)
    )
    first = body[1] if is_doc and len(body) > 1 else body[0]
    if (is_doc and len(body) == 1) or not source.begins_line(first):
        raise _unexpected(source, method, f"a body of {method.name} on lines of its own")
    return first


def _end_of_signature(init: ast.FunctionDef) -> tuple[int, int]:
    """Behind the last parameter that another one can follow."""
    arguments = init.args
    if arguments.kwonlyargs:
        last: ast.expr | ast.arg = arguments.kw_defaults[-1] or arguments.kwonlyargs[-1]
    elif arguments.vararg:
        last = arguments.vararg
    else:
        last = arguments.defaults[-1] if arguments.defaults else arguments.args[-1]
    return last.end_lineno or 0, last.end_col_offset or 0


def _last_import(source: Source, owner: ast.ClassDef) -> ast.stmt:
    imports = [
        node
        for node in source.tree.body
        if isinstance(node, ast.Import | ast.ImportFrom) and node.lineno < owner.lineno and source.ends_line(node)
    ]
    if not imports:
        raise _unexpected(source, owner, f"an import above class {FIELD_CLASS}")
    return imports[-1]


class _FlagPlace(NamedTuple):
    path: Path
    insertion: Insertion


def _flag_place(checkout: _Checkout, script: Path) -> _FlagPlace | None:
    """Where the flag is added: below the one that it belongs to. None when it is there."""
    found: list[tuple[Path, ast.Expr]] = []
    for path in checkout.paths:
        for node in ast.walk(checkout.source(path).tree):
            names = _declared(node)
            if FLAG in names or FLAG.replace("_", "-") in names:
                return None
            if isinstance(node, ast.Expr) and _PATH_FLAG in _declared(node.value):
                found.append((path, node))
    if len(found) != 1 or not _alone(checkout.source(found[0][0]), found[0][1]):
        raise BadRequest(
            f"{checkout.root / script} is not as expected: a line like `parser.add_argument('{_PATH_FLAG}', ...)` was looked for, and "
            + (f"{len(found)} were found." if len(found) != 1 else "it shares its line with others."),
            _BY_HAND,
        )
    path, node = found[0]
    assert isinstance(node.value, ast.Call)
    call = ast.unparse(node.value.func)
    text = f"{call}('{FLAG}', action='store_true', help='features_path is an .hdf5 file with ID_grids')"
    return _FlagPlace(path, checkout.source(path).after(node, [text]))


def _declared(node: ast.AST) -> list[str]:
    """The names that a call of add_argument declares."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"):
        return []
    return [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def _alone(source: Source, node: ast.stmt) -> bool:
    return source.begins_line(node) and source.ends_line(node)


def _call_insertions(checkout: _Checkout, script: Path) -> dict[Path, list[Insertion]]:
    """Where the field is made: the flag is handed to it."""
    places: dict[Path, list[Insertion]] = {}
    calls = 0
    for path in checkout.paths:
        for node in ast.walk(checkout.source(path).tree):
            if not (isinstance(node, ast.Call) and _name(node.func) == FIELD_CLASS):
                continue
            calls += 1
            if any(keyword.arg == HDF5_SWITCH for keyword in node.keywords):
                continue
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            options = [
                each.value
                for value in values
                for each in ast.walk(value)
                if isinstance(each, ast.Attribute) and each.attr == _PATH_FLAG.lstrip("-")
            ]
            if not options:
                raise BadRequest(
                    f"{path}:{node.lineno} is not as expected: `{FIELD_CLASS}(detections_path=args.features_path, ...)` was looked for.",
                    _BY_HAND,
                )
            end = max((value.end_lineno or 0, value.end_col_offset or 0) for value in values)
            text = f", {HDF5_SWITCH}={ast.unparse(options[0])}.{_DEST}"
            places.setdefault(path, []).append(Insertion(*end, text))
    if not calls:
        raise BadRequest(
            f"{checkout.root / script} is not as expected: a call `{FIELD_CLASS}(detections_path=args.features_path, ...)` was looked for, "
            "and there is none in the modules that it reaches.",
            _BY_HAND,
        )
    return places


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _unexpected(source: Source, near: ast.stmt, line: str) -> BadRequest:
    return BadRequest(f"{source.name}:{near.lineno} is not as expected: `{line}` was looked for.", _BY_HAND)
