"""On a real pseudo-terminal: sixteen colours, Chinese and its fallbacks, the mouse, and how soon a key is answered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench.screen import answer_s
from tests.terminal.on_pty import Session, environment, plain

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
FROZEN = "tests.terminal.frozen"
COLOURED = re.compile(rb"\x1b\[([0-9;]*)m")
MANY_COLOURS = re.compile(rb"(?:^|;)[34]8;[25];")
SIXTEEN = {*range(30, 38), *range(40, 48), *range(90, 98), *range(100, 108)}


@pytest.fixture
def home(tmp_path):
    return str(tmp_path)


def frozen(home, *modes, **env):
    return Session(list(modes), environment(home, **env), str(REPOSITORY), module=FROZEN)


@pytest.mark.parametrize("term", ["linux", "xterm-16color", "screen"])
def test_a_terminal_with_sixteen_colours_gets_those_and_the_hues_stay(home, term):
    with frozen(home, TERM=term) as session:
        session.wait_for("PRECOMPUTED")
        for key in "T3T145i\x1b":
            session.press(key)
            session.read_for(0.4)
        sent = COLOURED.findall(session.output)
        assert not any(MANY_COLOURS.search(codes) for codes in sent)
        colours = {int(code) for codes in sent for code in codes.split(b";") if code} & SIXTEEN
        # Way B, what fits, and the row under the cursor.
        assert {96, 92, 44} <= colours


def click(session: Session, column: int, row: int) -> None:
    """Press and release the left button, as terminals tell it (SGR; cells count from one)."""
    session.press(f"\x1b[<0;{column};{row}M\x1b[<0;{column};{row}m")


def test_the_mouse_chooses_a_row_goes_to_a_place_and_presses_a_key(home):
    with frozen(home) as session:
        session.wait_for("PRECOMPUTED")
        session.settle(0.5)
        # The third of the criteria, whose reason comes into sight.
        click(session, 10, 14)
        session.wait_for("Say --experiments N")
        click(session, 76, 1)
        session.wait_for("Three ways")
        click(session, 4, 24)
        session.wait_for("The same on the command line")


def test_all_of_it_works_without_a_mouse(home):
    with frozen(home) as session:
        session.wait_for("PRECOMPUTED")
        session.press("\x1b[B\x1b[B")
        session.wait_for("Say --experiments N")
        session.press("5")
        session.wait_for("Three ways")


def test_chinese_from_the_first_frame_on(home, tmp_path):
    env = environment(home, LANG="zh_CN.UTF-8", FSGR_TUI_LANG=None)
    with Session([], env, str(tmp_path)) as session:
        session.wait_for("5 对比")
        session.wait_for("预计算")
        session.press("q")
        assert session.end() == 0
        first = plain(session.output[: session.output.index("对比".encode())])
        assert "规划" in first


@pytest.mark.parametrize("changes", [{"TERM": "linux"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_CTYPE": "zh_CN.GB18030"}])
def test_where_chinese_would_not_arrive_the_screen_is_english(home, tmp_path, changes):
    env = environment(home, LANG="zh_CN.UTF-8", FSGR_TUI_LANG=None, **changes)
    with Session([], env, str(tmp_path)) as session:
        session.wait_for("5 Compare")
        session.wait_for("PRECOMPUTED")
        assert session.output.isascii()


def test_another_place_is_answered_within_50_ms(home):
    """The best of ten, since tests run on every core at once; `tests.bench screen` measures the usual."""
    with frozen(home, "live") as session:
        session.wait_for("PRECOMPUTED")
        for key in "31":
            session.press(key)
            session.settle(0.5, 3)
        took = []
        for _ in range(5):
            for key, words in (("3", " Jobs "), ("1", " Verdict ")):
                session.read_for(0.2)
                took.append(answer_s(session, key, words))
        assert min(took) < 0.05, took
