"""Faults that a user can meet, each with what is wrong, what to do, and the exit code that it stands for."""

from typing import ClassVar

from fsgr_tui.core.language import tr

EXIT_OK = 0
EXIT_FOUND_FAULTS = 1
EXIT_BAD_REQUEST = 2
EXIT_MACHINE_CANNOT = 3
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
EXIT_HUNG_UP = 129


class Problem(Exception):  # noqa: N818 - a problem is told to a person; "Error" would promise a bug
    """A foreseeable fault.

    Attributes:
        what: names the thing (path, id, flag) and says what is wrong with it.
        fix: what the user can do about it; may be empty.
        exit_code: the process exit code that this kind of fault stands for.
    """

    exit_code: ClassVar[int] = EXIT_BAD_REQUEST

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}\n  {self.fix}" if self.fix else self.what


class BadRequest(Problem):
    """The command or its configuration is wrong; nothing was started."""


class MachineCannot(Problem):
    """The request is fine, but this machine cannot do it now (no space, no GPU, a held lock, missing weights)."""

    exit_code: ClassVar[int] = EXIT_MACHINE_CANNOT


class FoundFaults(Problem):
    """Work was done, and something in it is missing or bad."""

    exit_code: ClassVar[int] = EXIT_FOUND_FAULTS


class MissingExtra(MachineCannot):
    """A command needs packages that the base install leaves out."""

    def __init__(self, command: str, extra: str, missing: str) -> None:
        super().__init__(
            tr(
                "`fsgr-tui {command}` needs the package {missing}, which is not installed here.",
                command=command,
                missing=missing,
            ),
            tr(
                "Install the extra: pip install 'fsgr-tui[{extra}]' (from a checkout: pip install -e '.[{extra}]').",
                extra=extra,
            ),
        )


def did_you_mean(name: str, known: list[str], limit: int = 5) -> str:
    """Near names for a mistyped one, as a sentence; empty when nothing is near."""
    from difflib import get_close_matches

    by_lower = {candidate.lower(): candidate for candidate in known}
    near = [by_lower[match] for match in get_close_matches(name.lower(), list(by_lower), n=limit, cutoff=0.6)]
    return tr("Did you mean {names}?", names=", ".join(near)) if near else ""
