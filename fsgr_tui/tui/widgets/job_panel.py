"""One job: where it is, how fast, what holds it up, what went wrong, and what it said last."""

from __future__ import annotations

import shlex
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text

from fsgr_tui.core import job_words
from fsgr_tui.core.event_words import phase_words, rate_words, stage_words
from fsgr_tui.core.job import Alarm, JobProgress, JobStatus, UsageSeen
from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.slurm_parts import part_rows
from fsgr_tui.core.units import Unknown, format_bytes, format_duration, format_gib, printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, STATE_STYLES, WARN, WAY_B, bar, columns, count_words, cut, marked
from fsgr_tui.tui.seen import JobCourse
from fsgr_tui.tui.widgets.panel import Panel

TALL, PLOT_ROWS = 12, 4
QUIET_S = 60.0
"""A job that has told nothing for so long is said to be quiet: slow is not dead."""

LEAST_BYTES_S = 1000.0
"""Less than this from or to a disk is not worth a word."""


class JobPanel(Panel):
    """The chosen job."""

    TITLE: ClassVar[str] = mark("No job yet")

    def show(self, status: JobStatus, course: JobCourse, now: float) -> None:
        """Show how a job stands.

        Args:
            now: Unix time in seconds.
        """
        style = WARN if status.life == "orphaned" else STATE_STYLES[status.state]
        state = (job_words.state_words(status), style)
        self.set_title(Text.assemble(printable(status.name), "  ", state))
        self.draw_with(
            lambda width: draw(
                status, course, width, PLOT_ROWS if self.size.height >= TALL and not status.ended_for_good else 1, now
            )
        )

    def show_none(self) -> None:
        """Say how to get a job."""
        self.set_title(tr("No job yet"))
        text = Text(tr("e fills in an extraction from the plan; `fsgr-tui extract` in a shell shows here, too."))
        self.draw_with(lambda _width: text)


class LogPanel(Panel):
    """The end of the chosen job's output, the newest line at the bottom."""

    TITLE: ClassVar[str] = mark("Log")

    def show(self, course: JobCourse | None) -> None:
        """Show a job's last lines."""
        at_end = self.scroll_y >= self.max_scroll_y
        told = course.log if course else ()
        text = Text("\n".join(told)) if told else Text(tr("nothing was printed so far") if course else "", DIM)
        self.draw_with(lambda _width: text)
        if at_end:
            self.scroll_end(animate=False)


def draw(status: JobStatus, course: JobCourse, width: int, plot_rows: int, now: float) -> Text:
    """What went wrong first, then progress, speed and stages, then remarks and the command."""
    parts: list[Text] = []
    if status.cause:
        parts.append(marked("!", status.cause.text, BAD, BAD))
        parts += [Text(f"  {printable(text)}") for text in (status.cause.advice,) if text]
        parts += [Text(f"  {printable(text)}", DIM) for text in (status.cause.line,) if text]
    if status.note and not status.cause:
        parts.append(marked("!" if status.life == "orphaned" else "·", status.note, WARN, ""))
    for alarm in status.alarms:
        parts += _alarm(alarm)
    parts += _progress(status, course, width, plot_rows)
    parts += [part for part in (_times(status, course, now),) if part.plain]
    parts += [Text.assemble((f"{label}  ", DIM), value) for label, value in part_rows(status.parts)]
    if status.metrics:
        parts.append(_metrics(status.metrics))
    if status.usage is not None:
        parts.append(_usage(status.usage, peaks=status.ended_for_good))
    if status.refused:
        refused = tr(
            "refused images: {refused:,}; fsgr-tui logs {job} --events names them",
            refused=status.refused,
            job=status.name,
        )
        parts.append(marked("!", refused, WARN, WARN))
    parts += [marked("·", notice, DIM, "") for notice in reversed(status.notices)]
    if isinstance(status.result.get("output"), str):
        parts.append(Text.assemble((tr("output") + "  ", DIM), printable(str(status.result["output"]))))
    parts.append(Text.assemble((tr("command") + "  ", DIM), (printable(shlex.join(status.command)), DIM)))
    return layout.lines(*parts)


def _times(status: JobStatus, course: JobCourse, now: float) -> Text:
    """How long it has run, and since when there is nothing new; how long it ran, and when that was."""
    elapsed, age = (
        None if seconds is None else format_duration(seconds) for seconds in (status.elapsed_s(now), status.age_s(now))
    )
    told = []
    if status.ended_for_good:
        told += [tr("took {time}", time=elapsed)] if elapsed else []
        told += [tr("ended {time} ago", time=age)] if age else []
    elif status.state == "queued":
        told += [tr("waiting for {time}", time=age)] if age else []
    elif elapsed:
        told.append(tr("running for {time}", time=elapsed))
        quiet_s = now - course.heard if course.heard is not None else 0.0
        told += [tr("nothing new for {time}", time=format_duration(quiet_s))] if quiet_s >= QUIET_S else []
    return Text("  ".join(told), DIM)


def _alarm(alarm: Alarm) -> list[Text]:
    """What was seen, how often, and what to try."""
    times = " " + trn("({count:,} time)", "({count:,} times)", alarm.count) if alarm.count > 1 else ""
    style = BAD if alarm.level == "alarm" else WARN
    said = [marked("!", alarm.text + times, style, style)]
    return [*said, Text(f"  {printable(alarm.advice)}")] if alarm.advice else said


def _usage(seen: UsageSeen, *, peaks: bool) -> Text:
    """What the job's own processes take, or took at the most."""
    use = seen.peak if peaks else seen.last
    parts = [tr("at most")] if peaks else []
    parts += [f"CPU {use.cpu_percent:.0f}%", tr("memory {size}", size=format_gib(use.memory_bytes))]
    if use.read_bytes_s >= LEAST_BYTES_S:
        parts.append(tr("reads {size}/s", size=format_bytes(use.read_bytes_s)))
    if use.write_bytes_s >= LEAST_BYTES_S:
        parts.append(tr("writes {size}/s", size=format_bytes(use.write_bytes_s)))
    if not isinstance(use.gpu_percent, Unknown):
        parts.append(f"GPU {use.gpu_percent:.0f}%")
    if not isinstance(use.gpu_memory_bytes, Unknown):
        parts.append(tr("GPU memory {size}", size=format_gib(use.gpu_memory_bytes)))
    return Text("  ".join(parts), DIM)


def _progress(status: JobStatus, course: JobCourse, width: int, plot_rows: int) -> list[Text]:
    progress = status.progress
    if not progress.phase:
        return [Text(tr("waiting for its runner"), DIM)] if status.state == "queued" and not status.note else []
    parts = []
    epoch = ""
    if progress.epoch and progress.epochs:
        epoch = tr("epoch {epoch} of {epochs}", epoch=progress.epoch, epochs=progress.epochs)
    said = (epoch, printable(phase_words(progress.phase)), printable(count_words(progress)))
    # Some phases are called by their epoch: once is enough.
    words = "  ".join(dict.fromkeys(part for part in said if part))
    if progress.share is not None:
        percent = f" {progress.share:.0%}"
        room = width - cell_len(words) - len(percent) - 2
        line = bar(progress.share, max(8, min(40, room)), STATE_STYLES[status.state]).append(percent, "bold")
        parts.append(line.append(f"  {words}"))
    else:
        parts.append(Text(words))
    parts += _speed(status, course, width, plot_rows)
    if not status.ended_for_good:
        parts += [_stages(progress.stages, width)] if progress.stages else []
        parts += [Text(printable(progress.bottleneck), "bold")] if progress.bottleneck else []
    return [part for part in parts if part.plain]


def _speed(status: JobStatus, course: JobCourse, width: int, plot_rows: int) -> list[Text]:
    progress = status.progress
    live = not status.ended_for_good
    mean = status.result.get("images_per_s")
    said = [(progress.rate_words, "bold")] if live else []
    if live and progress.eta_s is not None:
        said.append((tr("{time} left", time=format_duration(progress.eta_s)), "bold"))
    if live and progress.whole_eta_s is not None:
        said.append((tr("{time} to the last epoch's end", time=format_duration(progress.whole_eta_s)), ""))
    if not live and isinstance(mean, float):
        said.append((JobProgress(rate=mean, unit="images").rate_words, ""))
    line = Text("  ").join(Text(printable(words), style) for words, style in said if words)
    if len(course.rates) < 2:
        return [line]
    if plot_rows > 1:
        highest = "  " + tr("at most {rate}", rate=rate_words(max(course.rates), progress.unit))
        return [
            line.append(printable(highest), DIM),
            *(Text(row, WAY_B, no_wrap=True) for row in columns(course.rates, width, plot_rows)),
        ]
    room = width - line.cell_len - 2
    return [line.append("  ").append(columns(course.rates, room)[0], WAY_B) if room >= 8 else line]


def _metrics(metrics: dict[str, float | None]) -> Text:
    values = ((name, tr("not finite") if value is None else format(value, ".4g")) for name, value in metrics.items())
    shown = (f"{printable(name)} {value}" for name, value in values)
    return Text("  ".join(shown))


def _stages(stages: dict[str, float], width: int) -> Text:
    """How busy each stage is; the busiest one, which sets the pace, stands out."""
    line = Text()
    each = max(8, min(34, width // len(stages)))
    busiest = max(stages, key=lambda name: stages[name])
    for name, busy in stages.items():
        cell = Text(cut(f"{stage_words(name)} {busy:.0%} ", each), "bold" if name == busiest else "")
        room = min(16, each - cell.cell_len - 2)
        if room >= 3:
            cell.append_text(bar(busy, room, WAY_B if name == busiest else DIM))
        line.append_text(cell).append(" " * (each - cell.cell_len))
    line.rstrip()
    return line
