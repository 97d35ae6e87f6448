r"""JSON that also carries file names which are no UTF-8.

Python keeps such bytes as lone surrogates, which UTF-8 cannot hold; JSON can, as `\udce9` escapes, and so the
document stays valid and gives the true path back through `os.fsencode`.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def encode(value: Any, *, indent: int | None = None) -> bytes:
    """One JSON document, without NaN (null instead)."""
    try:
        text = msgspec.json.encode(value)
        return msgspec.json.format(text, indent=indent) if indent is not None else text
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value), ensure_ascii=True, indent=indent).encode("ascii")


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
