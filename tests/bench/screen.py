"""The screen on a pseudo-terminal: how soon it paints and answers, and what it sends."""

from __future__ import annotations

import contextlib
import os
import select
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.table import Row, Table
from tests.terminal.on_pty import Session, environment, plain

if TYPE_CHECKING:
    from tests.bench.__main__ import Bench

REPOSITORY = Path(__file__).parents[2]
FROZEN = "tests.terminal.frozen"

FIRST_S = 0.3
ANSWER_S = 0.05
LIVE_BYTES_S = 15_000
SIZES = ((80, 24), (200, 50))

# The least that a Textual program does: one line of text.
BARE = """
from textual.app import App
from textual.widgets import Static

class Bare(App):
    def compose(self):
        yield Static("first paint of a bare app", markup=False)

Bare().run()
"""


def run(bench: Bench) -> list[Table]:
    rounds, seconds = (3, 5.0) if bench.quick else (9, 20.0)
    bench.say(f"screen: {rounds} starts, and {seconds:.0f} s of watching")
    return [_starts(bench.folder, rounds), _answers(bench.folder, rounds), _sent(bench.folder, seconds)]


def _starts(folder: Path, rounds: int) -> Table:
    (folder / "bare").mkdir()
    (folder / "bare" / "__main__.py").write_text(BARE)
    bare, frame, plan = [], [], []
    for _ in range(rounds):
        # Textual draws on standard error; a pty shows both.
        with Session([], environment(str(folder)), str(folder), module="bare") as session:
            bare.append(session.wait_for("first paint of a bare app"))
        with Session([], environment(str(folder)), str(folder)) as session:
            frame.append(session.wait_for("5 Compare"))
            plan.append(session.wait_for("Verdict"))
    usual = statistics.median(bare)
    rows = [
        _time("first frame: the program's line and its places", frame, usual, FIRST_S),
        _time("all panels, before the readings", plan, usual, None),
    ]
    note = f"median of {rounds} starts, from the start of the process; warm page cache; a target is for this machine as it is"
    return Table("screen", "start", "bare Textual app", rows, (), (note,))


def _time(what: str, seconds: list[float], usual: float, most: float | None) -> Row:
    ours = statistics.median(seconds)
    target = f"<= {most * 1e3:.0f} ms" if most else ""
    met = ours <= most if most else None
    return Row(what, f"{ours * 1e3:.0f} ms", f"{usual * 1e3:.0f} ms", usual / ours, target, met)


def _answers(folder: Path, rounds: int) -> Table:
    rows = []
    for name, modes in (("nothing runs", ()), ("a job runs, its plot is drawn anew every second", ("live",))):
        with Session(list(modes), environment(str(folder)), str(REPOSITORY), module=FROZEN) as session:
            session.wait_for("PRECOMPUTED")
            session.press("3")
            session.settle(0.5, 2)
            session.press("1")
            session.settle(0.5, 2)
            took = []
            for _ in range(3 * rounds):
                took += [answer_s(session, key, words) for key, words in (("3", " Jobs "), ("1", " Verdict "))]
                session.read_for(0.15)
        likely, worst = statistics.median(took), sorted(took)[int(0.95 * len(took))]
        rows.append(
            Row(
                f"another place comes into sight, {name}",
                f"{likely * 1e3:.0f} ms",
                target=f"<= {ANSWER_S * 1e3:.0f} ms",
                met=likely <= ANSWER_S,
            )
        )
        rows.append(Row("- of 20, 19 within", f"{worst * 1e3:.0f} ms"))
    return Table("screen", "keys, at 80x24", "-", rows, (), ("from the key to the first byte of the new place",))


def answer_s(session: Session, key: str, wanted: str) -> float:
    """Seconds until the place of a key, which begins with these words, begins to arrive."""
    began, got = time.monotonic(), b""
    session.press(key)
    while wanted not in plain(got) and time.monotonic() - began < 5:
        if select.select([session.master], [], [], 0.2)[0]:
            got += os.read(session.master, 65536)
    return time.monotonic() - began


def _sent(folder: Path, seconds: float) -> Table:
    rows = []
    for width, height in SIZES:
        with Session(
            ["live"], environment(str(folder)), str(REPOSITORY), size=(width, height), module=FROZEN
        ) as session:
            session.wait_for("PRECOMPUTED")
            session.press("3")
            session.settle(0.3, 3)
            before = _processor_s(session.process.pid)
            sent = len(session.read_for(seconds)) / seconds
            share = (_processor_s(session.process.pid) - before) / seconds
        most = LIVE_BYTES_S if (width, height) == SIZES[0] else None
        rows.append(
            Row(
                f"a job with its live plot, {width}x{height}", f"{sent / 1e3:.1f} kB/s",
                target=f"<= {LIVE_BYTES_S / 1e3:.0f} kB/s" if most else "", met=sent <= most if most else None, more=(f"{share:.1%}",),
            )
        )  # fmt: skip
    with Session([], environment(str(folder)), str(REPOSITORY), module=FROZEN) as session:
        session.wait_for("PRECOMPUTED")
        session.settle()
        before = _processor_s(session.process.pid)
        idle = len(session.read_for(seconds))
        share = (_processor_s(session.process.pid) - before) / seconds
    rows.append(Row("nothing changes", f"{idle} bytes", target="0 bytes", met=idle == 0, more=(f"{share:.1%}",)))
    return Table("screen", f"what is sent in {seconds:.0f} s", "-", rows, ("of a core",))


def _processor_s(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
