"""A job's report as Markdown and as one HTML page that needs nothing from elsewhere."""

from __future__ import annotations

import html
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from fsgr_tui.core.event_words import phase_words, unit_words
from fsgr_tui.core.job import Alarm, JobProgress, UsageSeen
from fsgr_tui.core.language import mark, tr, trn
from fsgr_tui.core.units import Unknown, format_bytes, format_duration, printable
from fsgr_tui.service.curves import Chart, blocks, number, svg
from fsgr_tui.service.markdown import escape, grid
from fsgr_tui.service.report import JobReport

Rows = list[tuple[str, str]]

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
        rows = [(tr(alarm.level), alarm.text, f"{alarm.count:,}", _clock(alarm.first), _clock(alarm.last), alarm.advice) for alarm in status.alarms]  # fmt: skip
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
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>"
        f'<h1>{_text(status.name)} <span class="{_STATES.get(status.state, "plain")}">{state}</span></h1>'
        + "\n".join(parts)
        + f"<footer>{_text(_made(report))}</footer></main></body></html>\n"
    )


def what_ran(report: JobReport) -> Rows:
    """The command, and where it ran."""
    status, spec = report.status, report.spec
    rows = [
        (tr("command"), printable(shlex.join(spec.shown or spec.argv))),
        (tr("working folder"), printable(spec.cwd)),
        (tr("run folder"), printable(status.folder)),
        (tr("host"), printable(status.host or spec.host or tr("unknown"))),
    ]
    if spec.git is not None:
        commit = spec.git.commit if isinstance(spec.git.commit, str) else str(spec.git.commit)
        checkout = f"{commit} ({spec.git.branch})" if spec.git.branch else commit
        if spec.git.dirty is True:
            checkout = tr("{commit} with changes that are not committed", commit=checkout)
        rows.append(("git", printable(checkout)))
    if spec.env:
        # Values may be secrets; a page is sent around.
        rows.append((tr("variables set"), printable(", ".join(sorted(spec.env)))))
    if status.gpus:
        rows.append((tr("GPUs"), printable(", ".join(status.gpus))))
    if status.attempt > 1:
        rows.append((tr("attempt"), str(status.attempt)))
    if report.runs > 1:
        rows.append(
            (tr("runs in the log"), tr("{runs}, one appended to the other; curves are of the last", runs=report.runs))
        )
    return rows


def how_fast(report: JobReport) -> Rows:
    """Times, rates and what it took of the machine."""
    status, progress = report.status, report.status.progress
    rows: Rows = []
    if status.started is not None:
        rows.append((tr("started"), _clock(status.started)))
    if status.ended is not None:
        rows.append((tr("ended"), _clock(status.ended)))
    if report.duration_s is not None:
        rows.append((tr("took") if status.ended is not None else tr("so far"), format_duration(report.duration_s)))
    if progress.phase:
        rows.append((tr("last seen at"), printable(_place(progress))))
    if progress.rate is not None:
        rows.append(
            (
                tr("rate at the end") if status.ended else tr("rate"),
                tr("{number} {unit}/s", number=f"{progress.rate:.4g}", unit=printable(unit_words(progress.unit))),
            )
        )
    if progress.whole_eta_s is not None and status.ended is None:
        rows.append((tr("time left"), format_duration(progress.whole_eta_s)))
    if progress.bottleneck:
        rows.append((tr("bottleneck"), printable(progress.bottleneck)))
    return rows + (_usage_rows(status.usage) if status.usage is not None else [])


def result_rows(report: JobReport) -> Rows:
    """What it came to: its result, and the last value of each metric."""
    rows = [(printable(name.replace("_", " ")), printable(str(value))) for name, value in report.status.result.items()]
    for name, value in report.status.metrics.items():
        rows.append((printable(tr("last {name}", name=name)), tr("not finite") if value is None else number(value)))
    if report.status.refused:
        rows.append((tr("images refused"), f"{report.status.refused:,}"))
    if report.status.exit_code is not None:
        rows.append((tr("exit code"), str(report.status.exit_code)))
    return rows


def _usage_rows(usage: UsageSeen) -> Rows:
    peak, last = usage.peak, usage.last
    rows = [
        (
            tr("processors"),
            tr(
                "{last:.0f} % last, {most:.0f} % at most (100 % is one core)",
                last=last.cpu_percent,
                most=peak.cpu_percent,
            ),
        ),
        (
            tr("memory"),
            tr(
                "{last} last, {most} at most",
                last=format_bytes(last.memory_bytes),
                most=format_bytes(peak.memory_bytes),
            ),
        ),
        (
            tr("disk"),
            tr(
                "{read}/s read and {written}/s written at most",
                read=format_bytes(peak.read_bytes_s),
                written=format_bytes(peak.write_bytes_s),
            ),
        ),
    ]
    if isinstance(peak.gpu_percent, Unknown) or isinstance(last.gpu_percent, Unknown):
        rows.append(("GPU", str(last.gpu_percent)))
    else:
        rows.append(
            ("GPU", tr("{last:.0f} % last, {most:.0f} % at most", last=last.gpu_percent, most=peak.gpu_percent))
        )
    if not isinstance(peak.gpu_memory_bytes, Unknown):
        rows.append((tr("GPU memory"), tr("{most} at most", most=format_bytes(peak.gpu_memory_bytes))))
    return rows


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


def _place(progress: JobProgress) -> str:
    """Where it was seen last: phase, count, epoch."""
    unit = unit_words(progress.unit)
    counted = (
        tr("{step:,} {unit}", step=progress.step, unit=unit)
        if progress.total is None
        else tr("{step:,} of {total:,} {unit}", step=progress.step, total=progress.total, unit=unit)
    )
    place = f"{phase_words(progress.phase)}: {counted}"
    if progress.epoch is None:
        return place
    epoch = (
        tr("epoch {epoch} of {epochs}", epoch=progress.epoch, epochs=progress.epochs)
        if progress.epochs
        else tr("epoch {epoch}", epoch=progress.epoch)
    )
    return tr("{place}, {epoch}", place=place, epoch=epoch)


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
    when = _clock(alarm.first)
    if alarm.count > 1:
        last = time.strftime("%H:%M:%S", time.localtime(alarm.last))
        when = tr("{first} to {last}, {number:,} times", first=when, last=last, number=alarm.count)
    line = f"<pre>{_text(alarm.line)}</pre>" if alarm.line else ""
    return f'<section class="{alarm.level}"><p><b>{_text(alarm.text)}</b> <small>{_text(when)}</small></p><p>{_text(alarm.advice)}</p>{line}</section>'


def _made(report: JobReport) -> str:
    return tr("Made {time} by fsgr-tui {version}.", time=_clock(report.made), version=report.version)


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


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1d2733;--dim:#5b6876;--line:#d9dfe6;--page:#fff;--soft:#f5f7f9;
--c0:#1f6feb;--c1:#c2571a;--c2:#2f8f4e;--c3:#8250a8;--bad:#b3261e;--warn:#8a5a00;--good:#1f7a3d}
@media (prefers-color-scheme:dark){:root{--ink:#e3e8ee;--dim:#9aa7b4;--line:#33404d;--page:#12181f;--soft:#1a222b;
--c0:#6ea8fe;--c1:#f0a06a;--c2:#79c98f;--c3:#c5a3e0;--bad:#f2777a;--warn:#e5b567;--good:#7fc98f}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:28px 20px}h1{font-size:24px;margin:0 0 4px;overflow-wrap:anywhere}
h1 span{font-size:15px;font-weight:600;margin-left:8px}h2{font-size:17px;margin:30px 0 10px}small,footer{color:var(--dim)}
.lead{margin:0 0 18px;color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
section{background:var(--soft);border-left:4px solid var(--warn);padding:10px 14px;margin:0 0 10px}
section.cause,section.alarm{border-color:var(--bad)}section p{margin:0 0 4px}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:12.5px/1.45 ui-monospace,monospace;margin:6px 0 0}
main>pre{background:var(--soft);padding:12px 14px}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:5px 10px 5px 0;border-top:1px solid var(--line);overflow-wrap:anywhere}
th{width:190px;font-weight:500;color:var(--dim)}.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:18px}
figure{margin:0}figcaption{font-size:13px}figcaption span{margin-left:12px;color:var(--dim)}
figcaption span::before{content:"";display:inline-block;width:10px;height:10px;margin-right:5px;border-radius:2px;background:currentColor}
.k0::before{color:var(--c0)}.k1::before{color:var(--c1)}.k2::before{color:var(--c2)}.k3::before{color:var(--c3)}.kgap::before{color:var(--bad)}
svg{width:100%;height:auto;display:block}svg text{font-size:11px;fill:var(--dim)}svg polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}
svg .grid{stroke:var(--line)}svg .gap{stroke:var(--bad);stroke-width:2}polyline.c0{stroke:var(--c0)}polyline.c1{stroke:var(--c1)}
polyline.c2{stroke:var(--c2)}polyline.c3{stroke:var(--c3)}circle.c0{fill:var(--c0)}circle.c1{fill:var(--c1)}circle.c2{fill:var(--c2)}circle.c3{fill:var(--c3)}
footer{margin-top:34px;font-size:13px}
"""
