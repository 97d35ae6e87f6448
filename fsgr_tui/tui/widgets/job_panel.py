"""One job: where it is, how fast, what holds it up, what went wrong, and what it said last."""

from __future__ import annotations

import shlex
from typing import ClassVar

from rich.text import Text

from fsgr_tui.core.job import Alarm, JobProgress, JobStatus, UsageSeen
from fsgr_tui.core.units import Unknown, format_bytes, format_duration, format_gib, printable
from fsgr_tui.tui import format as layout
from fsgr_tui.tui.format import BAD, DIM, STATE_STYLES, WARN, WAY_B, bar, columns, count_words, cut, marked
from fsgr_tui.tui.seen import JobCourse
from fsgr_tui.tui.widgets.panel import Panel

TALL, PLOT_ROWS = 12, 4


class JobPanel(Panel):
    """The chosen job."""

    TITLE: ClassVar[str] = "No job yet"

    def show(self, status: JobStatus, course: JobCourse) -> None:
        """Show how a job stands."""
        self.set_title(Text.assemble(printable(status.name), "  ", (status.state, STATE_STYLES[status.state])))
        self.draw_with(
            lambda width: draw(
                status, course, width, PLOT_ROWS if self.size.height >= TALL and not status.ended_for_good else 1
            )
        )

    def show_none(self) -> None:
        """Say how to get a job."""
        self.set_title("No job yet")
        text = Text.assemble(
            ("e", "bold"),
            " fills in an extraction from the plan; ",
            ("fsgr-tui extract", "bold"),
            " in a shell shows here, too.",
        )
        self.draw_with(lambda _width: text)


class LogPanel(Panel):
    """The end of the chosen job's output, the newest line at the bottom."""

    TITLE: ClassVar[str] = "Log"

    def show(self, course: JobCourse | None) -> None:
        """Show a job's last lines."""
        at_end = self.scroll_y >= self.max_scroll_y
        told = course.log if course else ()
        text = Text("\n".join(told)) if told else Text("nothing was printed so far" if course else "", DIM)
        self.draw_with(lambda _width: text)
        if at_end:
            self.scroll_end(animate=False)


def draw(status: JobStatus, course: JobCourse, width: int, plot_rows: int) -> Text:
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
    if status.metrics:
        parts.append(_metrics(status.metrics))
    if status.usage is not None:
        parts.append(_usage(status.usage, peaks=status.ended_for_good))
    if status.refused:
        parts.append(
            marked(
                "!", f"refused images: {status.refused:,}; fsgr-tui logs {status.name} --events names them", WARN, WARN
            )
        )
    parts += [marked("·", notice, DIM, "") for notice in reversed(status.notices)]
    if isinstance(status.result.get("output"), str):
        parts.append(Text.assemble(("output  ", DIM), printable(str(status.result["output"]))))
    parts.append(Text.assemble(("command  ", DIM), (printable(shlex.join(status.command)), DIM)))
    return layout.lines(*parts)


def _alarm(alarm: Alarm) -> list[Text]:
    """What was seen, how often, and what to try."""
    times = f" ({alarm.count:,} times)" if alarm.count > 1 else ""
    style = BAD if alarm.level == "alarm" else WARN
    said = [marked("!", alarm.text + times, style, style)]
    return [*said, Text(f"  {printable(alarm.advice)}")] if alarm.advice else said


def _usage(seen: UsageSeen, *, peaks: bool) -> Text:
    """What the job's own processes take, or took at the most."""
    use = seen.peak if peaks else seen.last
    parts = [f"CPU {use.cpu_percent:.0f}%", f"memory {format_gib(use.memory_bytes)}"]
    parts += [
        f"{word} {format_bytes(rate)}/s"
        for word, rate in (("reads", use.read_bytes_s), ("writes", use.write_bytes_s))
        if rate >= 1000
    ]
    if not isinstance(use.gpu_percent, Unknown):
        parts.append(f"GPU {use.gpu_percent:.0f}%")
    if not isinstance(use.gpu_memory_bytes, Unknown):
        parts.append(f"GPU memory {format_gib(use.gpu_memory_bytes)}")
    return Text(("at most  " if peaks else "") + "  ".join(parts), DIM)


def _progress(status: JobStatus, course: JobCourse, width: int, plot_rows: int) -> list[Text]:
    progress = status.progress
    if not progress.phase:
        return [Text("waiting for its runner", DIM)] if status.state == "queued" else []
    parts = []
    done = layout.share(progress)
    epoch = f"epoch {progress.epoch} of {progress.epochs}  " if progress.epoch and progress.epochs else ""
    words = f"{epoch}{progress.phase}  {count_words(progress)}"
    style = STATE_STYLES[status.state]
    if done is not None:
        percent = f" {done:.0%}"
        line = bar(done, max(8, min(40, width - len(words) - len(percent) - 2)), style).append(percent, "bold")
        parts.append(line.append(f"  {words}"))
    else:
        parts.append(Text(words))
    parts += _speed(status, course, width, plot_rows)
    if status.ended_for_good:
        return [part for part in parts if part.plain]
    if progress.stages:
        parts.append(_stages(progress.stages, width))
    if progress.bottleneck:
        parts.append(Text(printable(progress.bottleneck), "bold"))
    return [part for part in parts if part.plain]


def _speed(status: JobStatus, course: JobCourse, width: int, plot_rows: int) -> list[Text]:
    progress = status.progress
    live = not status.ended_for_good
    mean = status.result.get("images_per_s")
    said = [(progress.rate_words, "bold")] if live else []
    if live and progress.eta_s is not None:
        said.append((f"{format_duration(progress.eta_s)} left", "bold"))
    if live and progress.whole_eta_s is not None:
        said.append((f"{format_duration(progress.whole_eta_s)} to the last epoch's end", ""))
    if not live and isinstance(mean, float):
        said.append((JobProgress(rate=mean, unit="images").rate_words, ""))
    if status.started is not None and status.ended is not None:
        said.append((f"took {format_duration(status.ended - status.started)}", DIM))
    line = Text("  ").join(Text(*words) for words in said if words[0])
    if len(course.rates) < 2:
        return [line]
    if plot_rows > 1:
        highest = f"  at most {max(course.rates):,.0f} {progress.unit}/s"
        return [
            line.append(highest, DIM),
            *(Text(row, WAY_B, no_wrap=True) for row in columns(course.rates, width, plot_rows)),
        ]
    room = width - line.cell_len - 2
    return [line.append("  ").append(columns(course.rates, room)[0], WAY_B) if room >= 8 else line]


def _metrics(metrics: dict[str, float | None]) -> Text:
    shown = (
        f"{printable(name)} {'not finite' if value is None else format(value, '.4g')}"
        for name, value in metrics.items()
    )
    return Text("  ".join(shown))


def _stages(stages: dict[str, float], width: int) -> Text:
    """How busy each stage is; the busiest one, which sets the pace, stands out."""
    line = Text()
    each = max(8, min(34, width // len(stages)))
    busiest = max(stages, key=lambda name: stages[name])
    for name, busy in stages.items():
        cell = Text(cut(f"{name} {busy:.0%} ", each), "bold" if name == busiest else "")
        room = min(16, each - cell.cell_len - 2)
        if room >= 3:
            cell.append_text(bar(busy, room, WAY_B if name == busiest else DIM))
        line.append_text(cell).append(" " * (each - cell.cell_len))
    line.rstrip()
    return line
