"""A job's report as Markdown and as one HTML page that needs nothing from elsewhere."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from fsgr_tui.core.job import Alarm
from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.units import format_bytes, format_duration, printable
from fsgr_tui.service.curves import Chart, blocks, number, svg
from fsgr_tui.service.markdown import escape, grid
from fsgr_tui.service.report import JobReport
from fsgr_tui.service.report_rows import clock, how_fast, result_rows, what_ran
from fsgr_tui.service.report_style import STYLE

_STATES: Final = {"done": "good", "failed": "bad", "interrupted": "bad", "stopped": "warn", "stopping": "warn"}


def as_markdown(report: JobReport) -> str:
    """The report as Markdown."""
    status = report.status
    parts = [f"# {escape(status.name)}: {tr(status.state)}", _sentence(report, escape)]
    if status.cause is not None:
        parts.append(f"**{escape(status.cause.text)}** {escape(status.cause.advice)}".strip())
        if status.cause.line:
            parts.append(f"> {escape(status.cause.line)}")
    parts += [_title(tr("What ran")), grid(("", ""), what_ran(report)), _title(tr("How fast")), grid(("", ""), how_fast(report))]  # fmt: skip
    if status.alarms:
        rows = [(tr(alarm.level), alarm.text, f"{alarm.count:,}", clock(alarm.first), clock(alarm.last), alarm.advice) for alarm in status.alarms]  # fmt: skip
        heads = ("", tr("what was seen"), tr("times"), tr("first"), tr("last"), tr("what to try"))
        parts += [_title(tr("Alarms")), grid(heads, rows)]
    if status.notices:
        parts += [_title(tr("Remarks")), "\n".join(f"- {escape(notice)}" for notice in status.notices)]
    if report.charts:
        heads = ("", tr("first"), tr("lowest"), tr("highest"), tr("last"), tr("course"))
        parts += [_title(tr("Curves")), grid(heads, _curve_rows(report.charts))]
    results = result_rows(report)
    if results:
        parts += [_title(tr("Result")), grid(("", ""), results)]
    if report.tail:
        parts += [_title(tr("The end of the log")), _fenced(report.tail)]
    parts.append(_made(report))
    return "\n\n".join(parts)


def as_html(report: JobReport) -> str:
    """The report as one HTML document."""
    status = report.status
    parts = [f'<p class="lead">{_sentence(report, _text)}</p>']
    if status.cause is not None:
        line = f"<pre>{_text(status.cause.line)}</pre>" if status.cause.line else ""
        parts.append(f'<section class="cause"><p><b>{_text(status.cause.text)}</b></p><p>{_text(status.cause.advice)}</p>{line}</section>')  # fmt: skip
    if status.alarms:
        parts.append(_heading(tr("Alarms")) + "".join(map(_alarm, status.alarms)))
    results = result_rows(report)
    if results:
        parts.append(_heading(tr("Result")) + _table(results))
    if report.charts:
        many = tr("of the last of {runs} runs in the log", runs=report.runs) if report.runs > 1 else ""
        parts.append(
            _heading(tr("Curves"), many) + '<div class="charts">' + "".join(map(_chart, report.charts)) + "</div>"
        )
    parts += [_heading(tr("What ran")) + _table(what_ran(report)), _heading(tr("How fast")) + _table(how_fast(report))]
    if status.notices:
        parts.append(_heading(tr("Remarks")) + "<ul>" + "".join(f"<li>{_text(notice)}</li>" for notice in status.notices) + "</ul>")  # fmt: skip
    if report.tail:
        parts.append(_heading(tr("The end of the log")) + "<pre>" + "\n".join(map(_text, report.tail)) + "</pre>")
    # As browsers name the language of these texts.
    language = tr("en")
    state = _text(tr(status.state))
    title = _text(f"{status.name}: {tr(status.state)}")
    return (
        f'<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        # Nothing is loaded and nothing runs, whatever a log line says.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>"
        f'<h1>{_text(status.name)} <span class="{_STATES.get(status.state, "plain")}">{state}</span></h1>'
        + "\n".join(parts)
        + f"<footer>{_text(_made(report))}</footer></main></body></html>\n"
    )


def _sentence(report: JobReport, safe: Callable[[str], str]) -> str:
    status = report.status
    if report.duration_s is None:
        words = tr(_ENDS_AT_ONCE.get(status.state, _GOES_ON), state=tr(status.state))
    else:
        took = format_duration(report.duration_s)
        words = tr(_ENDS.get(status.state, _GOES_ON_FOR), state=tr(status.state), time=took)
    grave = sum(alarm.level == "alarm" for alarm in status.alarms)
    light = len(status.alarms) - grave
    if grave and light:
        told = tr("On the way: {alarms} and {warnings}.", alarms=_alarms(grave), warnings=_warnings(light))
    elif grave or light:
        told = tr("On the way: {alarms}.", alarms=_alarms(grave) if grave else _warnings(light))
    else:
        told = ""
    return safe(f"{words} {told}".rstrip())


_ENDS: Final = {
    "done": mark("It ended well after {time}."), "failed": mark("It failed after {time}."),
    "stopped": mark("It was stopped after {time}."), "interrupted": mark("It was interrupted after {time}."),
    "queued": mark("It has not begun."),
}  # fmt: skip
_ENDS_AT_ONCE: Final = {
    "done": mark("It ended well."), "failed": mark("It failed."), "stopped": mark("It was stopped."),
    "interrupted": mark("It was interrupted."), "queued": mark("It has not begun."),
}  # fmt: skip
_GOES_ON: Final = mark("It is {state}.")
_GOES_ON_FOR: Final = mark("It is {state} after {time}.")
_LEVELS: Final = (mark("alarm"), mark("warning"))


def _alarms(number: int) -> str:
    return trn("{count} alarm", "{count} alarms", number)


def _warnings(number: int) -> str:
    return trn("{count} warning", "{count} warnings", number)


def _curve_rows(charts: Iterable[Chart]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for chart in charts:
        write = _writer(chart.form)
        for curve in chart.curves:
            values = curve.values
            if values:
                name = curve.name if chart.title in (curve.name, "loss", "BLEU") else f"{chart.title}: {curve.name}"  # fmt: skip
                gaps = sum(y is None for _, y in curve.points)
                course = blocks(values)
                if gaps:
                    course += " " + tr("({number} not finite)", number=gaps)
                rows.append((name, write(values[0]), write(min(values)), write(max(values)), write(values[-1]), course))
    return rows


def _chart(chart: Chart) -> str:
    write = _writer(chart.form)
    gaps = any(y is None for curve in chart.curves for _, y in curve.points)
    missing = _text(tr("not finite"))
    legend = "".join(
        f'<span class="k{colour}">{_text(curve.name)}: {_text(write(curve.values[-1]))}</span>'
        for colour, curve in enumerate(chart.curves)
        if curve.values
    ) + (f'<span class="kgap">{missing}</span>' if gaps else "")
    drawn = svg(chart, write)
    if not drawn:
        nothing = _text(tr("no finite value"))
        return f"<figure><figcaption><b>{_text(chart.title)}</b></figcaption><p>{nothing}</p></figure>"
    return f"<figure><figcaption><b>{_text(chart.title)}</b>{legend}</figcaption>{drawn}</figure>"


def _writer(form: str) -> Callable[[float], str]:
    if form == "percent":
        return lambda value: f"{value:.0f} %"
    return format_bytes if form == "bytes" else number


def _alarm(alarm: Alarm) -> str:
    when = clock(alarm.first)
    if alarm.count > 1:
        last = time.strftime("%H:%M:%S", time.localtime(alarm.last))
        when = tr("{first} to {last}, {number:,} times", first=when, last=last, number=alarm.count)
    line = f"<pre>{_text(alarm.line)}</pre>" if alarm.line else ""
    return f'<section class="{alarm.level}"><p><b>{_text(alarm.text)}</b> <small>{_text(when)}</small></p><p>{_text(alarm.advice)}</p>{line}</section>'


def _made(report: JobReport) -> str:
    return tr("Made {time} by fsgr-tui {version}.", time=clock(report.made), version=report.version)


def _title(text: str) -> str:
    return f"## {text}"


def _heading(text: str, small: str = "") -> str:
    return f"<h2>{_text(text)}{f' <small>{_text(small)}</small>' if small else ''}</h2>"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "<table>" + "".join(f"<tr><th>{_text(what)}</th><td>{_text(value)}</td></tr>" for what, value in rows) + "</table>"  # fmt: skip


def _fenced(lines: Sequence[str]) -> str:
    body = "\n".join(printable(line) for line in lines)
    fence = "```"
    while fence in body:
        fence += "`"
    return f"{fence}text\n{body}\n{fence}"


def _text(text: str) -> str:
    return html.escape(printable(text), quote=True)
