"""What a report's page tells in rows: the command, times, rates, use of the machine, results."""

from __future__ import annotations

import shlex
import time

from fsgr_tui.core.event_words import phase_words, unit_words
from fsgr_tui.core.job import JobProgress, UsageSeen
from fsgr_tui.core.language import tr
from fsgr_tui.core.units import Unknown, format_bytes, format_duration, printable
from fsgr_tui.service import result_words
from fsgr_tui.service.curves import number
from fsgr_tui.service.report import JobReport

Rows = list[tuple[str, str]]


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
        rows.append((tr("started"), clock(status.started)))
    if status.ended is not None:
        rows.append((tr("ended"), clock(status.ended)))
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
    rows = result_words.rows(report.status.result)
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


def clock(at: float) -> str:
    """A time of this machine's clock."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
