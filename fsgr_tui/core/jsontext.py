r"""JSON that also carries file names which are no UTF-8.

Python keeps such bytes as lone surrogates, which UTF-8 cannot hold; JSON can, as `\udce9` escapes, and so the
document stays valid and gives the true path back through `os.fsencode`.
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def encode(value: Any, *, indent: int | None = None) -> bytes:
    """One JSON document, without NaN (null instead)."""
    try:
        text = msgspec.json.encode(value)
        return msgspec.json.format(text, indent=indent) if indent is not None else text
    except UnicodeEncodeError:
        plain = _without_nan(msgspec.to_builtins(value))
        return json.dumps(plain, ensure_ascii=True, indent=indent, allow_nan=False).encode("ascii")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def decode(text: bytes, kind: type[T]) -> T:
    """The value of a JSON document.

    Raises:
        msgspec.MsgspecError: the text is no JSON, or not of that kind.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError:
        try:
            return msgspec.convert(json.loads(text), type=kind)
        except ValueError as error:
            if isinstance(error, msgspec.MsgspecError):
                raise
            raise msgspec.DecodeError(str(error)) from None
