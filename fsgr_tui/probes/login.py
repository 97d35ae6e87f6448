"""Log-out: whether systemd's login manager would end a user's jobs (KillUserProcesses), and what protects them."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from fsgr_tui.core.lab import LoginSession
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import Unknown

DEADLINE_S: Final = 2.0

_BOOTED: Final = "/run/systemd/system"  # sd_booted(3)
# logind.conf(5): one main file, the first that is there; drop-ins of all places, sorted by name; the last setting wins.
_MAIN_FILES: Final = ("/etc/systemd/logind.conf", "/run/systemd/logind.conf", "/usr/lib/systemd/logind.conf")
_DROP_INS: Final = tuple(f"{folder}/systemd/logind.conf.d" for folder in ("/usr/lib", "/run", "/etc"))
_YES: Final = frozenset({"yes", "true", "on", "1", "y", "t"})


class LoginSystem(Protocol):
    """What the probe asks of the world."""

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder."""
        ...

    def read(self, path: str) -> str:
        """Text of a file; raises OSError."""
        ...

    def names(self, folder: str) -> Sequence[str]:
        """Names of a folder's files; empty when it is not there."""
        ...

    def loginctl(self, *arguments: str) -> str | Unknown:
        """What the login manager answers, or why it does not."""
        ...

    def user(self) -> str:
        """The user's name."""
        ...


class LocalLogin:
    """This machine; its files are read under `root`, so that a test can build an /etc of its own."""

    def __init__(self, root: str | os.PathLike[str] = "/") -> None:
        self._root = Path(root)

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder."""
        return (self._root / path.lstrip("/")).exists()

    def read(self, path: str) -> str:
        """Text of a file."""
        return (self._root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace")

    def names(self, folder: str) -> Sequence[str]:
        """Names of a folder's files."""
        try:
            return sorted(entry.name for entry in (self._root / folder.lstrip("/")).iterdir())
        except OSError:
            return ()

    def loginctl(self, *arguments: str) -> str | Unknown:
        """What loginctl prints; a bus that hangs is left after two seconds."""
        try:
            done = subprocess.run(
                ["loginctl", "--no-pager", *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Unknown(tr("loginctl gave no answer within {deadline_s:g} s", deadline_s=DEADLINE_S))
        except OSError:
            return Unknown(tr("no loginctl command"))
        if done.returncode:
            return Unknown(
                (
                    done.stderr.strip().splitlines()
                    or [tr("loginctl failed (exit {returncode})", returncode=done.returncode)]
                )[0]
            )
        return done.stdout

    def user(self) -> str:
        """The user's name; the number where it has none, as in many containers."""
        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            return str(os.getuid())


LOCAL_LOGIN: Final = LocalLogin()


def probe_login(system: LoginSystem = LOCAL_LOGIN) -> LoginSession:
    """Whether jobs of this user outlive the log-out. Never raises; takes at most a few seconds."""
    in_session = _in_session(system)
    if not system.exists(_BOOTED):
        return LoginSession(kills=False, lingers=False, in_session=in_session, source=tr("no systemd runs here"))
    answer = system.loginctl(
        "show-user", "--property=KillUserProcesses", "--property=KillOnlyUsers", "--property=KillExcludeUsers"
    )
    settings, source = (
        (_settings(system), "logind.conf") if isinstance(answer, Unknown) else (_assignments(answer), "loginctl")
    )
    return LoginSession(_kills(settings, system.user(), answer), _lingers(system), in_session, source)


def _kills(settings: dict[str, str], user: str, answer: str | Unknown) -> bool | Unknown:
    if "KillUserProcesses" not in settings:
        why = tr("logind.conf leaves it to systemd's default, which distributions set differently")
        return Unknown(f"{answer.reason}; {why}" if isinstance(answer, Unknown) else why)
    if settings["KillUserProcesses"].lower() not in _YES:
        return False
    only = settings.get("KillOnlyUsers", "").split()
    # logind.conf(5): root is spared unless another list is given.
    spared = settings.get("KillExcludeUsers", "root").split()
    return user not in spared and (not only or user in only)


def _lingers(system: LoginSystem) -> bool | Unknown:
    answer = system.loginctl("show-user", system.user(), "--property=Linger")
    if isinstance(answer, Unknown):
        # loginctl refuses for a user who is not logged in; the setting itself is a file (loginctl(1), enable-linger).
        return system.exists(f"/var/lib/systemd/linger/{system.user()}")
    return _assignments(answer).get("Linger", "no").lower() in _YES


def _in_session(system: LoginSystem) -> bool:
    """Processes of a log-in lie in `session-N.scope`; those of services and batch jobs do not."""
    try:
        return "/session-" in system.read("/proc/self/cgroup")
    except OSError:
        return False


def _settings(system: LoginSystem) -> dict[str, str]:
    found: dict[str, str] = {}
    main = [path for path in _MAIN_FILES if system.exists(path)][:1]
    drop_ins = {
        name: f"{folder}/{name}" for folder in _DROP_INS for name in system.names(folder) if name.endswith(".conf")
    }
    for path in [*main, *(drop_ins[name] for name in sorted(drop_ins))]:
        try:
            found |= _assignments(system.read(path))
        except OSError:
            continue
    return found


def _assignments(text: str) -> dict[str, str]:
    lines = (line.strip().partition("=") for line in text.splitlines() if not line.strip().startswith(("#", ";", "[")))
    return {name.strip(): value.strip() for name, sign, value in lines if sign}
