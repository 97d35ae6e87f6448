"""A command that was pasted from a guide or a chat: its words, and what the shell would misread in it."""

from __future__ import annotations

import re
import shlex

import msgspec

from fsgr_tui.core.errors import BadRequest
from fsgr_tui.core.lab import GivenFlag
from fsgr_tui.core.language import tr

# What word processors and chat programs make of quotes, hyphens and spaces.
_TYPOGRAPHY = {
    "\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\uff02": '"', "\u2014": "--", "\u2013": "--", "\u2212": "-",
    "\uff0d": "-", "\u00a0": " ", "\u3000": " ", "\uff3c": "\\",
}  # fmt: skip
_AFTER_BACKSLASH = re.compile(r"\\[ \t]+(#.*)?$")


class PastedFault(msgspec.Struct, frozen=True):
    """What is wrong in one line, counted from 1, and what to do."""

    line: int
    what: str
    remedy: str


class Pasted(msgspec.Struct, frozen=True):
    """A command as it was meant.

    Attributes:
        words: program, script and flags, with the faults mended.
        faults: what the shell would have misread.
    """

    words: tuple[str, ...]
    faults: tuple[PastedFault, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words from the first flag on."""
        first = next((place for place, word in enumerate(self.words) if word.startswith("-")), len(self.words))
        return self.words[first:]


def read_pasted(text: str) -> Pasted:
    """The command in a text: the first one that carries flags; blank lines and comment lines before it are passed over.

    Raises:
        BadRequest: there is no command in it, or a quote is not closed.
    """
    faults: list[PastedFault] = []
    logical: list[str] = []
    open_line = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = _plain(raw, number, faults)
        if not open_line and line.lstrip().startswith("#"):
            continue
        match = _AFTER_BACKSLASH.search(line)
        if match:
            what = tr("a comment") if match[1] else tr("a blank")
            faults.append(
                PastedFault(
                    number,
                    tr(
                        "{what} after the backslash: the shell ends the command there, and runs the next lines as commands of "
                        "their own",
                        what=what,
                    ),
                    tr("Put comments on lines of their own, above the command; nothing may follow a backslash."),
                )
            )
            line = line[: match.start()] + "\\"
        if line.endswith("\\"):
            open_line += line[:-1] + " "
        else:
            logical.append(open_line + line)
            open_line = ""
    logical.append(open_line)
    for line in logical:
        try:
            words = tuple(shlex.split(line, comments=True))
        except ValueError as error:
            raise BadRequest(
                tr("The pasted command cannot be read: {error}.", error=error), tr("Look at its quotes.")
            ) from None
        if any(word.startswith("-") for word in words):
            return Pasted(words, tuple(faults))
    raise BadRequest(
        tr("There is no command with flags in the pasted text."), tr("Paste the whole command, from the program on.")
    )


def given_flags(words: tuple[str, ...]) -> tuple[GivenFlag, ...]:
    """The flags among a command's words, each with what follows it; words before the first flag are passed over."""
    flags: list[GivenFlag] = []
    for word in words:
        name, sign, value = word.partition("=")
        if name.startswith("--") and len(name) > 2:
            flags.append(GivenFlag(name, (value,) if sign else ()))
        elif flags and word.strip():
            flags[-1] = msgspec.structs.replace(flags[-1], values=(*flags[-1].values, word))
    return tuple(flags)


def is_cut_off(words: tuple[str, ...]) -> bool:
    """Whether a shell has already cut the command at a backslash: the escaped blank is left as a word of its own."""
    return any(not word.strip() or word.strip() == "\\" for word in words)


def _plain(line: str, number: int, faults: list[PastedFault]) -> str:
    """The line with typewriter's characters."""
    found = [char for char in line if char in _TYPOGRAPHY]
    if not found or line.lstrip().startswith("#"):
        return line
    shown = ", ".join(sorted({f"{char!r} (U+{ord(char):04X})" for char in found}))
    faults.append(
        PastedFault(
            number,
            tr("characters that a word processor put in: {shown}", shown=shown),
            tr("Type quotes, hyphens and blanks anew."),
        )
    )
    for char, plain in _TYPOGRAPHY.items():
        # A dash before a word was one or two hyphens; inside a line the flag's form decides.
        line = line.replace(char, plain)
    return line.replace("---", "--")
