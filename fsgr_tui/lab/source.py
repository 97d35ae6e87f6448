"""Python source that is changed in places and stays as it is everywhere else: encoding, line ends, tabs and all."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from fsgr_tui.core.errors import BadRequest

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_LINE_END = re.compile(r"\r\n|\r|\n")
_MEND = "Mend it, or make the change by hand; `fsgr-tui integrate --print-field` prints the field."


class Insertion(NamedTuple):
    """Text to put at a place; lines and columns as in `ast`: lines from 1, columns in bytes of UTF-8."""

    line: int
    column: int
    text: str


class Source:
    """One file as it lies on the disk.

    Attributes:
        name: for messages, relative to the checkout.
        raw: its bytes.
        lines: its text with line ends.
        tree: parsed.
    """

    def __init__(self, name: str, raw: bytes) -> None:
        """Decode and parse.

        Raises:
            BadRequest: it is no Python of today, or its encoding is unknown.
        """
        self.name = name
        self.raw = raw
        try:
            self._encoding = tokenize.detect_encoding(io.BytesIO(raw).readline)[0]
            text = raw.decode(self._encoding)
            self.lines: list[str] = _LINE.findall(text)
            self.tree = ast.parse(text)
        except SyntaxError as error:
            raise BadRequest(f"{name} is no Python of today: {error.msg} in line {error.lineno}.", _MEND) from None
        except (ValueError, LookupError) as error:
            raise BadRequest(f"{name} cannot be read as text: {error}.", _MEND) from None

    @classmethod
    def at(cls, root: Path, path: Path) -> Source:
        """The file of a checkout.

        Raises:
            BadRequest: as above, or it cannot be read.
        """
        try:
            return cls(str(path), (root / path).read_bytes())
        except OSError as error:
            raise BadRequest(f"{root / path} cannot be read: {error.strerror}.", "Look at its rights.") from None

    def line_end(self, line: int) -> str:
        """The line end in use at a line; at a last line without one, that of the file."""
        for near in (line, 1):
            found = _LINE_END.search(self.lines[near - 1])
            if found:
                return found.group()
        return "\n"

    def indent(self, line: int) -> str:
        """The blanks and tabs that a line begins with."""
        text = self.lines[line - 1]
        return text[: len(text) - len(text.lstrip(" \t"))]

    def begins_line(self, node: ast.stmt) -> bool:
        """Whether nothing but blanks stands before a statement."""
        return len(self.indent(node.lineno).encode()) == node.col_offset

    def ends_line(self, node: ast.stmt) -> bool:
        """Whether nothing but a comment stands behind a statement."""
        rest = self.lines[(node.end_lineno or 0) - 1].encode()[node.end_col_offset :].decode().strip()
        return not rest or rest.startswith("#")

    def before(self, node: ast.stmt, new: Sequence[str]) -> Insertion:
        """New lines before a statement, with its indentation; a tab in their front is one level more."""
        return self._lines(node.lineno, node.lineno, new)

    def after(self, node: ast.stmt, new: Sequence[str]) -> Insertion:
        """New lines after a statement, with its indentation."""
        end = node.end_lineno or node.lineno
        return self._lines(node.lineno, end + 1, new)

    def _lines(self, like: int, at: int, new: Sequence[str]) -> Insertion:
        indent, end = self.indent(like), self.line_end(like)
        level = "\t" if indent.endswith("\t") else "    "
        text = "".join(indent + line.replace("\t", level) + end for line in new)
        if at > len(self.lines) and self.lines and not _LINE_END.search(self.lines[-1]):
            text = end + text.removesuffix(end)
        return Insertion(at, 0, text)

    def with_insertions(self, insertions: Iterable[Insertion]) -> bytes:
        """The file with new text in its places.

        Raises:
            BadRequest: the result is no Python: the file is written in a way that this program does not know.
        """
        lines = [line.encode() for line in self.lines] + [b""]
        for place in sorted(insertions, reverse=True):
            old = lines[place.line - 1]
            lines[place.line - 1] = old[: place.column] + place.text.encode() + old[place.column :]
        text = b"".join(lines).decode()
        try:
            ast.parse(text)
            return text.encode(self._encoding)
        except (SyntaxError, UnicodeEncodeError):
            raise BadRequest(
                f"{self.name} is written in a way that cannot be changed without guessing.",
                "Make the change by hand; `fsgr-tui integrate --print-field` prints the field.",
            ) from None
