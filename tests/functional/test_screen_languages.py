"""Every text of the screen goes through the catalogue, and Chinese keeps its columns."""

from __future__ import annotations

import gettext
import re
from dataclasses import replace

import msgspec
import pytest
from textual.screen import ModalScreen
from wcwidth import wcswidth

from fsgr_tui.core import language
from fsgr_tui.tui.remembered import Remembered
from fsgr_tui.tui.screens.asking import Help
from fsgr_tui.tui.seen import JobsSeen
from tests.fakes import screen as fakes
from tests.fakes.piloting import shown, until
from tests.fakes.screen import World
from tests.functional.test_screen import BUSY, after

LATIN = {
    chr(base + number): chr(other + number) for base, other in ((0x61, 0x430), (0x41, 0x410)) for number in range(26)
}
KEPT = re.compile(r"(\{[^{}]*\}|\[.\])")

# What is the same in every language: names, units, commands, flags, formats, and what a machine or a lab calls its own.
NAMES = re.compile(
    r"""
    ·\ images\b | --mode\ \w+ | (?:Traceback|OSError).* | /[\w./\[\]-]+ | [\w.-]+\.(?:hdf5|toml|part|jpg|html|ledger) | \S*_\S* | --[\w-]+
    | fsgr-tui(?:\ (?:--plan|[a-z]+))? | (?:extract|train|check)-\d{4}-\d{6}-\w{4}
    | \b(?:CLIP|GPUs?|CPUs?|MIG|COCO|FSGR|HDF5|LMDB|ViT[-/\w]*|openai|random|RTX|NVIDIA|GeForce|Slurm|Linux|cgroup|NaN|CIDEr|D)\b
    | \b(?:train2014|val2014|test2014|karpathy|coco\w*|gpu07|ext4|\w*float\w*|fp(?:16|32)|bf16|cuda|native|gzip|pillow|torchvision|loss)\b
    | \b(?:[kMGT]?B|GiB|GHz|px|ms|min|img|none)\b | \d+(?:\.\d+)?(?:px|x|xA\w+)\b | \b\dx\d\b | \bx\d+\b
    | \b(?:Enter|Esc|Tab|F1|esc|tab|enter|space|home|end|pgup|pgdn|del|shift|ctrl)\b | \^[a-z]
    """,
    re.VERBOSE,
)


class Foreign(gettext.NullTranslations):
    """A language that is no other: the texts of the code in other letters, as wide as before."""

    def gettext(self, message: str) -> str:
        return "".join(
            part if KEPT.fullmatch(part) else "".join(LATIN.get(char, char) for char in part)
            for part in KEPT.split(message)
        )

    def ngettext(self, one: str, many: str, n: int) -> str:
        return self.gettext(one if n == 1 else many)


@pytest.fixture
def foreign():
    catalogue = Foreign()
    language.speak(catalogue)
    yield catalogue.gettext
    language.use(language.ENGLISH)


@pytest.fixture
def chinese():
    language.use(language.CHINESE)
    yield
    language.use(language.ENGLISH)


def world(say) -> World:
    """The facts of the other tests, with the words of jobs and checks as those would say them."""
    progress = replace_texts(fakes.RUNNING.progress, say, "bottleneck")
    running = msgspec.structs.replace(fakes.RUNNING, progress=progress, notices=tuple(map(say, fakes.RUNNING.notices)))
    cause = fakes.FAILED.cause
    failed = msgspec.structs.replace(fakes.FAILED, cause=replace_texts(cause, say, "text", "advice", "line"))
    course = replace(fakes.COURSE, log=())
    rows = tuple(replace_texts(row, say, "what", "expected", "found", "detail") for row in fakes.BAD_REPORT.rows)
    report = msgspec.structs.replace(replace_texts(fakes.BAD_REPORT, say, "headline", "depth"), rows=rows)
    comparison = replace_texts(fakes.COMPARISON, say, "headline", "depth")
    rows = tuple(replace_texts(row, say, "a", "b", "detail") for row in comparison.rows)
    comparison = msgspec.structs.replace(comparison, rows=rows)
    return World(
        seen=JobsSeen((running, failed, fakes.DONE), course),
        files=fakes.TWO_FILES,
        outcome=report,
        comparison=comparison,
        findings=tuple(replace_texts(finding, say, "what", "found", "needed") for finding in World().findings),
    )


def replace_texts(struct, say, *names: str):
    return msgspec.structs.replace(struct, **{name: say(getattr(struct, name)) for name in names})


def in_front(app) -> str:
    """What a dialog shows, without the place below it; or what the place shows."""
    lines = shown(app).splitlines()
    boxes = app.screen.query(".box")
    if not isinstance(app.screen, ModalScreen) or not boxes:
        return "\n".join(lines)
    region = boxes.first().region
    return "\n".join(line[region.x : region.right] for line in lines[region.y : region.bottom])


def left_over(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]{2,}", NAMES.sub(" ", text)))


PLACES_AND_DIALOGS = {
    "plan": "", "plan, enlarged": "z", "greeting": "", "help": "question_mark", "intent": "i", "intent, help": "i f1",
    "steps": "a", "preflight": "p", "run": "2", "jobs": "3", "failed job": "3 down", "log": "3 l", "curves": "3 m", "stop": "3 s", "delete": "3 down x",
    "report": "3 down o", "log, searched": "3 l slash 1 enter", "other runs": "3 m o", "patch": "4 v down", "two files": "4 m down d",
    "features": "4", "check": "4 c", "sample": "4 v", "compare": "5", "palette": "ctrl+p", "nothing found": "ctrl+p @ @",
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES_AND_DIALOGS)
async def test_no_text_goes_past_the_catalogue(foreign, tmp_path, name):
    """On a screen so large that no word is cut: a piece of a path would look like a word."""
    remembered = Remembered() if name == "greeting" else None
    facts = world(foreign)
    facts.log_folder = str(tmp_path)
    (tmp_path / fakes.RUNNING.name).write_text("1\n" * 100)
    async with facts.app(remembered=remembered).run_test(size=(400, 120)) as pilot:
        await until(pilot, lambda: foreign("PRECOMPUTED") in shown(pilot.app))
        for key in PLACES_AND_DIALOGS[name].split():
            await pilot.press(key)
            await pilot.pause(0.1)
            await pilot.app.workers.wait_for_complete()
        for box in pilot.app.screen.query(".box"):
            box.styles.width = box.styles.max_width = 390
        await pilot.pause(0.7 if name == "nothing found" else 0.1)
        text = in_front(pilot.app)
        assert left_over(text) == set(), text


EXPLAINED = {
    "intent": "i", "steps": "a", "log": "3 l", "curves": "3 m", "stop": "3 s", "sample": "4 v", "two files": "4 m down d",
}  # fmt: skip


@pytest.mark.parametrize("name", EXPLAINED)
async def test_help_explains_what_is_in_front_and_gives_it_back(tmp_path, name):
    facts = world(str)
    facts.log_folder = str(tmp_path)
    (tmp_path / fakes.RUNNING.name).write_text("1\n" * 100)
    async with facts.app().run_test(size=(100, 60)) as pilot:
        await until(pilot, lambda: "PRECOMPUTED" in shown(pilot.app))
        for key in EXPLAINED[name].split():
            await pilot.press(key)
            await pilot.pause(0.1)
        front = pilot.app.screen
        assert front.NAME
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(pilot.app.screen, Help))
        words = " ".join(in_front(pilot.app).replace("│", " ").split())
        assert " ".join(front.ABOUT.split()[:4]) in words
        assert "Help" in words
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is front)


CHINESE = {
    "plan": "",
    "run": "2",
    "jobs": "3",
    "features": "4 c",
    "compare": "5",
    "intent": "i",
    "help": "question_mark",
    "curves": "3 m",
    "sample": "4 v down",
}


@pytest.mark.parametrize("name", CHINESE)
def test_chinese(snap_compare, chinese, monkeypatch, name):
    """Look at the pictures after a change of these texts: `python -m tests.screenshots` shows how to draw them."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    app = World(seen=BUSY, files=fakes.FILES).app()
    assert snap_compare(app, terminal_size=(80, 24), run_before=after(*CHINESE[name].split()))


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40), (200, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_no_wide_character_is_cut_and_every_line_keeps_its_width(chinese, size):
    async with World(seen=BUSY, files=fakes.FILES).app().run_test(size=size) as pilot:
        await until(pilot, lambda: "预计算" in shown(pilot.app))
        for key in ("2", "escape", "3", "l", "escape", "m", "escape", "4", "c", "v", "escape", "5", "1", "i", "f1"):
            await pilot.press(key)
            await pilot.pause(0.1)
            for line in shown(pilot.app).splitlines():
                assert wcswidth(line) == size[0], line
