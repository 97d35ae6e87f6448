"""The lab's Python, Java and log-in, through fake programs on PATH and a fake /etc."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from fsgr_tui.core.errors import BadRequest, MachineCannot
from fsgr_tui.core.lab import LoginSession, TorchBuild
from fsgr_tui.core.units import Unknown
from fsgr_tui.probes.interpreter import probe_interpreter
from fsgr_tui.probes.java import probe_java
from fsgr_tui.probes.login import LocalLogin, probe_login
from fsgr_tui.probes.weights import probe_cached_weights
from tests.fakes.lab import write_program, write_python

# -- another Python -----------------------------------------------------------------------------------------------------


def test_this_python_tells_its_packages_and_what_it_lacks():
    told = probe_interpreter(sys.executable, ("msgspec", "no_such_module"))
    assert told.version == ".".join(map(str, sys.version_info[:3]))
    assert told.packages["msgspec"][0].isdigit()
    assert (told.absent, told.torch) == (("no_such_module",), Unknown("not asked"))


@pytest.mark.torch
@pytest.mark.slow
def test_the_installed_torch_is_told_with_its_build():
    torch = pytest.importorskip("torch")
    told = probe_interpreter(sys.executable, ("torch",)).torch
    assert told == TorchBuild(torch.__version__, torch.version.cuda or "", torch.cuda.device_count())


def test_a_lab_python_is_told_with_its_torch(tmp_path):
    python = write_python(
        tmp_path / "python", packages={"torch": "1.13.1"}, torch={"torch": "1.13.1", "cuda": "11.7", "gpus": 2}
    )
    told = probe_interpreter(str(python), ("torch", "spacy"))
    assert (told.version, told.absent, told.torch) == ("3.8.19", ("spacy",), TorchBuild("1.13.1", "11.7", 2))


def test_a_torch_that_hangs_hides_nothing_else(tmp_path):
    facts = '{"python": "3.8.19", "packages": {"torch": "1.13.1"}}'
    python = write_program(tmp_path / "python", f"echo '{facts}'; sleep 30")
    start = time.perf_counter()
    told = probe_interpreter(str(python), ("torch",), deadline_s=0.5)
    assert time.perf_counter() - start < 5
    assert (told.packages, told.torch) == ({"torch": "1.13.1"}, Unknown("no answer within 0.5 s"))
    assert told.late


def test_a_torch_that_cannot_be_imported_is_told_in_its_words(tmp_path):
    python = write_python(
        tmp_path / "python", packages={"torch": "1.13.1"}, torch={"failed": "OSError: libcudart.so.11.0"}
    )
    assert probe_interpreter(str(python), ("torch",)).torch == Unknown("OSError: libcudart.so.11.0")


def test_lines_that_are_no_facts_are_passed_over(tmp_path):
    python = write_program(
        tmp_path / "python", 'echo welcome; echo \'[1]\'; echo \'{"python": "3.9", "packages": {}}\''
    )
    assert probe_interpreter(str(python), ()).version == "3.9"


def test_a_python_that_says_nothing_is_a_machine_that_cannot(tmp_path):
    with pytest.raises(MachineCannot, match="exit 3: no libpython"):
        probe_interpreter(str(write_program(tmp_path / "python", "echo no libpython >&2; exit 3")), ())


def test_a_path_that_is_no_program_is_a_bad_request(tmp_path):
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/bin/python").touch()
    with pytest.raises(BadRequest) as caught:
        probe_interpreter(str(tmp_path / "env"), ())
    assert "env/bin/python" in caught.value.fix
    with pytest.raises(BadRequest, match="cannot be run"):
        probe_interpreter(str(tmp_path / "env/bin/python"), ())
    with pytest.raises(BadRequest, match="is not there"):
        probe_interpreter(str(tmp_path / "none"), ())


def test_a_module_in_the_working_folder_is_not_taken_for_a_package(tmp_path, monkeypatch):
    (tmp_path / "en_core_web_sm").mkdir()
    (tmp_path / "en_core_web_sm/__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    assert probe_interpreter(sys.executable, ("en_core_web_sm",)).absent == ("en_core_web_sm",)


# -- Java ---------------------------------------------------------------------------------------------------------------

SETTINGS = r"""cat >&2 <<'END'
Property settings:
    java.version = 17.0.15
    user.country = IT
    user.language = it

openjdk version "17.0.15" 2025-04-15
END"""


def java_on_path(folder: Path, monkeypatch, script: str | None):
    if script is not None:
        write_program(folder / "java", script)
    monkeypatch.setenv("PATH", str(folder) + (f":{os.environ['PATH']}" if script is not None else ""))
    return probe_java(deadline_s=1.0)


def test_without_java_on_path_there_is_none(tmp_path, monkeypatch):
    java = java_on_path(tmp_path, monkeypatch, None)
    assert (java.path, java.version) == ("", Unknown("not on PATH"))


def test_a_java_tells_its_version_and_its_language(tmp_path, monkeypatch):
    java = java_on_path(tmp_path, monkeypatch, SETTINGS)
    assert (java.path, java.version, java.language) == (str(tmp_path / "java"), "17.0.15", "it_IT")


def test_the_format_locale_counts_where_it_differs_from_the_languages(tmp_path, monkeypatch):
    script = SETTINGS.replace("    user.language = it", "    user.language = en\n    user.language.format = it")
    assert java_on_path(tmp_path, monkeypatch, script).language == "it_IT"


def test_an_old_java_without_settings_still_has_a_version(tmp_path, monkeypatch):
    java = java_on_path(tmp_path, monkeypatch, "echo 'java version \"1.8.0_392\"' >&2")
    assert (java.version, java.language) == ("1.8.0_392", Unknown("Java does not tell its locale"))


def test_a_java_that_exits_1_does_not_run(tmp_path, monkeypatch):
    java = java_on_path(tmp_path, monkeypatch, "echo 'Error: could not find libjava.so' >&2; exit 1")
    assert java.version == Unknown("exit 1: Error: could not find libjava.so")


def test_a_java_that_hangs_is_left_after_its_deadline(tmp_path, monkeypatch):
    assert java_on_path(tmp_path, monkeypatch, "exec sleep 30").version == Unknown("no answer within 1 s")


def test_a_java_in_a_folder_with_a_blank_in_its_name_runs(tmp_path, monkeypatch):
    assert java_on_path(tmp_path / "my java", monkeypatch, SETTINGS).version == "17.0.15"


# -- log-out --------------------------------------------------------------------------------------------------------------


class FakeLogin(LocalLogin):
    """A machine whose files lie in a folder of the test; `answers` maps loginctl's first property to what it prints."""

    def __init__(self, root: Path, *, answers: dict[str, str] | None = None, booted=True, session=True, user="ann"):
        super().__init__(root)
        self.root, self.answers, self.name = root, answers, user
        if booted:
            self.write("/run/systemd/system/.keep", "")
        self.write(
            "/proc/self/cgroup",
            "0::/user.slice/user-1000.slice/" + ("session-3.scope" if session else "user@1000.service"),
        )

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def loginctl(self, *arguments):
        if self.answers is None:
            return Unknown("no loginctl command")
        return self.answers["Linger" if "--property=Linger" in arguments else "Kill"]

    def user(self):
        return self.name


def login(tmp_path, **changes) -> LoginSession:
    return probe_login(FakeLogin(tmp_path, **changes))


def answers(kill: str, linger: str = "no", exclude: str = "root", only: str = "") -> dict[str, str]:
    return {
        "Kill": f"KillUserProcesses={kill}\nKillOnlyUsers={only}\nKillExcludeUsers={exclude}\n",
        "Linger": f"Linger={linger}\n",
    }


@pytest.mark.parametrize(
    ("told", "user", "kills"),
    [
        (answers("no"), "ann", False),
        (answers("yes"), "ann", True),
        (answers("yes"), "root", False),
        (answers("yes", exclude="root ann"), "ann", False),
        (answers("yes", only="bob"), "ann", False),
        (answers("yes", only="bob ann"), "ann", True),
    ],
)
def test_loginctl_tells_whether_this_users_processes_are_ended(tmp_path, told, user, kills):
    session = login(tmp_path, answers=told, user=user)
    assert (session.kills, session.in_session, session.source) == (kills, True, "loginctl")


def test_lingering_is_told(tmp_path):
    assert login(tmp_path, answers=answers("yes", linger="yes")).lingers is True


def test_without_loginctl_the_files_tell_and_the_last_setting_wins(tmp_path):
    machine = FakeLogin(tmp_path)
    machine.write("/etc/systemd/logind.conf", "[Login]\n#KillUserProcesses=no\nKillUserProcesses=no\n")
    machine.write("/usr/lib/systemd/logind.conf.d/50-site.conf", "[Login]\nKillUserProcesses = yes\n")
    machine.write("/var/lib/systemd/linger/ann", "")
    session = probe_login(machine)
    assert (session.kills, session.lingers, session.source) == (True, True, "logind.conf")
    machine.write("/etc/systemd/logind.conf.d/50-site.conf", "[Login]\nKillUserProcesses=no\n")
    assert probe_login(machine).kills is False


def test_files_that_leave_it_open_make_it_unknown(tmp_path):
    machine = FakeLogin(tmp_path)
    machine.write("/etc/systemd/logind.conf", "[Login]\n#KillUserProcesses=no\n")
    kills = probe_login(machine).kills
    assert isinstance(kills, Unknown)
    assert "no loginctl command" in kills.reason


def test_where_no_systemd_runs_nothing_ends_the_jobs(tmp_path):
    assert login(tmp_path, booted=False).kills is False


def test_a_service_or_a_batch_job_is_no_login_session(tmp_path):
    assert login(tmp_path, answers=answers("yes"), session=False).in_session is False


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exec sleep 30", "loginctl gave no answer within 2 s"),
        ("echo 'Failed to connect to bus' >&2; exit 1", "Failed to connect to bus"),
    ],
)
def test_a_loginctl_that_hangs_or_fails_is_unknown(tmp_path, monkeypatch, script, reason):
    write_program(tmp_path / "loginctl", script)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert LocalLogin().loginctl("show-user") == Unknown(reason)


# -- weights of a tag -------------------------------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.slow
def test_weights_of_a_tag_are_looked_for_in_the_cache_without_the_network(tmp_path, monkeypatch):
    pytest.importorskip("open_clip")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    told = probe_cached_weights("ViT-B-16", "openai")
    assert (told.known, told.path, told.cache) == (True, "", str(tmp_path))
    snapshot = tmp_path / "models--timm--vit_base_patch16_clip_224.openai/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "open_clip_model.safetensors").touch()
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    assert probe_cached_weights("ViT-B-16", "openai").path == str(snapshot / "open_clip_model.safetensors")


def test_an_open_clip_that_fails_or_hangs_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(write_program(tmp_path / "python", "echo broken >&2; exit 1")))
    assert probe_cached_weights("ViT-B-16", "openai") == Unknown("broken")
    monkeypatch.setattr(sys, "executable", str(write_program(tmp_path / "slow", "exec sleep 30")))
    assert probe_cached_weights("ViT-B-16", "openai", deadline_s=0.2) == Unknown(
        "open_clip gave no answer within 0.2 s"
    )
