"""What names a person is taken out of a text that will be pasted somewhere public."""

from __future__ import annotations

import os
import platform
import pwd
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

# Accounts that are on every machine, or that name nobody; as words of a sentence they are left alone.
_NOBODYS = frozenset(
    {
        "root",
        "user",
        "admin",
        "ubuntu",
        "debian",
        "guest",
        "nobody",
        "python",
        "data",
        "test",
        "jovyan",
        "home",
        "runner",
    }
)
# A folder of folders of people, wherever it is mounted: the name after it is somebody's.
_FOLDERS_OF_PEOPLE = ("home", "homes", "users")
_PEOPLE = re.compile(rf"(/(?:{'|'.join(_FOLDERS_OF_PEOPLE)})/)([^/\s,;:)\"']+)", re.IGNORECASE)
_USER, _HOST = "USER", "HOST"


class Privacy(msgspec.Struct, frozen=True):
    """The names that are taken out.

    Attributes:
        home: the home folder, shown as ~; empty when it says nothing ("/").
        users: names of the user, shown as USER.
        hosts: names of the machine, shown as HOST; empty to leave them in.
    """

    home: str
    users: tuple[str, ...]
    hosts: tuple[str, ...] = ()

    @classmethod
    def here(cls, *, hide_host: bool = False) -> Privacy:
        """The names of this process's user, and of this machine if asked."""
        home = str(Path("~").expanduser())
        names = [os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")]
        with suppress(KeyError):  # a container may have no entry for the number
            names.append(pwd.getpwuid(os.getuid()).pw_name)
        names.append(Path(home).name)
        # A home of that name says nothing of its owner, and the word stands in everybody's paths.
        names = [name for name in names if name.lower() not in _FOLDERS_OF_PEOPLE]
        node = platform.node()
        hosts = (node, node.partition(".")[0]) if hide_host else ()
        return cls(home if home not in ("/", "~") else "", tuple(_longest_first(names)), tuple(_longest_first(hosts)))

    def cleaned(self, text: str) -> str:
        """The text without them."""
        if self.home:
            text = re.sub(rf"{re.escape(self.home)}(?![\w-])", "~", text)
        text = _PEOPLE.sub(rf"\g<1>{_USER}", text)
        for name in self.users:
            text = _without(name, _USER, text, everywhere=name.lower() not in _NOBODYS)
        for name in self.hosts:
            text = _without(name, _HOST, text, everywhere=True)
        return text


def _without(name: str, stand_in: str, text: str, *, everywhere: bool) -> str:
    """The text with a name replaced: as a word of its own, or as a whole part of a path alone."""
    before, after = ("(?<![A-Za-z0-9])", "(?![A-Za-z0-9])") if everywhere else ("(?<=/)", r"(?=/|$|[\s,;)])")
    return re.sub(f"{before}{re.escape(name)}{after}", stand_in, text, flags=re.IGNORECASE)


def _longest_first(names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name}, key=len, reverse=True)
