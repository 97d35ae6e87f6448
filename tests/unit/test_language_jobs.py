"""No text about jobs goes past the catalogue: alarms, causes, rows of lists, what they wait for, reports."""

from __future__ import annotations

import html
import math
import re
import signal

import pytest

from fsgr_tui.cli import job_table
from fsgr_tui.core import event_words, job_words, language
from fsgr_tui.core.job import FINAL_STATES, Alarm, Cause, GitState, JobProgress, JobSpec, JobStatus, Usage, UsageSeen
from fsgr_tui.core.job_queue import Waits, in_order
from fsgr_tui.core.units import Unknown
from fsgr_tui.jobs.diagnosis import line_rules, metric_rules, score_rules
from fsgr_tui.jobs.diagnosis.causes import _SIGNAL_ADVICE, Evidence, diagnose
from fsgr_tui.jobs.diagnosis.line_rules import LineAlarms
from fsgr_tui.jobs.diagnosis.machine_rules import DiskFills, GpuIdle, Silent, Slower
from fsgr_tui.jobs.diagnosis.rules import RULES
from fsgr_tui.jobs.diagnosis.signals import Folded, LogLine, Signals
from fsgr_tui.service.curves import Chart, Curve
from fsgr_tui.service.report import JobReport, _machine_charts
from fsgr_tui.service.report_pages import as_html, as_markdown
from tests.unit.test_language_plan import BEGIN, END, Bracketed

NOW = 1_764_000_000.0


@pytest.fixture(autouse=True)
def bracketed():
    language.speak(Bracketed())
    yield
    language.use("en")


def outside(printed: str, *allowed: str) -> list[str]:
    """Words that stand in no bracket, without those that are the same in every language."""
    before = None
    while before != printed:
        before, printed = printed, re.sub(f"{BEGIN}[^{BEGIN}{END}]*{END}", " ", printed)
    assert not set(printed) & {BEGIN, END}, printed
    return [word for word in re.findall(r"[A-Za-z_][\w.-]*", printed) if word not in allowed]


def test_a_word_that_goes_past_the_catalogue_is_seen():
    assert outside(f"{BEGIN}in {BEGIN}deep{END} 3{END} out 5 GPU", "GPU") == ["out"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.kind} {rule.pattern.pattern[:30]}")
@pytest.mark.parametrize("filled", ["", "9"])
def test_rules_of_causes(rule, filled):
    groups = dict.fromkeys(rule.pattern.groupindex, filled)
    assert outside(rule.text(groups)) == []
    assert outside(rule.advice(groups)) == []


TRACE = 'Traceback (most recent call last):\n  File "/work/x.py", line 3, in fit\n    go()\nOddError: 7'
ENDINGS = {
    "nothing printed": Evidence(3, Signals()),
    "killed, own group": Evidence(-9, Signals(), oom_kills=2, peak_memory_bytes=9 << 30),
    "killed, host": Evidence(-9, Signals(), host_oom_kills=1),
    "killed, no reason": Evidence(-9, Signals()),
    "a signal that it took": Evidence(143, Signals()),
    **{number.name: Evidence(-number, Signals()) for number in _SIGNAL_ADVICE},
}


def logged(*lines: str) -> Signals:
    signals = Signals()
    signals.see(lines, 1)
    return signals


@pytest.mark.parametrize("name", ENDINGS)
def test_ends_without_a_word_of_the_log(name):
    cause = diagnose(ENDINGS[name])
    assert outside(cause.text) == []
    assert outside(cause.advice) == []


def test_ends_that_the_log_tells():
    lines = TRACE.splitlines()
    for evidence in (
        Evidence(1, logged(*lines)),
        Evidence(1, logged("last words")),
        Evidence(-9, logged("Killed: out of memory")),
        Evidence(1, logged("x.cu:1: block: [0] Assertion `srcIndex < srcSelectDimSize` failed.", *lines)),
        Evidence(-signal.SIGABRT, logged("x.cu:1: block: [0] Assertion `srcIndex < srcSelectDimSize` failed.")),
    ):
        cause = diagnose(evidence)
        assert outside(cause.text) == []
        assert outside(cause.advice) == []


def metric_alarms() -> list[Alarm]:
    nan = math.nan
    fed = {
        metric_rules.NonFinite: [
            [(1, {"loss": nan})],
            [(1, {"loss": 1.0}), *((step, {"loss": nan}) for step in range(2, 40))],
            [*((step, {"loss": nan}) for step in range(20)), (20, {"loss": 1.0})],
        ],
        metric_rules.RateZero: [[(step, {"lr": 0.0}) for step in range(30)]],
        metric_rules.StuckAtVocabulary: [[(step * 20, {"loss": 9.2}) for step in range(40)]],
        score_rules.ValidationGap: [[(1, {"loss": 1.0}), (2, {"val_loss": 9.0}), (3, {"val_loss": 9.0})]],
        score_rules.ZeroScore: [[(1, {"cider": 0.0})], [(1, {"cider": 0.0, "bleu_1": 0.0}), (2, {"cider": 0.0})]],
    }
    found = []
    for kind, courses in fed.items():
        for course in courses:
            rule = kind()
            for step, values in course:
                rule.see(float(step), step, values, "")
            told = list(rule.alarms())
            assert told, kind
            found += told
    return found


def machine_alarms() -> list[Alarm]:
    slower, silent, disk, full = Slower(), Silent(), DiskFills("/x"), DiskFills("/x")
    for at in range(80):
        slower.see(at * 10.0, JobProgress("epoch 1 of 2", at, 100, 9.0 if at < 30 else 1.0, "images"))
    silent.see(1000.0, 0.0, "", 3.0)
    told = [*slower.alarms(), *silent.alarms()]
    silent.see(1000.0, 999.0, "", None)
    told += silent.alarms()
    for at in range(20):
        disk.see(at * 60.0, (40 - at) * 10**9, 9000.0)
        full.see(at * 60.0, (40 - at) * 10**9, None)
    told += [*disk.alarms(), *full.alarms()]
    for argv, cpu in (((), 50.0), (("--workers", "1"), 50.0), (("--workers", "30"), 50.0), ((), 3000.0)):
        idle = GpuIdle(argv, 8)
        for at in range(30):
            idle.see(Usage(float(at), 1, cpu, 1, 0.0, 0.0, 5.0, 10), moves=True)
        told += idle.alarms()
    assert len(told) == 9
    return told


def line_alarms() -> list[Alarm]:
    signals = Signals()
    line = LogLine(4, "x")
    for kind in line_rules._SAYS:
        signals.folded[kind] = Folded(line, line, 3)
    signals.warnings["OddWarning: #"] = Folded(line, line, 1000)
    told = []
    for ids in ([], ["7"], ["7", "8"], [str(number) for number in range(9)]):
        signals.folded["missing features"].ids = ids
        alarms = LineAlarms(signals)
        alarms.see(1.0)
        told += alarms.alarms()
    return told


@pytest.mark.parametrize("make", [metric_alarms, machine_alarms, line_alarms])
def test_alarms(make):
    for alarm in make():
        assert outside(alarm.text) == [], alarm.kind
        assert outside(alarm.advice) == [], alarm.kind


PROGRESS = JobProgress("extract", 5, 10, 3.0, "images", 60.0, bottleneck="", epoch=2, epochs=3, whole_eta_s=600.0)


def status(state: str, **fields) -> JobStatus:
    return JobStatus("训练", state, "train", ("真",), "/", started=NOW - 90, progress=PROGRESS, **fields)


def statuses() -> list[JobStatus]:
    ended = [status(state, ended=NOW - 5, exit_code=3) for state in sorted(FINAL_STATES)]
    return [status("queued"), status("running"), status("stopping"), status("running", life="orphaned"), *ended]


def test_rows_of_a_list_and_its_headings():
    rows = [job_words.row(each, NOW) for each in statuses()]
    for width in (None, 200):
        assert outside("\n".join(job_table.lines(rows, width))) == []
    assert outside(job_words.progress_words(PROGRESS)) == []


@pytest.mark.parametrize(
    "phase",
    [
        *sorted(event_words._PHASES), "epoch 2 of 20", "epoch 3", "self-critical epoch 1 of 5", "captions, beam 5", "2 of 8: encode",
        "5 of 8: decode with all workers",
    ],
)  # fmt: skip
def test_phases(phase):
    assert outside(event_words.phase_words(phase)) == []


def test_what_a_foreign_program_names_is_told_as_it_is():
    assert event_words.phase_words("Fold 3") == "Fold 3"
    assert event_words.unit_words("it") == "it"


def test_the_queue():
    waits = [
        Waits(JobStatus(f"{number}", "queued", "train", (), "/", waiting=waiting), ("0",))
        for number, waiting in enumerate(("queue", "queue", "jobs", "gpu", ""))
    ]
    for each in in_order(waits, {one.status.name: one.status for one in waits}):
        assert outside(each.told) == []


def report(state: str, **fields) -> JobReport:
    usage = Usage(NOW, 3, 180.0, 2 * 10**9, 5e6, 5e6, 40.0, 10**9)
    alarms = (
        Alarm("loss", language.tr("x"), NOW, NOW + 9, 3, level="alarm", advice=language.tr("y")),
        Alarm("loss", language.tr("x"), NOW, NOW, 1, level="warning"),
    )
    told = status(
        state, metrics={"损失": None}, alarms=alarms, usage=UsageSeen(usage, usage), gpus=("0",), attempt=2, refused=3,
        notices=(language.tr("n"),), **fields,
    )  # fmt: skip
    spec = JobSpec("训练", "train", ("真",), "/", {"甲": ""}, git=GitState("/", "0", "主", dirty=True))
    samples = [
        {"at": NOW + at, "cpu_percent": 1.0 + at, "gpu_percent": 2.0, "memory_bytes": 3.0, "gpu_memory_bytes": 4.0,
         "read_bytes_s": 5.0, "write_bytes_s": 6.0, "rate": 7.0}
        for at in range(5)
    ]  # fmt: skip
    charts = (*_machine_charts(samples, [], NOW, "images"), Chart("损失", "step", (Curve("损失", ((0.0, None),)),)))
    return JobReport(told, spec, charts, 2, ("日志",), NOW)


SAME = ("GPU", "CPU", "git", "fsgr-tui", "B", "MB", "GB", "kB")
"""Names that are not translated."""


@pytest.mark.parametrize("state", ["queued", "running", "done", "failed", "stopped", "interrupted"])
def test_both_pages_of_a_report(state):
    made = report(state, cause=Cause("key", language.tr("c"), "", language.tr("a")))
    assert outside(as_markdown(made).replace("```text", ""), *SAME) == []
    page = re.sub(r"<style>.*?</style>|<!DOCTYPE[^>]*>", " ", as_html(made), flags=re.DOTALL)
    page = re.sub(r'aria-label="([^"]*)"', r">\1<", page)
    assert outside(html.unescape(re.sub(r"<[^<>]*>", " ", page)), *SAME) == []


def test_the_page_of_a_job_without_a_start():
    lost = JobReport(
        JobStatus("1", "queued", "train", ("真",), "/"), JobSpec("1", "train", ("真",), "/"), (), 1, (), NOW
    )
    assert outside(as_markdown(lost), *SAME) == []


def test_a_reading_that_failed_in_a_report():
    usage = Usage(NOW, 1, 1.0, 1, 0.0, 0.0, Unknown(language.tr("r")), Unknown(language.tr("r")))
    told = status("done", usage=UsageSeen(usage, usage))
    made = JobReport(told, JobSpec("1", "train", ("真",), "/"), (), 1, (), NOW)
    assert outside(as_markdown(made), *SAME) == []
