"""`fsgr-tui report` writes one page about a job that needs nothing from elsewhere, and escapes whatever a log says."""

from __future__ import annotations

import json
import re
import sys
import time
from html.parser import HTMLParser

import pytest

from fsgr_tui.core import jsontext
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.files import write_whole
from fsgr_tui.core.job import Alarm, Cause, JobProgress, JobSpec, JobStatus, Usage, UsageSeen
from fsgr_tui.core.units import Unknown
from fsgr_tui.jobs import control
from fsgr_tui.jobs.folder import find_run, new_run
from fsgr_tui.jobs.series import Series
from fsgr_tui.service import curves, report, report_pages
from tests.conftest import run_cli

EVIL = '<script>alert(1)</script> | `x` [y](http://evil) \x1b[31m "q" & *z*'


@pytest.fixture
def run(tmp_path):
    """A job that failed, with everything that a page can show."""
    run = new_run("train")
    argv = ("python", "train.py", EVIL)
    spec = JobSpec(run.name, "train", argv, str(tmp_path), {"WANDB_API_KEY": "secret-value"}, argv, time.time() - 400)
    write_whole(run.spec, jsontext.encode(spec))
    usage = Usage(time.time(), 3, 180.0, 2 * 10**9, 0.0, 5e6, Unknown("no NVIDIA driver here"), Unknown("no NVIDIA driver here"))  # fmt: skip
    alarm = Alarm("loss not finite", f"loss was not finite. {EVIL}", 1.0, 2.0, 3, EVIL, advice="Stop it.")
    status = JobStatus(
        run.name, "failed", "train", argv, str(run.folder), exit_code=1, started=time.time() - 400, ended=time.time(),
        progress=JobProgress("train", 45, 100, 4.35, "it", epoch=2, epochs=20), metrics={"loss": None, "lr": 1e-4},
        alarms=(alarm,), cause=Cause("key", f"The key is missing. {EVIL}", EVIL, "Look."), notices=(EVIL,), usage=UsageSeen(usage, usage),
    )  # fmt: skip
    run.write_status(status)
    readings, samples = Series(run.series), Series(run.samples)
    for number in range(900):
        epoch, step = divmod(number, 300)
        value = None if 700 < number < 720 else 2.0 / (1 + number)
        readings.add({"at": 1.0, "step": step, "run": 1, "source": "log", "values": {"loss": value}})
        if step == 299:
            readings.add({"at": 1.0, "step": step, "run": 1, "source": "log", "values": {"val_loss": 1.0 - epoch / 10, "CIDEr": epoch / 2}})  # fmt: skip
    for number in range(60):
        samples.add({"at": status.started + number * 5, "cpu_percent": 100 + number, "memory_bytes": 10**9, "rate": 4.0, "gpu_percent": {"unknown": "x"}})  # fmt: skip
    run.log.write_bytes(b"first\n\r1%| | 1/9 [00:01<00:08, 1it/s]\r9%| | 9/9 [00:09<00:00, 1it/s]\n```\n" + EVIL.encode() + b"\nlast \xff line")  # fmt: skip
    return run


class Page(HTMLParser):
    """What a browser would make of a page: its elements and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "style", "onload")]

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_the_html_page_is_whole_harmless_and_needs_nothing(run):
    text = report_pages.as_html(report.collect(run))
    page = Page(text)
    assert page.open == []
    assert page.links == []
    assert "script" not in page.tags
    assert "a" not in page.tags
    assert page.tags.count("svg") == 5
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "secret-value" not in text
    assert "WANDB_API_KEY" in text


def test_the_markdown_page_tells_everything_and_keeps_markup_out(run):
    text = report_pages.as_markdown(report.collect(run))
    for said in ("failed", "What ran", "train: 45 of 100 it, epoch 2 of 20", "180 %", "2.00 GB", "Alarms", "Stop it.", "last loss", "not finite", "9/9 [00:09<00:00"):  # fmt: skip
        assert said in text, said
    assert "1/9 [00:01" not in text
    outside = re.sub(r"````text\n.*\n````", "", text, flags=re.DOTALL)
    assert "<script>" not in outside
    assert not re.search(r"(?<!\\)\]\(http", outside)
    assert "````text\n" in text
    assert "\x1b" not in text
    for line in outside.splitlines():
        if line.startswith("| alarm"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 7


def test_steps_that_begin_anew_in_every_epoch_go_on_to_the_right(run):
    charts = {chart.title: chart for chart in report.collect(run).charts}
    assert [curve.name for curve in charts["loss"].curves] == ["loss", "val_loss"]
    xs = [x for x, _ in charts["loss"].curves[0].points]
    assert xs == sorted(xs)
    assert xs[-1] == 299 * 3
    assert [point[0] for point in charts["CIDEr"].curves[0].points] == [299, 598, 897]


def test_of_several_runs_in_one_log_the_last_one_is_drawn(run):
    readings = Series(run.series)
    for step in range(5):
        readings.add({"at": 1.0, "step": step, "run": 2, "source": "log", "values": {"loss": 9.0}})
    made = report.collect(run)
    assert made.runs == 2
    assert {y for _, y in made.charts[0].curves[0].points} == {9.0}
    assert "2, one appended to the other" in report_pages.as_markdown(made)


def test_events_of_own_children_are_curves_too(run):
    (run.series).unlink()
    events = EventWriter(str(run.events))
    for step in range(5):
        events.metric(step, loss=1.0 / (1 + step), val_loss=float("nan"))
        events.progress(step, 5, 10.0 + step)
    charts = {chart.title: chart for chart in report.collect(run).charts}
    assert charts["loss"].curves[1].points[0] == (0, None)
    assert [y for _, y in charts["it per second"].curves[0].points] == [10.0, 11.0, 12.0, 13.0, 14.0]


def test_a_job_that_has_not_begun_has_a_page(tmp_path):
    run = new_run("train")
    write_whole(run.spec, jsontext.encode(JobSpec(run.name, "train", ("x",), str(tmp_path))))
    made = report.JobReport(JobStatus(run.name, "queued", "train", ("x",), str(run.folder)), run.read_spec(), (), 1, (), 0.0)  # fmt: skip
    assert "It has not begun." in report_pages.as_markdown(made)
    assert Page(report_pages.as_html(made)).open == []


def test_thinning_keeps_the_extremes_and_the_gaps():
    points = [(float(x), None if x == 500 else 100.0 if x == 777 else 1.0) for x in range(10_000)]
    kept = curves.thinned(points, 300)
    assert len(kept) <= 300
    assert (777.0, 100.0) in kept
    assert (500.0, None) in kept


def test_ticks_are_round_and_hold_the_values():
    for low, high in ((0.0, 1.0), (-3.2, 7.9), (1e-5, 3e-5), (0.1, 0.1), (9.2e9, 9.3e9)):
        ticks = curves.nice_ticks(low, high)
        assert ticks[0] <= low
        assert ticks[-1] >= high
        assert len(ticks) <= 8


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("report", "nothing-like-that"), 2, "no job"),
        (("report", "--out", "train.py"), 2, "End the name with .md or .html"),
        (("report", "--out", "x.md", "--html"), 2, "contradict"),
        (("report", "--json", "--html"), 2, "--json"),
        (("report", "--out", "/no/such/folder/x.md"), 3, "/no/such/folder/x.md cannot be written"),
    ],
)
def test_a_wrong_request_is_told(run, argv, code, said):
    done = run_cli(*argv)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_writes_each_form(run, tmp_path):
    markdown = run_cli("report", env={"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert markdown.returncode == 0
    assert markdown.stdout.startswith("# train")
    page = tmp_path / "训练.html"
    assert run_cli("report", run.name[:9], "--out", str(page)).returncode == 0
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    document = json.loads(run_cli("report", "--json").stdout, parse_constant=pytest.fail)
    assert document["schema"] == "fsgr-tui/report/1"
    assert document["status"]["name"] == run.name


def test_a_real_job_has_a_page_with_its_cause():
    job = new_run("command")
    code = "print('step 1 loss 2.0'); print('step 2 loss nan'); import no_such_module"
    control.start(job, "command", (sys.executable, "-c", code), ("python", "-c", "..."))
    until = time.monotonic() + 30
    while not job.read_status().ended_for_good and time.monotonic() < until:
        time.sleep(0.1)
    page = report_pages.as_markdown(report.collect(find_run(job.name)))
    assert "The Python module no\\_such\\_module is missing" in page
    assert "loss was not finite once, first at step 2; the last finite value was 2 at step 1." in page
