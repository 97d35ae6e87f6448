"""A lab's own training code and what it runs on: its checkout, its Python, Java, and its files. Frozen facts."""

from __future__ import annotations

from typing import Literal

import msgspec

from fsgr_tui.core.language import mark
from fsgr_tui.core.units import Unknown


class GivenFlag(msgspec.Struct, frozen=True):
    """A flag of a command as typed, with the words that follow it."""

    name: str
    values: tuple[str, ...] = ()

    @property
    def plain(self) -> str:
        """The name without its leading hyphens, with hyphens inside."""
        return plain_name(self.name)


def plain_name(name: str) -> str:
    """A flag's name without its leading hyphens, with hyphens inside: scripts spell flags either way."""
    return name.lstrip("-").replace("_", "-")


class Place(msgspec.Struct, frozen=True):
    """One line of a source file; `file` is relative to the checkout, `text` what stands there."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class ScriptFlag(msgspec.Struct, frozen=True):
    """One option that a script declares to argparse.

    Attributes:
        names: its spellings, e.g. ("-m", "--m").
        takes_value: whether a value follows it.
        kind: what argparse turns the value into, where that is int or float.
        choices: the values that it takes; empty for any.
        default: a text that stands in the source; empty where it is none, or computed.
    """

    names: tuple[str, ...]
    takes_value: bool = True
    required: bool = False
    kind: Literal["", "int", "float"] = ""
    choices: tuple[str, ...] = ()
    default: str = ""


class Copies(msgspec.Struct, frozen=True):
    """A source file of which the checkout has others with the same or nearly the same name.

    Attributes:
        used: the one that the script runs or imports.
        different: copies with another content.
    """

    used: str
    different: tuple[str, ...]


class Checkout(msgspec.Struct, frozen=True):
    """What the source of a lab's checkout says; nothing in it was run.

    Attributes:
        root: the folder; script: the training script, relative to it.
        flags: options of the script and of the modules that it imports from the checkout.
        takes_any_flag: whether it drops unknown flags silently (parse_known_args).
        unread: files that are no Python of today, with the reason; what they say is not known.
        device_lines: where CUDA_VISIBLE_DEVICES is overwritten; text is the value.
        grid_lines: where a grid of 14x14 is written as a number.
        spacy_models: names that are given to spacy.load; text is the name.
        java_lines: where Java is started.
        imports: packages that the script and its modules import, and that are neither Python's nor the checkout's.
        perhaps: those of them that are imported inside functions or behind `except ImportError` alone.
        vocabularies: pickled files that the sources name and that are there.
        copies: files of which there are several that differ.
    """

    root: str
    script: str
    flags: tuple[ScriptFlag, ...] = ()
    takes_any_flag: bool = False
    unread: tuple[Place, ...] = ()
    device_lines: tuple[Place, ...] = ()
    grid_lines: tuple[Place, ...] = ()
    spacy_models: tuple[Place, ...] = ()
    java_lines: tuple[Place, ...] = ()
    imports: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()
    vocabularies: tuple[str, ...] = ()
    copies: tuple[Copies, ...] = ()

    def flag(self, name: str) -> ScriptFlag | None:
        """The option that argparse would take `name` for: exact, or a beginning that fits one option alone.

        Hyphens and underscores count as the same: who writes the script's command line spells them its way.
        """
        wanted = name.replace("_", "-")
        by_name = {known.replace("_", "-"): flag for flag in self.flags for known in flag.names}
        if wanted in by_name:
            return by_name[wanted]
        near = {
            id(flag): flag for known, flag in by_name.items() if wanted.startswith("--") and known.startswith(wanted)
        }
        return next(iter(near.values())) if len(near) == 1 else None


class TorchBuild(msgspec.Struct, frozen=True):
    """The PyTorch of an interpreter.

    Attributes:
        cuda: version of CUDA that it was built for; empty for a build without.
        gpus: how many GPUs it sees, or why that is not known.
    """

    version: str
    cuda: str
    gpus: int | Unknown


class Interpreter(msgspec.Struct, frozen=True):
    """A Python that was asked what it has.

    Attributes:
        path: as it was given.
        packages: version by module name, for those that were asked for and are there; empty text where no version is told.
        absent: modules that were asked for and are not there.
        torch: its PyTorch, or why that is not known.
        late: whether it did not tell in time, which is no fault of the environment.
    """

    path: str
    version: str
    packages: dict[str, str] = {}
    absent: tuple[str, ...] = ()
    torch: TorchBuild | Unknown = Unknown(mark("not asked"))
    late: bool = False


class Java(msgspec.Struct, frozen=True):
    """The Java that a child process would find.

    Attributes:
        path: of the program; empty when there is none.
        version: or why it does not run.
        language: of its number format, e.g. "it" or "de_CH"; Unknown when it does not tell.
    """

    path: str
    version: str | Unknown
    language: str | Unknown


class LoginSession(msgspec.Struct, frozen=True):
    """Whether jobs outlive the log-out.

    Attributes:
        kills: whether the login manager ends a user's processes at log-out (KillUserProcesses).
        lingers: whether the user's own manager stays after it (enable-linger).
        in_session: whether this process belongs to a login session, and not to a service or a batch job.
        source: where `kills` was read.
    """

    kills: bool | Unknown
    lingers: bool | Unknown
    in_session: bool
    source: str


class TensorShape(msgspec.Struct, frozen=True):
    """A tensor in a saved file: its shape and element type, e.g. "float32"."""

    shape: tuple[int, ...]
    dtype: str


class SavedFile(msgspec.Struct, frozen=True):
    """What a file of PyTorch or of pickle holds, read without executing anything in it.

    Attributes:
        kind: the outermost object: "tensor", "dict", "list", "torchscript", or the name of its class.
        tensor: when the object itself is one.
        keys: of a dict, the first few.
        tensors: shapes by dotted name, for tensors inside dicts and lists.
        lists: lengths of lists and dicts inside objects, by dotted name.
        bytes: size of the file.
    """

    kind: str
    bytes: int
    tensor: TensorShape | None = None
    keys: tuple[str, ...] = ()
    tensors: dict[str, TensorShape] = {}
    lists: dict[str, int] = {}


class CachedWeights(msgspec.Struct, frozen=True):
    """Where open_clip has the weights of a tag.

    Attributes:
        known: whether open_clip knows the tag for this model.
        path: the file in the cache; empty when it is not there.
        cache: the folder that was looked into; source: where they would be fetched from.
    """

    model: str
    tag: str
    known: bool
    path: str
    cache: str
    source: str


class IdFile(msgspec.Struct, frozen=True):
    """One of M2's four lists of ids.

    Attributes:
        count: ids in it; or why it could not be read.
        annotations: how many of them are ids of captions; images: how many are ids of images.
        strangers: the first few that no caption has.
    """

    path: str
    count: int | Unknown
    annotations: int = 0
    images: int = 0
    strangers: tuple[int, ...] = ()
