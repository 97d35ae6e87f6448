"""The guide's commands for train_transformer.py, made of what a user gave and what the script knows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from fsgr_tui.core.lab import Checkout, GivenFlag
from fsgr_tui.core.training import Mode

GUIDE: Final[Mapping[Mode, Mapping[str, str]]] = {
    "realtime": {"exp_name": "fsgr_realtime", "batch_size": "64", "workers": "4", "head": "8"},
    "precomputed": {
        "exp_name": "fsgr_precomputed", "batch_size": "150", "workers": "4", "head": "8", "adapter_b": "6", "adapter_e": "11",
    },
}  # fmt: skip
"""Values of the guide's two commands (its sections 3.4 and 4)."""

HDF5_FLAG: Final = "--use_hdf5_features"

_OTHER_NAMES: Final = {
    "image-root": "features-path", "clip-model": "pre-name", "weights": "pre-vs-path", "learning-rate": "xe-base-lr", "heads": "head",
    "resume": "resume-last",
}  # fmt: skip
"""Flags of `fsgr-tui train` that the script calls otherwise."""

# What the guide's commands give as a pair: without the file the switch only stops the script.
_WITH_FILE: Final = (("text", "text-embed-path"), ("return-index", "labels-path"))
_ENDS_OF_PATHS: Final = ("path", "folder", "dir", "root", "file")


class LabCommand(NamedTuple):
    """A command for the lab's script.

    Attributes:
        flags: as the script spells them, the user's first.
        added: those among them that the user did not give.
    """

    flags: tuple[GivenFlag, ...]
    added: tuple[GivenFlag, ...]

    def argv(self, python: str, script: str) -> tuple[str, ...]:
        """Program, script, and flags."""
        return (python, script, *(word for flag in self.flags for word in (flag.name, *flag.values)))


def lab_command(checkout: Checkout, mode: Mode, given: Sequence[GivenFlag], places: Sequence[Path]) -> LabCommand:
    """The user's flags in the script's spelling, and what the guide's command has besides.

    A flag that the script does not know stays as it was typed; the guide's are only added where the script knows them.

    Args:
        places: folders that a relative path may start from, the user's own first; paths that are there become absolute.
    """
    flags = [_spelled(checkout, flag) for flag in given]
    names = {flag.plain for flag in flags}
    wanted = [GivenFlag(f"--{switch}") for switch, file in _WITH_FILE if file in names]
    wanted += [GivenFlag(f"--{name}", (value,)) for name, value in GUIDE[mode].items()]
    if mode == "precomputed":
        wanted.append(GivenFlag(HDF5_FLAG))
    added = [
        _spelled(checkout, flag) for flag in wanted if flag.plain not in names and checkout.flag(flag.name) is not None
    ]
    absolute = _absolute_in(places)
    return LabCommand(tuple(map(absolute, (*flags, *added))), tuple(added))


def _spelled(checkout: Checkout, flag: GivenFlag) -> GivenFlag:
    known = checkout.flag(flag.name)
    other = _OTHER_NAMES.get(flag.plain)
    if known is None and other is not None:
        known = checkout.flag(f"--{other}")
    if known is None:
        return flag
    name = next((name for name in known.names if name.startswith("--")), known.names[0])
    return GivenFlag(name, flag.values)


def _absolute_in(places: Sequence[Path]) -> Callable[[GivenFlag], GivenFlag]:
    def absolute(flag: GivenFlag) -> GivenFlag:
        if len(flag.values) != 1 or not flag.name.endswith(_ENDS_OF_PATHS):
            return flag
        value = flag.values[0]
        there = next((place / value for place in places if value and (place / value).exists()), None)
        return flag if there is None else GivenFlag(flag.name, (os.path.abspath(there),))  # noqa: PTH100 - without following links

    return absolute
