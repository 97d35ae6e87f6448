"""What a file of torch.save or pickle holds: its shapes and keys, read without executing anything in it.

A pickle is a program; unpickling runs it. Here its instructions are only listed (`pickletools.genops`) and followed
with stand-ins: a call builds a `_Made` that remembers what would have been called, and nothing is imported. So a
hostile file can do no more than be described wrongly, and torch need not be installed.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, cast

from fsgr_tui.core.errors import BadRequest, MachineCannot, Problem
from fsgr_tui.core.lab import SavedFile, TensorShape
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import format_bytes, printable

MOST_PICKLE_BYTES: Final = 256 * 2**20
"""The description of a checkpoint takes a few hundred kilobytes, a vocabulary a few megabytes."""

# torch/serialization.py, MAGIC_NUMBER of files written before the zip format (or with it turned off).
_OLD_MAGIC: Final = 0x1950A86A20F9469CFC6C
_DTYPES: Final = {
    "FloatStorage": "float32", "HalfStorage": "float16", "DoubleStorage": "float64", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
# A file whose parts hold each other would be walked for ever; no checkpoint comes near.
_DEEPEST: Final = 6
_MOST_PARTS: Final = 100_000
_FEW: Final = 8


def read_saved(path: Path) -> SavedFile:
    """What is in a `.pt`, `.pth` or pickled file.

    Raises:
        BadRequest: there is no such file, it is a folder, or it is of another kind; the message says which.
        MachineCannot: it may not be read, or it is cut off.
    """
    try:
        if path.is_dir():
            raise BadRequest(tr("{path} is a folder.", path=path), tr("Name the file in it."))
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(512)
            file.seek(0)
            if head[:2] == b"PK":
                return _read_zip(path, size)
            if head[:1] != b"\x80":
                raise BadRequest(
                    tr(
                        "{path} ({size}) is no file of PyTorch: {content}.",
                        path=path,
                        size=format_bytes(size),
                        content=_what_it_is(head),
                    ),
                    tr("Get it again."),
                )
            return _read_pickles(file, size)
    except Problem:
        raise
    except FileNotFoundError:
        raise BadRequest(tr("There is no file {path}.", path=path), tr("Look at the path.")) from None
    except OSError as error:
        raise MachineCannot(
            tr("{path} cannot be read: {reason}.", path=path, reason=error.strerror), tr("Look at its permissions.")
        ) from None
    except Exception as error:  # noqa: BLE001 - a damaged pickle fails in as many ways as there are instructions
        raise _cut_off(path, str(error) or type(error).__name__) from None


class _Named:
    """A class or function that the pickle names."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Made:
    """What a call would have made."""

    def __init__(self, maker: object, arguments: object) -> None:
        self.name = maker.name if isinstance(maker, _Named) else "object"
        self.arguments = arguments if isinstance(arguments, tuple) else ()
        self.state: object = None
        self.items: dict[Any, Any] = {}
        self.rows: list[Any] = []


class _Storage:
    """The numbers behind a tensor: only their type is kept."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


_MARK: Final = object()


def _read_zip(path: Path, size: int) -> SavedFile:
    if not zipfile.is_zipfile(path):
        raise _cut_off(path, tr("the list at the end of the archive is not there"))
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if any("/code/" in name for name in names):
            return SavedFile("torchscript", size)
        pickled = [name for name in names if name.rpartition("/")[2] == "data.pkl"]
        if not pickled:
            raise BadRequest(
                tr("{path} is a zip archive, but not one of PyTorch.", path=path),
                tr("Unpack it and name the file in it."),
            )
        if archive.getinfo(pickled[0]).file_size > MOST_PICKLE_BYTES:
            raise BadRequest(
                tr(
                    "{path} describes itself in more than {limit}.",
                    path=path,
                    limit=format_bytes(MOST_PICKLE_BYTES),
                ),
                tr("Get it again."),
            )
        return _described(_follow(io.BytesIO(archive.read(pickled[0]))), size)


def _read_pickles(file: IO[bytes], size: int) -> SavedFile:
    """Old files of torch: magic number, protocol, system, the object. Other pickles: the object alone."""
    first = _follow(file)
    if first == _OLD_MAGIC:
        _follow(file)
        _follow(file)
        return _described(_follow(file), size)
    return _described(first, size)


def _follow(file: IO[bytes]) -> Any:  # noqa: C901, PLR0912, PLR0915 - one case per instruction, as in pickle itself
    """The object that a pickle would make, out of stand-ins."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, told, _position in pickletools.genops(file):
        name, argument = opcode.name, cast("Any", told)
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _LITERALS:
            stack.append(argument)
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "STOP":
            break
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(_Named(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_Named(f"{module}.{attribute}"))
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            _since_mark(stack)
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "TUPLE":
            stack.append(tuple(_since_mark(stack)))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("LIST", "FROZENSET"):
            stack.append(_since_mark(stack))
        elif name == "DICT":
            stack.append(_pairs(_since_mark(stack)))
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            added = [stack.pop()] if name == "APPEND" else _since_mark(stack)
            (stack[-1].rows if isinstance(stack[-1], _Made) else stack[-1]).extend(added)
        elif name in ("SETITEM", "SETITEMS"):
            pairs = [*reversed([stack.pop(), stack.pop()])] if name == "SETITEM" else _since_mark(stack)
            (stack[-1].items if isinstance(stack[-1], _Made) else stack[-1]).update(_pairs(pairs))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, maker = stack.pop(), stack.pop()
            stack.append(_Made(maker, arguments))
        elif name == "NEWOBJ_EX":
            _keywords, arguments, maker = stack.pop(), stack.pop(), stack.pop()
            stack.append(_Made(maker, arguments))
        elif name in ("OBJ", "INST"):
            given = _since_mark(stack)
            maker = _Named(argument.replace(" ", ".")) if name == "INST" else given.pop(0)
            stack.append(_Made(maker, tuple(given)))
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], _Made):
                stack[-1].state = state
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name not in ("PROTO", "FRAME"):
            stack.append(_Made(None, ()))  # a rare instruction that pushes something of no interest here
    return stack[-1]


_CONSTANTS: Final[dict[str, Callable[[], Any]]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list, "EMPTY_SET": list, "EMPTY_DICT": dict,
}  # fmt: skip
_LITERALS: Final = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
})  # fmt: skip


def _since_mark(stack: list[Any]) -> list[Any]:
    place = len(stack) - 1 - stack[::-1].index(_MARK)
    taken = stack[place + 1 :]
    del stack[place:]
    return taken


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    return {
        key if isinstance(key, (str, int)) else repr(type(key)): value
        for key, value in zip(flat[::2], flat[1::2], strict=True)
    }


def _storage(identity: object) -> _Storage:
    """Persistent ids of torch: ("storage", type, key, device, count, ...)."""
    kind = identity[1] if isinstance(identity, tuple) and len(identity) > 1 else None
    return _Storage(_DTYPES.get(kind.name.rpartition(".")[2], "unknown") if isinstance(kind, _Named) else "unknown")


def _tensor(value: object) -> TensorShape | None:
    """The shape of a tensor or parameter: torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)."""
    if not isinstance(value, _Made):
        return None
    if value.name.endswith("_rebuild_parameter") and value.arguments:
        return _tensor(value.arguments[0])
    if not value.name.startswith("torch._utils._rebuild_tensor") or len(value.arguments) < 3:
        return None
    storage, _offset, shape = value.arguments[:3]
    if not isinstance(shape, tuple) or not all(isinstance(side, int) for side in shape):
        return None
    return TensorShape(shape, storage.dtype if isinstance(storage, _Storage) else "unknown")


def _described(value: object, size: int) -> SavedFile:
    tensor = _tensor(value)
    if tensor is not None:
        return SavedFile("tensor", size, tensor)
    tensors: dict[str, TensorShape] = {}
    lists: dict[str, int] = {}
    for name, part in islice(_walk(value, "", 0), _MOST_PARTS):
        found = _tensor(part)
        if found is not None:
            tensors[name] = found
        elif isinstance(part, (list, dict)) and name:
            lists[name] = len(part)
    inside = _inside(value)
    keys = tuple(printable(str(key)) for key in list(inside)[:_FEW]) if isinstance(inside, dict) else ()
    return SavedFile(_kind(value), size, None, keys, tensors, lists)


def _kind(value: object) -> str:
    if isinstance(value, _Made):
        return "dict" if value.name == "collections.OrderedDict" else printable(value.name)
    return type(value).__name__


def _inside(value: object) -> object:
    """A container's content; of an object, its attributes."""
    if not isinstance(value, _Made):
        return value
    if value.items or value.rows:
        return value.items or value.rows
    state = value.state[-1] if isinstance(value.state, tuple) and value.state else value.state
    return state if isinstance(state, dict) else value.items


def _walk(value: object, name: str, depth: int) -> Iterator[tuple[str, object]]:
    inside = _inside(value)
    yield name, value if _tensor(value) is not None else inside
    if depth >= _DEEPEST or _tensor(value) is not None:
        return
    # A list of ten thousand words holds no tensor; the first few tell what it is made of.
    parts = inside.items() if isinstance(inside, dict) else enumerate(inside[:_FEW]) if isinstance(inside, list) else ()
    for key, part in parts:
        if isinstance(part, (dict, list, _Made)):
            yield from _walk(part, f"{name}.{key}" if name else str(key), depth + 1)


def _what_it_is(head: bytes) -> str:
    text = head.lstrip().lower()
    if not head:
        return tr("it is empty")
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return tr("it looks like a web page")
    if head.startswith(b"version https://git-lfs"):
        return tr("it is a pointer of Git LFS; fetch the file itself with `git lfs pull`")
    if head.startswith(b"\x93NUMPY"):
        return tr("it is a NumPy array")
    if head.startswith(b"\x1f\x8b"):
        return tr("it is compressed with gzip")
    if _is_safetensors(head):
        return tr("it is a safetensors file")
    return tr("it begins with other bytes")


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes of length, then JSON (the format's published description)."""
    return len(head) > 9 and math.log2(struct.unpack("<Q", head[:8])[0] + 1) < 27 and head[8:9] == b"{"


def _cut_off(path: Path, why: str) -> MachineCannot:
    return MachineCannot(
        tr(
            "{path} ({size}) is not a whole file of PyTorch: {why}.",
            path=path,
            size=format_bytes(path.stat().st_size),
            why=printable(why),
        ),
        tr("It was probably cut off: compare its size with the source and copy it again."),
    )
