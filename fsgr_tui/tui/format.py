"""Pieces of text that are laid out for a given number of terminal cells."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from fsgr_tui.core.event_words import unit_words
from fsgr_tui.core.job import JobProgress, JobState
from fsgr_tui.core.language import mark, tr
from fsgr_tui.core.plan import Plan, Way
from fsgr_tui.core.units import format_bytes, printable

# RIGHT-POINTING ANGLE, the mark of a way that is open.
MARK = "\u203a"
FULL, EMPTY = "▆", "▁"
_SPARKS = "▁▂▃▄▅▆▇█"

# Styles by meaning. Every one of them also differs in its words, so that nothing is lost without colour.
DIM = "#8d9baa"
TRACK = "#3a4853"
GOOD = "#7fc98f"
WARN = "#e5b567"
BAD = "bold #f2777a"
WAY_A = "#7aa6f0"
WAY_B = "#5fc8bc"

WAY_WORDS: dict[Way, str] = {
    "realtime": mark("REALTIME"), "precomputed": mark("PRECOMPUTED"), "none": mark("NEITHER WAY"),
}  # fmt: skip
WAY_LETTERS: dict[Way, str] = {"realtime": mark("way A"), "precomputed": mark("way B"), "none": mark("works here")}
WAY_STYLES: dict[Way, str] = {"realtime": WAY_A, "precomputed": WAY_B, "none": "#f2777a"}
STATE_STYLES: dict[JobState, str] = {
    mark("queued"): DIM, mark("running"): WAY_B, mark("stopping"): WARN, mark("done"): GOOD, mark("failed"): BAD,
    mark("stopped"): WARN, mark("interrupted"): BAD,
}  # fmt: skip


def cut(text: str, cells: int) -> str:
    """User text in exactly so many cells at the most; what was cut is marked, and no wide character is split."""
    shown = printable(text)
    if cell_len(shown) <= cells:
        return shown
    return set_cell_size(shown, max(0, cells - 1)).rstrip() + "…" if cells > 0 else ""


def cut_left(text: str, cells: int) -> str:
    """As `cut`, but the end stays: the end of a path says more than its beginning."""
    shown = printable(text)
    if cell_len(shown) <= cells:
        return shown
    kept = ""
    for char in reversed(shown):
        if cell_len(char + kept) > cells - 1:
            break
        kept = char + kept
    return "…" + kept if cells > 0 else ""


def pad(text: str, cells: int) -> str:
    """Text in exactly so many cells."""
    return set_cell_size(cut(text, cells), cells)


def bar(share: float, cells: int, style: str = WAY_B) -> Text:
    """A horizontal bar; anything above nothing shows at least one cell."""
    filled = min(cells, max(round(share * cells), 1 if share > 0 else 0))
    return Text.assemble((FULL * filled, style), (EMPTY * (cells - filled), TRACK))


def columns(values: Sequence[float], cells: int, rows: int = 1) -> list[str]:
    """The newest values as columns from zero to their maximum, a cell wide and so many rows high; the top row first."""
    shown = values[-cells:]
    top = max(shown, default=0.0)
    heights = [round(value / top * 8 * rows) if top > 0 else 0 for value in shown]
    drawn = []
    for row in reversed(range(rows)):
        floor = _SPARKS[0] if row == 0 else " "
        drawn.append(
            "".join(_SPARKS[min(8, height - 8 * row) - 1] if height > 8 * row else floor for height in heights)
        )
    return drawn


def count_words(progress: JobProgress) -> str:
    """How far a phase is, e.g. `1,204 of 123,287 images`."""
    unit = unit_words(progress.unit)
    if progress.total:
        return tr("{step:,} of {total:,} {unit}", step=progress.step, total=progress.total, unit=unit).rstrip()
    return f"{progress.step:,} {unit}".rstrip() if progress.step else ""


def choice_words(plan: Plan) -> str:
    """What would be stored, e.g. `49 x 768 float16, 9.28 GB`; empty when nothing is."""
    choice = plan.recommendation.choice
    if plan.recommendation.cache == "pixels":
        stored = next((way.stored_bytes for way in plan.ways if way.name == "pixels"), 0)
        return tr("from cached pictures, {size}", size=format_bytes(stored))
    if plan.recommendation.mode != "precomputed":
        return ""
    return f"{choice.tokens} x {choice.width} {choice.dtype}, {format_bytes(choice.feature_bytes)}"


def verdict_line(plan: Plan) -> Text:
    """The verdict in one line: the way as a block of colour, and what is stored."""
    mode = plan.recommendation.mode
    line = Text.assemble((f" {tr(WAY_WORDS[mode])} ", f"reverse bold {WAY_STYLES[mode]}"), ("  ", ""))
    line.append(choice_words(plan) or tr(WAY_LETTERS[mode]), "bold")
    return line


def lines(*parts: Text | str) -> Text:
    """Lines of text, one under the other."""
    return Text("\n").join(Text(part) if isinstance(part, str) else part for part in parts)


def marked(mark: str, text: str, style: str, body_style: str = "") -> Text:
    """A line that begins with a mark."""
    return Text.assemble((mark, style), " ", (printable(text), body_style))


def key_words(keys: Sequence[tuple[str, str]]) -> Text:
    """Keys with what they do, side by side."""
    return Text("   ").join(Text.assemble((key, "bold"), f" {words}") for key, words in keys)
