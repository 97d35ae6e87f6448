"""No text of a plan goes past the catalogue: seen with a language that puts every text between brackets."""

from __future__ import annotations

import gettext
import re
import subprocess
import sys

import msgspec
import pytest

from fsgr_tui.cli import plan_view
from fsgr_tui.core import language, planfile
from fsgr_tui.core.compare import compare
from fsgr_tui.core.planner import plan_for
from fsgr_tui.core.tower import KNOWN
from fsgr_tui.core.units import GB, Unknown
from fsgr_tui.service import markdown
from tests.conftest import run_cli
from tests.fakes.planning import calibration, disk, gpu, situation
from tests.unit.test_plan_golden import MACHINES

BEGIN, END = "⟦", "⟧"


class Bracketed(gettext.NullTranslations):
    """Every text between brackets; what is filled into it lies inside them too."""

    def gettext(self, message: str) -> str:
        return f"{BEGIN}{message}{END}"

    def ngettext(self, one: str, many: str, count: int) -> str:
        return self.gettext(one if count == 1 else many)


@pytest.fixture
def bracketed():
    language.speak(Bracketed())
    yield
    language.use("en")


def past_the_catalogue(printed: str) -> list[str]:
    """The words outside all brackets."""
    outside, depth = [], 0
    for part in re.split(f"([{BEGIN}{END}])", printed):
        depth += (part == BEGIN) - (part == END)
        assert depth >= 0, printed
        if depth == 0 and part != END:
            outside.append(part)
    assert depth == 0, printed
    return re.findall(r"[A-Za-z_][\w.-]*", _without_names(" ".join(outside)))


def _without_names(text: str) -> str:
    """The text without what is the same in every language: commands, paths, names, numbers with their units."""
    for pattern in NAMES:
        text = re.sub(pattern, " ", text, flags=re.MULTILINE)
    return text


NAMES = (
    r"```sh(.|\n)*?```",
    r"\bViT-[BLH][-/]\d+\b",
    r"quota not checked: no quota command|no NVIDIA driver here|the driver reports no memory size",
    r"^ *fsgr-tui .*$",
    r"--(grid|dtype|stage) [\w-]+",
    r"[~\w.]*/[\w/.-]*",
    r"\b(float16|float32|uint8|gzip|encode\\?_image|(train|val)20\d\d|pixels_\w+)\b",
    r"\b(MiB|GiB|TB|GB|MB|kB|B)\b",
    r"\bGPU( \d+)?\b|\bNVIDIA[ \w-]*|\bTesla [\w-]+|\bH100[ \w.]*|\bV100[\w-]*|\bA100[\w-]*|\bRTX \d+|\bGB10\b",
    r"node, Linux 6.8, [\w() -]+",
    r"\((host|cgroup|Slurm|ext4|nfs4|lustre|overlay)\)",  # as the probes of these tests name them
    r"^ *[|>!-]? *[AB]\b( |$)",  # the ways and their votes
    r"\| [AB] \|",
    r"2026-11-24T10:00:00Z",
    r"\d+(\.\d+)?x\b|\b\d+ x \d+( x \d+)*|\bx\b",
)
"""All that may stand outside; readings of these tests' own machines among them."""


SITUATIONS = {
    **MACHINES,
    "measured": lambda: situation(300 * GB, gpu(), measured=(calibration(),)),
    "nothing known": lambda: situation(Unknown("no answer"), gpu(free=Unknown("not told"), total=Unknown("not told"))),
    "a disk that hangs": lambda: situation(
        0, gpu(), features=disk(NO_ANSWER, total=NO_ANSWER, inodes=NO_ANSWER, writable=False)
    ),
    "several models": lambda: situation(
        80 * GB, gpu(), towers=(KNOWN["ViT-B-16"], KNOWN["ViT-L-14"]), models=("ViT-B-16", "ViT-L-14"), batch_size=16
    ),
    "adapters and a paper": lambda: situation(300 * GB, gpu(), adapters=True, paper=True, labels=True),
    "only the training split": lambda: situation(20 * GB, gpu(), experiments=9),
}
NO_ANSWER = Unknown("no answer")


@pytest.mark.usefixtures("bracketed")
@pytest.mark.parametrize("name", SITUATIONS)
def test_no_text_of_a_plan_goes_past_the_catalogue(name, capsys):
    made = plan_for(SITUATIONS[name](), ())
    plan_view.show(made)
    assert past_the_catalogue(capsys.readouterr().out) == []
    assert past_the_catalogue(markdown.plan_page(made)) == []


@pytest.mark.usefixtures("bracketed")
def test_no_text_of_a_comparison_goes_past_the_catalogue(capsys):
    made = compare(SITUATIONS["several models"]())
    plan_view.show_comparison(made)
    assert past_the_catalogue(capsys.readouterr().out) == []
    assert past_the_catalogue(markdown.comparison_page(made)) == []


def test_a_text_that_goes_past_the_catalogue_is_seen():
    assert past_the_catalogue("⟦inside ⟦deep⟧ 3⟧ outside ViT-B-16 37.1 GB") == ["outside"]


@pytest.mark.usefixtures("bracketed")
def test_what_programs_read_is_the_same_in_every_language():
    made = SITUATIONS["3090 with 80 GB free"]
    spoken = plan_for(made())
    language.use("en")
    plain = plan_for(made())
    for one, other in ((spoken, plain), (compare(made()), compare(made()))):
        for a, b in zip(_identifiers(one), _identifiers(other), strict=True):
            assert a == b
    assert planfile.read(planfile.write(spoken)) == planfile.read(planfile.write(plain))


def _identifiers(value: object) -> list[object]:
    """Numbers, flags and keys of a document, in their order, without the texts that are written for people."""
    if isinstance(value, dict):
        if "present_bytes" in value:  # what is stored is named for people
            value = {key: inner for key, inner in value.items() if key != "name"}
        return [each for key, inner in value.items() if key not in TEXTS for each in (key, *_identifiers(inner))]
    if isinstance(value, (list, tuple)):
        return [each for inner in value for each in _identifiers(inner)]
    return [value] if not isinstance(value, msgspec.Struct) else _identifiers(msgspec.to_builtins(value))


TEXTS = {
    "reason", "certainty", "flips", "warnings", "text", "observed", "threshold", "why", "note", "exactness", "guide",
    "unknown", "what", "computed", "measured",
}  # fmt: skip


def _loaded(folder, spoken):
    """The modules that a plan has loaded, and the catalogues that it has opened."""
    code = (
        "import sys; opened = []; "
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None); "
        f"from fsgr_tui.cli import app; assert app.run(['plan', '--lang', '{spoken}']) == 0; "
        "print(*sys.modules, *(name for name in opened if name.endswith('.mo')), sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return done.stderr.split("\n")


def test_a_language_costs_a_plan_gettext_and_one_file(tmp_path):
    english, chinese = _loaded(tmp_path, "en"), _loaded(tmp_path, "zh")
    assert not [name for name in english if name.endswith(".mo")]
    assert len([name for name in chinese if name.endswith("fsgr_tui.mo")]) == 1
    for loaded in (english, chinese):
        assert "gettext" in loaded
        assert not [name for name in loaded if name.split(".")[0] in ("babel", "polib")]


def test_a_plan_file_in_chinese_is_read_back(tmp_path):
    asked = ("--dataset", "karpathy", "--gpu", "A100", "--disk-free", "300GB", "--out")
    for spoken in ("en", "zh"):
        run_cli("plan", "--lang", spoken, *asked, f"{spoken}.toml", cwd=tmp_path)
    english, chinese = ((tmp_path / f"{spoken}.toml").read_text("utf-8") for spoken in ("en", "zh"))
    assert planfile.read(chinese) == planfile.read(english)
    comments = [line for line in chinese.splitlines() if line.startswith("# ")]
    assert "没有判据反对" in "".join(comments)
    assert [line for line in chinese.splitlines() if not line.startswith("#")] == [
        line for line in english.splitlines() if not line.startswith("#")
    ]
