"""One catalogue for all texts: which language is chosen, and that no text lacks a translation."""

from __future__ import annotations

import ast
import gettext
import re
import string

import pytest

from fsgr_tui.core import language
from tests import catalogue
from tests.conftest import run_cli


@pytest.fixture
def chinese():
    language.use("zh_CN")
    yield
    language.use("en")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh_CN"),
        ({"LANG": "zh_CN.GB18030"}, "zh_CN"),
        ({"LANG": "zh_SG.UTF-8"}, "zh_CN"),
        ({"LANG": "zh_TW.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "de:zh_CN:en"}, "zh_CN"),
        ({"LANG": "C", "LANGUAGE": "zh_CN"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "FSGR_TUI_LANG": "en"}, "en"),
        ({"LANG": "en_US.UTF-8", "FSGR_TUI_LANG": "zh"}, "zh_CN"),
        ({"LANG": "zh_CN.UTF-8", "FSGR_TUI_LANG": "klingon"}, "zh_CN"),
    ],
)
def test_the_environment_chooses_the_language(environment, expected):
    assert language.of_environment(environment) == expected


@pytest.mark.parametrize("name", ["zh", "zh-CN", "zh_CN", "zh_CN.UTF-8", "zh-Hans", "ZH_cn"])
def test_names_of_chinese(name):
    assert language.known(name) == "zh_CN"


def test_values_are_no_format(chinese):
    assert language.tr("{odd} {names}", odd="{names} %s {0}", names="[b]") == "{names} %s {0} [b]"
    assert language.tr("a set {1, 2}") == "a set {1, 2}"


def test_no_text_stays_none(chinese):
    assert language.tr("") == ""


def test_sentences_and_names_in_a_row():
    assert language.sentences("It fits.", "", "Go on.") == "It fits. Go on."
    assert language.sentences("放得下。", "继续。", "Go.") == "放得下。继续。Go."
    assert (language.listed(["disk", "time"]), language.joined("A100", "idle")) == ("disk, time", "A100, idle")


def test_names_and_statements_in_chinese(chinese):
    assert (language.listed(["磁盘", "时间"]), language.joined("A100", "空闲")) == ("磁盘、时间", "A100，空闲")


def test_one_english_word_can_be_several_in_chinese(chinese):
    assert (language.tr("no"), language.tr("no (does not fit)")) == ("否", "放不下")
    language.use("en")
    assert (language.tr("no"), language.tr("no (does not fit)")) == ("no", "no")


def test_no_text_lacks_a_translation():
    """Run `python -m tests.catalogue` and translate what this names."""
    translated = catalogue.read()
    missing = []
    for message in catalogue.texts():
        found = translated.get(message.id)
        if message.id and (found is None or found.fuzzy or not all(_strings(found))):
            missing.append((message.id, message.locations[:1]))
    assert missing == []


def test_no_translation_is_left_over():
    wanted = {message.id for message in catalogue.texts()}
    assert [message.id for message in catalogue.read() if message.id not in wanted] == []


def test_the_compiled_catalogue_is_that_of_its_source():
    with catalogue.po_file().with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message in catalogue.read():
        if not message.id or not all(_strings(message)):
            continue
        found = compiled.ngettext(*message.id, 2) if isinstance(message.id, tuple) else compiled.gettext(message.id)
        assert found == _strings(message)[0]


def test_translations_fill_in_what_the_texts_do():
    formatter = string.Formatter()

    def names(text):
        return {name for _, name, _, _ in formatter.parse(text) if name is not None}

    wrong = []
    for message in catalogue.read():
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        if not message.id or not _is_format(ids):
            continue
        allowed = set().union(*map(names, ids))
        # A singular may leave the count out; a language without one uses the plural's.
        wrong += [(message.id, text) for text in _strings(message) if names(text) != allowed]
    assert wrong == []


def _is_format(ids):
    try:
        return all(
            name.isidentifier() for text in ids for _, name, _, _ in string.Formatter().parse(text) if name is not None
        )
    except ValueError:
        return False


def _strings(message):
    return message.string if isinstance(message.string, (tuple, list)) else (message.string,)


def test_texts_are_whole_literals():
    """A text that is put together before `tr` sees it can be in no catalogue."""
    wrong = []
    for path in sorted(catalogue.PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("tr", "trn", "mark"):
                count = 2 if node.func.id == "trn" else 1
                wrong += [
                    f"{path.name}:{node.lineno}"
                    for argument in node.args[:count]
                    if isinstance(argument, (ast.JoinedStr, ast.BinOp))
                ]
    assert wrong == []


def test_texts_within_f_strings_are_found(tmp_path, monkeypatch):
    (tmp_path / "module.py").write_text("shown = f\"{tr('inside')}: {trn('one', 'many', 2)}\"", "utf-8")
    monkeypatch.setattr(catalogue, "PACKAGE", tmp_path)
    assert {message.id for message in catalogue.texts()} - {""} == {"inside", ("one", "many")}


def test_the_command_line_takes_a_language(tmp_path):
    spoken = run_cli("--plan", "--lang", "zh", cwd=tmp_path)
    assert "预计算" in spoken.stdout
    assert _words(run_cli("--lang=zh_CN", "plan", cwd=tmp_path)) == _words(spoken)
    by_locale = run_cli(
        "plan", cwd=tmp_path, env={"FSGR_TUI_LANG": "", "LC_ALL": "zh_CN.UTF-8", "PYTHONIOENCODING": "utf-8"}
    )
    assert _words(by_locale) == _words(spoken)


def _words(done):
    """What was printed, without the numbers: free memory and the like change between two looks."""
    return re.sub(r"[\d\s.,]", "", done.stdout)


def test_a_language_that_is_not_here_is_refused():
    done = run_cli("--plan", "--lang", "xx")
    assert done.returncode == 2
    assert "--lang xx" in done.stderr
    assert "zh_CN" in done.stderr


def test_json_is_english_unless_a_language_is_named(tmp_path):
    chinese_locale = {"FSGR_TUI_LANG": "", "LC_ALL": "zh_CN.UTF-8", "PYTHONIOENCODING": "utf-8"}
    assert run_cli("plan", "--json", cwd=tmp_path, env=chinese_locale).stdout.isascii()
    assert not run_cli("plan", "--json", "--lang", "zh", cwd=tmp_path).stdout.isascii()


def test_a_stream_that_cannot_hold_chinese_gets_english(tmp_path):
    done = run_cli(
        "plan", cwd=tmp_path, env={"FSGR_TUI_LANG": "", "LC_ALL": "zh_CN.UTF-8", "PYTHONIOENCODING": "ascii"}
    )
    assert "PRECOMPUTED" in done.stdout or "REALTIME" in done.stdout
    assert "\\u" not in done.stdout
